//! A client's connection that is kept alive, request by request, with the
//! moments that a judgement needs.

use std::{
    io::{self, ErrorKind},
    net::SocketAddr,
    time::{Duration, Instant},
};

use rekey_testbed::http1;

/// The documented endpoint.
pub const REGENERATE: &str = "/v1/user/api-key/regenerate";
/// A path that the demo upstream serves.
pub const SERVED: &str = "/v1/scrape";

/// Longer than a rotation is pursued.
const PATIENCE: Duration = Duration::from_secs(45);

/// A request for what the upstream serves, with a key.
pub fn get(key: &str) -> Vec<u8> {
    request("GET", SERVED, key)
}

/// The documented request.
pub fn regenerate(key: &str) -> Vec<u8> {
    request("POST", REGENERATE, key)
}

fn request(method: &str, path: &str, key: &str) -> Vec<u8> {
    format!("{method} {path} HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {key}\r\n\r\n")
        .into_bytes()
}

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The body; all answers here are text.
    pub body: String,
    /// Just before the request's first byte was written.
    pub sent: Instant,
    /// When the last byte had been read.
    pub received: Instant,
}

/// A connection to one address. It is made when it is needed, and again after it
/// broke.
#[derive(Debug)]
pub struct Connection {
    address: SocketAddr,
    opened: Option<http1::Connection>,
    sent: Instant,
}

impl Connection {
    /// To this address; nothing is sent yet.
    pub fn to(address: SocketAddr) -> Self {
        Self {
            address,
            opened: None,
            sent: Instant::now(),
        }
    }

    /// Connects now, unless it is connected.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn open(&mut self) -> io::Result<()> {
        self.opened().map(drop)
    }

    /// Sends a request; its answer is to be [received](Self::receive) before
    /// the next one is sent.
    ///
    /// # Errors
    /// It cannot be sent; the next request begins a new connection.
    pub fn send(&mut self, request: &[u8]) -> io::Result<()> {
        self.open()?;
        self.sent = Instant::now();
        let written = self.opened()?.send(request);
        if written.is_err() {
            self.opened = None;
        }
        written
    }

    /// The answer to the request that was sent last.
    ///
    /// # Errors
    /// The connection broke before the answer's end, or 45 s have passed; the
    /// next request begins a new connection.
    pub fn receive(&mut self) -> io::Result<Answer> {
        let Some(mut connection) = self.opened.take() else {
            return Err(ErrorKind::NotConnected.into());
        };
        let answer = connection.answer()?;
        // Every answer here says its length: the filter's, the demo's, Envoy's.
        if answer.header("content-length").is_none() {
            return Err(ErrorKind::InvalidData.into());
        }
        if !answer.says_close() {
            self.opened = Some(connection);
        }
        Ok(Answer {
            status: answer.status,
            body: answer.body,
            sent: self.sent,
            received: Instant::now(),
        })
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    /// As [`send`](Self::send) and [`receive`](Self::receive).
    pub fn exchange(&mut self, request: &[u8]) -> io::Result<Answer> {
        self.send(request)?;
        self.receive()
    }

    fn opened(&mut self) -> io::Result<&mut http1::Connection> {
        Ok(match self.opened.take() {
            Some(connection) => self.opened.insert(connection),
            None => {
                let connection = http1::Connection::open(self.address, PATIENCE)?;
                self.opened.insert(connection)
            }
        })
    }
}
