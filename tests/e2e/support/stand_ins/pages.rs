//! Somebody else's web site: pages that a test writes, on a port of their own.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use rekey_testbed::http1::{Head, Message};

/// The site; it goes when dropped.
pub(crate) struct Pages {
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    pages: BTreeMap<String, String>,
    closed: bool,
}

impl Pages {
    /// Listens on a free port.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Mutex::new(Shared::default()));
        let accepting = shared.clone();
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if accepting.lock().unwrap().closed {
                    return;
                }
                let shared = accepting.clone();
                thread::spawn(move || serve(&stream, &shared));
            }
        });
        Self { address, shared }
    }

    /// Puts a page there, and says what its URL is by the machine's address or,
    /// which is another site to a browser, by its name.
    pub(crate) fn write(&self, path: &str, html: &str) -> [String; 2] {
        let page = format!("<!doctype html><title>somebody else's</title>{html}");
        let mut shared = self.shared.lock().unwrap();
        shared.pages.insert(path.to_owned(), page);
        let port = self.address.port();
        ["127.0.0.1", "localhost"].map(|host| format!("http://{host}:{port}{path}"))
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        if let Ok(mut shared) = self.shared.lock() {
            shared.closed = true;
        }
        // Wakes the accepting thread, which then sees that it is over.
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(mut stream: &TcpStream, shared: &Mutex<Shared>) {
    let mut unread = Vec::new();
    while let Some(request) = Message::read(stream, &mut unread, Head::of_request).unwrap() {
        let page = shared
            .lock()
            .unwrap()
            .pages
            .get(&request.head.path)
            .cloned();
        let (status, page) = page.map_or((404, String::new()), |page| (200, page));
        let length = page.len();
        let head = format!(
            "HTTP/1.1 {status} Said\r\ncontent-type: text/html\r\ncontent-length: {length}\r\n\r\n"
        );
        if stream.write_all((head + &page).as_bytes()).is_err() {
            return;
        }
    }
}
