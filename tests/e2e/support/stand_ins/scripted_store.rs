//! A key store that answers what a test tells it to, over real TCP, and
//! remembers what it was asked.
//!
//! It knows the bytes of HTTP/1.1 and nothing of keys: where a test wants an
//! honest answer it has [`honest`] write one. It has no change feed, so that a
//! gateway trusts nothing and asks it each time; polls are not in the script.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use rekey_protocol::{FEED_PATH, MARKER_HEADER, MARKER_VALUE, RESOLVE_PATH, ROTATE_PATH};
use rekey_testbed::http1::{Head, Message};
use serde_json::{Value, json};
use socket2::SockRef;

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// Counts the requests of its connection, from 0.
    pub nth: usize,
    /// The `:path`.
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The JSON body.
    pub body: Value,
}

impl Asked {
    /// The first value of this name; empty if there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(header, _)| header == name);
        found.map_or("", |(_, value)| value)
    }

    /// Whether it asks whose a key is.
    pub(crate) fn is_resolve(&self) -> bool {
        self.path == RESOLVE_PATH
    }

    /// Whether it asks for a rotation.
    pub(crate) fn is_rotate(&self) -> bool {
        self.path == ROTATE_PATH
    }

    /// The `attempt` of a rotation.
    pub(crate) fn attempt(&self) -> u64 {
        self.body["attempt"].as_u64().unwrap_or_default()
    }
}

/// What the store does about a request.
pub(crate) enum Act {
    /// These bytes, and then that.
    Send(Vec<u8>, Then),
    /// Nothing, and then that.
    Keep(Then),
}

/// What becomes of the connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// It waits for the next request.
    Live,
    /// It is closed in order (FIN).
    Close,
    /// It is torn down (RST).
    Reset,
    /// Nothing more is sent or read, but it stays open.
    Hang,
}

type Script = Box<dyn FnMut(&Asked) -> Act + Send>;

/// The store; it goes, with all its connections, when dropped.
pub(crate) struct ScriptedStore {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    script: Mutex<Script>,
    asked: Mutex<Vec<Asked>>,
    /// Those that are open; none once the store is gone.
    connections: Mutex<Option<BTreeMap<usize, TcpStream>>>,
}

impl ScriptedStore {
    /// Listens on a free port.
    pub(crate) fn start(script: impl FnMut(&Asked) -> Act + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            script: Mutex::new(Box::new(script)),
            asked: Mutex::default(),
            connections: Mutex::new(Some(BTreeMap::new())),
        });
        let accepting = shared.clone();
        thread::spawn(move || accept(&listener, &accepting));
        Self { address, shared }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers by another script from now on.
    pub(crate) fn follow(&self, script: impl FnMut(&Asked) -> Act + Send + 'static) {
        *lock(&self.shared.script) = Box::new(script);
    }

    /// Closes all connections.
    pub(crate) fn hang_up(&self) {
        if let Some(connections) = &mut *lock(&self.shared.connections) {
            for connection in std::mem::take(connections).values() {
                let _ = connection.shutdown(Shutdown::Both);
            }
        }
    }

    /// What it was asked since this was last called.
    pub(crate) fn take_asked(&self) -> Vec<Asked> {
        std::mem::take(&mut lock(&self.shared.asked))
    }
}

impl Drop for ScriptedStore {
    fn drop(&mut self) {
        for connection in lock(&self.shared.connections)
            .take()
            .unwrap_or_default()
            .values()
        {
            let _ = connection.shutdown(Shutdown::Both);
        }
        // Wakes the accepting thread, which then sees that it is over.
        let _ = TcpStream::connect(self.address);
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for connection in 0.. {
        let Ok((stream, _)) = listener.accept() else {
            return;
        };
        let Some(connections) = &mut *lock(&shared.connections) else {
            return;
        };
        connections.insert(connection, stream.try_clone().unwrap());
        let shared = shared.clone();
        thread::spawn(move || {
            let then = serve(&stream, &shared);
            if then == Then::Hang {
                return;
            }
            if let Some(connections) = &mut *lock(&shared.connections) {
                connections.remove(&connection);
            }
            if then == Then::Reset {
                // The last close of a socket that does not linger is an RST.
                let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
            }
        });
    }
}

/// Answers requests until the connection is at an end, and says which end.
fn serve(mut stream: &TcpStream, shared: &Shared) -> Then {
    let mut unread = Vec::new();
    for nth in 0.. {
        let Some(request) = Message::read(stream, &mut unread, Head::of_request).unwrap() else {
            break;
        };
        if request.head.path == FEED_PATH {
            let _ = stream.write_all(&marked(404, &error("not_found")));
            continue;
        }
        let asked = Asked {
            nth,
            body: serde_json::from_slice(request.body()).unwrap_or_default(),
            path: request.head.path,
            headers: request.head.headers,
        };
        lock(&shared.asked).push(asked.clone());
        let act = lock(&shared.script)(&asked);
        let then = match act {
            Act::Keep(then) => then,
            Act::Send(bytes, then) => {
                let _ = stream.write_all(&bytes);
                then
            }
        };
        if then != Then::Live {
            return then;
        }
    }
    Then::Close
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}

/// An answer of the store's own: marked, with its length.
pub(crate) fn marked(status: u16, body: &Value) -> Vec<u8> {
    answer(
        status,
        &format!("{MARKER_HEADER}: {MARKER_VALUE}\r\n"),
        body,
    )
}

/// The same from somebody who is no key store.
pub(crate) fn unmarked(status: u16, body: &Value) -> Vec<u8> {
    answer(status, "", body)
}

fn answer(status: u16, marker: &str, body: &Value) -> Vec<u8> {
    let body = body.to_string();
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} Scripted\r\n{marker}content-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    );
    (head + &body).into_bytes()
}

/// The store's answer for a key that is active and may be rotated.
pub(crate) fn active(user: &str) -> Value {
    json!({
        "state": "active", "user": user, "revision": 7, "rotation_allowed_in": 0,
        "head": {"incarnation": "0".repeat(32), "revision": 9},
    })
}

/// The store's answer to a rotation that it carried out as it was asked.
pub(crate) fn rotated(asked: &Asked, user: &str) -> Value {
    json!({
        "outcome": "rotated", "created_at": "2025-01-31T16:00:00Z", "revision": 10,
        "new_digest": asked.body["new_digest"], "user": user,
    })
}

/// An error of the store's own.
pub(crate) fn error(code: &str) -> Value {
    json!({"error": {"code": code, "message": "by script"}})
}

/// A store to which every key is active and every rotation welcome.
pub(crate) fn honest(user: &'static str) -> impl FnMut(&Asked) -> Act + Send + 'static {
    move |asked| {
        let body = if asked.is_rotate() {
            rotated(asked, user)
        } else {
            active(user)
        };
        Act::Send(marked(200, &body), Then::Live)
    }
}
