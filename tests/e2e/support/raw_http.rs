//! HTTP/1.1 by raw bytes: requests that no HTTP library would send, and what
//! becomes of the connection after the answer.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use super::http1::Head;

/// Longer than anything here takes that is answered at all.
const PATIENCE: Duration = Duration::from_secs(15);

/// One connection, and the bytes on it that nobody has read yet.
pub struct RawConnection {
    stream: TcpStream,
    unread: Vec<u8>,
    /// The statuses (1xx) that came since the last answer.
    interim: Vec<u16>,
}

/// An answer, taken apart.
#[derive(Debug)]
pub struct RawAnswer {
    /// The status.
    pub status: u16,
    /// Names in lower case, in the order of arrival.
    pub headers: Vec<(String, String)>,
    /// The body; bytes that are not UTF-8 are replaced.
    pub body: String,
    /// The statuses (1xx) that came before.
    pub interim: Vec<u16>,
}

impl RawAnswer {
    /// The value of a header; none unless there is exactly one of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(header, _)| header == name);
        match (found.next(), found.next()) {
            (Some((_, value)), None) => Some(value),
            _ => None,
        }
    }

    /// The `error.code` of the documented refusals; empty if it is none.
    pub fn code(&self) -> String {
        let body: serde_json::Value = serde_json::from_str(&self.body).unwrap_or_default();
        body["error"]["code"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// Whether the answer says that the connection ends with it.
    pub fn says_close(&self) -> bool {
        self.header("connection") == Some("close")
    }
}

impl RawConnection {
    /// Connects.
    pub fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the gateway accepts a connection");
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            unread: Vec::new(),
            interim: Vec::new(),
        }
    }

    /// Sends these bytes as one write. A peer that no longer listens is no
    /// error: what it had to say is still to be read.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        match self.stream.write_all(bytes.as_ref()) {
            Err(error) if !has_gone(error.kind()) => panic!("cannot send: {error}"),
            _ => {}
        }
    }

    /// Sends these pieces one after the other, while the answer can be read:
    /// a peer that answers early stops reading.
    pub fn send_in_background(&mut self, pieces: Vec<Vec<u8>>) {
        let mut stream = self.stream.try_clone().unwrap();
        thread::spawn(move || {
            for piece in pieces {
                if stream.write_all(&piece).is_err() {
                    break;
                }
            }
        });
    }

    /// The answer to a request that was sent; not to a HEAD.
    pub fn answer(&mut self) -> RawAnswer {
        self.read_answer(true)
    }

    /// The answer to a HEAD, which has no body.
    pub fn answer_to_head(&mut self) -> RawAnswer {
        self.read_answer(false)
    }

    /// Waits for an interim answer (1xx), and keeps it for the answer.
    pub fn wait_for_interim(&mut self) {
        let head = self.read_head();
        assert!((100..200).contains(&head.status), "{}", head.status);
        self.interim.push(head.status);
    }

    /// Sends a request and returns its answer.
    pub fn exchange(&mut self, request: impl AsRef<[u8]>) -> RawAnswer {
        self.send(request);
        self.answer()
    }

    /// Waits for the peer to close; false if it has not in five seconds, or if
    /// it sends something instead.
    pub fn is_closed_by_peer(&mut self) -> bool {
        let more = self.fill(Duration::from_secs(5));
        self.unread.is_empty() && more == Ok(false)
    }

    fn read_answer(&mut self, with_body: bool) -> RawAnswer {
        loop {
            let head = self.read_head();
            if (100..200).contains(&head.status) && head.status != 101 {
                self.interim.push(head.status);
                continue;
            }
            let bodiless = !with_body || matches!(head.status, 101 | 204 | 304);
            let body = if bodiless {
                Vec::new()
            } else {
                self.read_body(&head)
            };
            return RawAnswer {
                status: head.status,
                headers: head.headers,
                body: String::from_utf8_lossy(&body).into_owned(),
                interim: std::mem::take(&mut self.interim),
            };
        }
    }

    fn read_head(&mut self) -> Head {
        loop {
            if let Some((head, length)) = Head::of_answer(&self.unread) {
                self.unread.drain(..length);
                return head;
            }
            self.need("the head of an answer");
        }
    }

    fn read_body(&mut self, head: &Head) -> Vec<u8> {
        if head.header("transfer-encoding") == Some("chunked") {
            return self.read_chunks();
        }
        match head.content_length() {
            Some(length) => self.take(length),
            None => {
                while self.fill(PATIENCE).expect("the rest of a body") {}
                std::mem::take(&mut self.unread)
            }
        }
    }

    fn read_chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let size = match httparse::parse_chunk_size(&self.unread) {
                Ok(httparse::Status::Complete((line, size))) => {
                    self.unread.drain(..line);
                    usize::try_from(size).unwrap()
                }
                Ok(httparse::Status::Partial) => {
                    self.need("the size of a chunk");
                    continue;
                }
                Err(_) => panic!("a chunk without a size"),
            };
            body.extend(self.take(size));
            // The line's end behind a chunk; trailers are sent by nobody here.
            self.take(2);
            if size == 0 {
                return body;
            }
        }
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        while self.unread.len() < length {
            self.need("the rest of a body");
        }
        self.unread.drain(..length).collect()
    }

    fn need(&mut self, what: &str) {
        match self.fill(PATIENCE) {
            Ok(true) => {}
            Ok(false) => panic!(
                "the connection was closed before {what}; it had: {:?}",
                String::from_utf8_lossy(&self.unread)
            ),
            Err(TimedOut) => panic!("no {what} in {PATIENCE:?}"),
        }
    }

    /// Reads more; false if there is no more.
    fn fill(&mut self, patience: Duration) -> Result<bool, TimedOut> {
        let deadline = Instant::now() + patience;
        let mut piece = [0; 16 * 1024];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(TimedOut);
            }
            self.stream.set_read_timeout(Some(left)).unwrap();
            match self.stream.read(&mut piece) {
                Ok(0) => return Ok(false),
                Ok(read) => {
                    self.unread.extend(&piece[..read]);
                    return Ok(true);
                }
                Err(error) if has_gone(error.kind()) => return Ok(false),
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => {}
                    _ => panic!("cannot read: {error}"),
                },
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct TimedOut;

fn has_gone(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted
    )
}
