//! A TCP proxy between the gateway and the real key store that fails as it is
//! told, also in the middle of an answer.
//!
//! It knows where messages of HTTP/1.1 begin and end and which path was asked;
//! it does not know what they say.

use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use socket2::SockRef;
use xtask::testbed::Port;

use super::http1::{Head, Message};

/// How much of an answer is passed on before both connections are closed. The
/// store has answered by then, so what it was asked to do is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Not a byte.
    Before,
    /// The head, and nothing of the body.
    AfterHead,
    /// The head, and half of the body.
    InBody,
}

/// The proxy; it goes, with all its connections, when dropped.
pub struct TcpProxy {
    /// Kept while connections to it are refused.
    port: Port,
    shared: Arc<Shared>,
}

struct Shared {
    target: SocketAddr,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    listener: Option<TcpListener>,
    connections: Vec<TcpStream>,
    cut: Option<PlannedCut>,
    cuts_made: u32,
}

struct PlannedCut {
    path: &'static str,
    cut: Cut,
    left: u32,
}

impl TcpProxy {
    /// Listens on a free port and passes everything on to `target`.
    pub fn start(target: SocketAddr) -> Self {
        let shared = Arc::new(Shared {
            target,
            state: Mutex::default(),
        });
        let proxy = Self {
            port: Port::free().unwrap(),
            shared,
        };
        proxy.accept();
        proxy
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Ends all connections, and refuses new ones.
    pub fn refuse(&self) {
        let mut state = self.shared.lock();
        if let Some(listener) = state.listener.take() {
            // Wakes the accepting thread, whose copy would listen on.
            let _ = SockRef::from(&listener).shutdown(Shutdown::Both);
        }
        for connection in state.connections.drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    /// Accepts connections again after [`Self::refuse`].
    pub fn accept(&self) {
        let listener = TcpListener::bind(self.address()).unwrap();
        let accepting = listener.try_clone().unwrap();
        self.shared.lock().listener = Some(listener);
        let shared = self.shared.clone();
        thread::spawn(move || accept(&accepting, &shared));
    }

    /// Cuts the next answers to requests of this path, so many times.
    pub fn cut_answers(&self, path: &'static str, cut: Cut, times: u32) {
        let left = times;
        self.shared.lock().cut = Some(PlannedCut { path, cut, left });
    }

    /// How many answers were cut.
    pub fn cuts_made(&self) -> u32 {
        self.shared.lock().cuts_made
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        self.refuse();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Whether the answer to this path is to be cut, and how.
    fn next_cut(&self, path: &str) -> Option<Cut> {
        let mut state = self.lock();
        let planned = state.cut.as_mut()?;
        if planned.path != path || planned.left == 0 {
            return None;
        }
        planned.left -= 1;
        let cut = planned.cut;
        state.cuts_made += 1;
        Some(cut)
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    while let Ok((gateway, _)) = listener.accept() {
        let Ok(store) = TcpStream::connect(shared.target) else {
            continue;
        };
        let ends = [gateway.try_clone().unwrap(), store.try_clone().unwrap()];
        shared.lock().connections.extend(ends);
        let shared = shared.clone();
        thread::spawn(move || {
            pass_on(&gateway, &store, &shared);
            let _ = gateway.shutdown(Shutdown::Both);
            let _ = store.shutdown(Shutdown::Both);
        });
    }
}

/// Passes requests and answers on by turns, until one side has gone or an
/// answer was cut.
fn pass_on(mut gateway: &TcpStream, mut store: &TcpStream, shared: &Shared) -> Option<()> {
    let (mut requests, mut answers) = (Vec::new(), Vec::new());
    loop {
        let request = Message::read(gateway, &mut requests, Head::of_request)?;
        store.write_all(&request.bytes).ok()?;
        let answer = Message::read(store, &mut answers, Head::of_answer)?;
        let cut = shared.next_cut(&request.head.path);
        let end = match cut {
            None => answer.bytes.len(),
            Some(Cut::Before) => 0,
            Some(Cut::AfterHead) => answer.body_at,
            Some(Cut::InBody) => answer.body_at + answer.body().len() / 2,
        };
        gateway.write_all(&answer.bytes[..end]).ok()?;
        if cut.is_some() {
            return None;
        }
    }
}
