//! HTTP/1.1 by raw bytes, as the test bed speaks it: requests that no HTTP
//! library would send. A test fails where the connection does.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use rekey_testbed::http1::Connection;

pub(crate) use rekey_testbed::http1::Answer as RawAnswer;

/// Longer than anything here takes that is answered at all.
const PATIENCE: Duration = Duration::from_secs(15);

/// One connection.
pub(crate) struct RawConnection(Connection);

impl RawConnection {
    /// Connects.
    pub(crate) fn open(address: SocketAddr) -> Self {
        let connection = Connection::open(address, PATIENCE);
        Self(connection.expect("the gateway accepts a connection"))
    }

    /// Sends these bytes as one write. A peer that no longer listens is no
    /// error: what it had to say is still to be read.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        match self.0.send(bytes.as_ref()) {
            Err(error) if !has_gone(error.kind()) => panic!("cannot send: {error}"),
            _ => {}
        }
    }

    /// Sends these pieces one after the other, while the answer can be read.
    pub(crate) fn send_in_background(&mut self, pieces: Vec<Vec<u8>>) {
        self.0.send_in_background(pieces).unwrap();
    }

    /// The answer to a request that was sent; not to a HEAD.
    pub(crate) fn answer(&mut self) -> RawAnswer {
        self.0.answer().expect("an answer")
    }

    /// The answer to a HEAD, which has no body.
    pub(crate) fn answer_to_head(&mut self) -> RawAnswer {
        self.0.answer_to_head().expect("an answer")
    }

    /// Waits for an interim answer (1xx), and keeps it for the answer.
    pub(crate) fn wait_for_interim(&mut self) {
        self.0.wait_for_interim().expect("an interim answer");
    }

    /// Sends a request and returns its answer.
    pub(crate) fn exchange(&mut self, request: impl AsRef<[u8]>) -> RawAnswer {
        self.send(request);
        self.answer()
    }

    /// Waits for the peer to close; false if it has not in five seconds, or if
    /// it sends something instead.
    pub(crate) fn is_closed_by_peer(&mut self) -> bool {
        self.0.is_closed_by_peer().expect("an open connection")
    }
}

fn has_gone(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted
    )
}
