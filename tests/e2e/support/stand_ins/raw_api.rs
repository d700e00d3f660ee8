//! An API of few words behind the gateway: raw HTTP/1.1 that shows the head which
//! reached it byte for byte, or misbehaves as its path says.
//!
//! | path | what it does |
//! | --- | --- |
//! | `/garbage…` | answers with what is no HTTP |
//! | `/hang-up…` | closes the connection without a word |
//! | `/silent…` | says nothing, and leaves the connection open |
//! | anything else | 200; the body is the head of the request, as it came |

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rekey_testbed::http1::{Head, Message};

/// The API; it goes, with all its connections, when dropped.
pub(crate) struct RawApi {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    /// How long a connection may be silent.
    keep_alive: Duration,
    connections: Mutex<Vec<TcpStream>>,
}

impl RawApi {
    /// Listens on a free port. A request on a connection that was silent for longer
    /// is not answered, as if it had crossed the API's own close on the way: of all
    /// moments at which an API closes, the worst one.
    pub(crate) fn start(keep_alive: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            keep_alive,
            connections: Mutex::default(),
        });
        // Ends with the process: nothing wakes it.
        let accepting = Arc::downgrade(&shared);
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let Some(shared) = accepting.upgrade() else {
                    return;
                };
                let other = stream.try_clone().unwrap();
                shared.connections.lock().unwrap().push(other);
                let keep_alive = shared.keep_alive;
                thread::spawn(move || serve(&stream, keep_alive));
            }
        });
        Self { address, shared }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for RawApi {
    fn drop(&mut self) {
        for connection in self.shared.connections.lock().unwrap().iter() {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

fn serve(mut stream: &TcpStream, keep_alive: Duration) {
    let mut unread = Vec::new();
    let mut answered = None;
    while let Some(request) = Message::read(stream, &mut unread, Head::of_request).unwrap() {
        let is_late = |at: Instant| at.elapsed() > keep_alive;
        if answered.is_some_and(is_late) {
            break;
        }
        let path = request.head.path.as_str();
        let sent = if path.starts_with("/garbage") {
            stream.write_all(b"what?\r\n\r\n")
        } else if path.starts_with("/hang-up") {
            break;
        } else if path.starts_with("/silent") {
            let _ = stream.read(&mut [0]);
            break;
        } else {
            let head = &request.bytes[..request.body_at];
            let begin = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", head.len());
            stream.write_all(&[begin.as_bytes(), head].concat())
        };
        if sent.is_err() {
            break;
        }
        answered = Some(Instant::now());
    }
    let _ = stream.shutdown(Shutdown::Both);
}
