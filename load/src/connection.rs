//! A client's connection of HTTP/1.1 that is kept alive, request by request,
//! with the moments that a judgement needs.

use std::{
    io::{self, ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

/// The documented endpoint.
pub const REGENERATE: &str = "/v1/user/api-key/regenerate";
/// A path that the demo upstream serves.
pub const SERVED: &str = "/v1/scrape";

/// Longer than a rotation is pursued.
const PATIENCE: Duration = Duration::from_secs(45);
/// More headers than any answer here has.
const MOST_HEADERS: usize = 64;

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

/// A connection to one address; it is made when it is needed, and made anew
/// after it broke.
#[derive(Debug)]
pub struct Connection {
    address: SocketAddr,
    stream: Option<TcpStream>,
    sent: Instant,
}

impl Connection {
    /// To this address; nothing is sent yet.
    pub fn to(address: SocketAddr) -> Self {
        Self {
            address,
            stream: None,
            sent: Instant::now(),
        }
    }

    /// Connects now, unless it is connected.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn open(&mut self) -> io::Result<()> {
        if self.stream.is_none() {
            let stream = TcpStream::connect(self.address)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            self.stream = Some(stream);
        }
        Ok(())
    }

    /// Sends a request; its answer is to be [received](Self::receive) before
    /// the next one is sent.
    ///
    /// # Errors
    /// It cannot be sent; the next request begins a new connection.
    pub fn send(&mut self, request: &[u8]) -> io::Result<()> {
        self.open()?;
        self.sent = Instant::now();
        let Some(stream) = &mut self.stream else {
            return Err(ErrorKind::NotConnected.into());
        };
        let written = stream.write_all(request);
        if written.is_err() {
            self.stream = None;
        }
        written
    }

    /// The answer to the request that was sent last.
    ///
    /// # Errors
    /// The connection broke before the answer's end, or 45 s have passed; the
    /// next request begins a new connection.
    pub fn receive(&mut self) -> io::Result<Answer> {
        let Some(mut stream) = self.stream.take() else {
            return Err(ErrorKind::NotConnected.into());
        };
        let (head, body) = read_answer(&mut stream)?;
        if !head.closes {
            self.stream = Some(stream);
        }
        Ok(Answer {
            status: head.status,
            body: String::from_utf8_lossy(&body).into_owned(),
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
}

pub(super) struct Head {
    pub(super) status: u16,
    pub(super) length: usize,
    closes: bool,
}

fn read_answer(stream: &mut TcpStream) -> io::Result<(Head, Vec<u8>)> {
    let mut bytes = Vec::with_capacity(1024);
    let mut piece = [0; 4096];
    let mut parsed: Option<(Head, usize)> = None;
    loop {
        if parsed.is_none() {
            parsed = parse_head(&bytes)?;
        }
        if let Some((head, at)) = &parsed
            && bytes.len() >= at + head.length
        {
            break;
        }
        let read = stream.read(&mut piece)?;
        let new = piece.get(..read).unwrap_or_default();
        if new.is_empty() {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(new);
    }
    let (head, at) = parsed.ok_or(ErrorKind::InvalidData)?;
    Ok((head, bytes.split_off(at)))
}

/// The head and where the body begins; none if its end has not come yet.
pub(super) fn parse_head(bytes: &[u8]) -> io::Result<Option<(Head, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut answer = httparse::Response::new(&mut headers);
    let Ok(status) = answer.parse(bytes) else {
        return Err(ErrorKind::InvalidData.into());
    };
    let httparse::Status::Complete(at) = status else {
        return Ok(None);
    };
    let header = |name: &str| {
        let mut named = answer.headers.iter();
        let found = named.find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(found.value).ok()
    };
    // Every answer here says its length: the filter's, the demo's, Envoy's.
    let length = header("content-length").and_then(|length| length.parse().ok());
    let head = Head {
        status: answer.code.unwrap_or_default(),
        length: length.ok_or(ErrorKind::InvalidData)?,
        closes: header("connection") == Some("close"),
    };
    Ok(Some((head, at)))
}
