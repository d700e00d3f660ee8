//! Messages of HTTP/1.1 as bytes: where a head ends, what is in it, and where
//! the body ends. For both sides of the fake peers beside this file.

use std::io::Read;
use std::net::TcpStream;

/// More headers than any message here has.
const MOST_HEADERS: usize = 128;

/// The head of a request or an answer.
pub struct Head {
    /// Of an answer; 0 for a request.
    pub status: u16,
    /// Of a request, as it was written; empty for an answer.
    pub path: String,
    /// Names in lower case, in the order of arrival; bytes of values that are
    /// not UTF-8 are replaced.
    pub headers: Vec<(String, String)>,
}

impl Head {
    /// The answer's head that these bytes begin with, and its length; none if
    /// its end is not among them.
    ///
    /// # Panics
    /// It is no HTTP/1.1.
    pub fn of_answer(bytes: &[u8]) -> Option<(Self, usize)> {
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let mut answer = httparse::Response::new(&mut headers);
        let length = whole(answer.parse(bytes), bytes)?;
        let head = Self {
            status: answer.code.unwrap_or_default(),
            path: String::new(),
            headers: owned(answer.headers),
        };
        Some((head, length))
    }

    /// As [`Self::of_answer`], of a request.
    pub fn of_request(bytes: &[u8]) -> Option<(Self, usize)> {
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        let length = whole(request.parse(bytes), bytes)?;
        let head = Self {
            status: 0,
            path: request.path.unwrap_or_default().to_owned(),
            headers: owned(request.headers),
        };
        Some((head, length))
    }

    /// The first value of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(header, _)| header == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The body's length, where the head says it.
    pub fn content_length(&self) -> Option<usize> {
        self.header("content-length")?.parse().ok()
    }
}

/// A message with its `content-length` of body, as it came.
pub struct Message {
    /// Its head.
    pub head: Head,
    /// All its bytes.
    pub bytes: Vec<u8>,
    /// Where the body begins in them.
    pub body_at: usize,
}

impl Message {
    /// Reads the next message by one of [`Head`]'s two ways; none if the peer
    /// has gone. `unread` keeps what came behind it.
    pub fn read(
        mut stream: &TcpStream,
        unread: &mut Vec<u8>,
        parse: fn(&[u8]) -> Option<(Head, usize)>,
    ) -> Option<Self> {
        let mut piece = [0; 4096];
        loop {
            if let Some((head, body_at)) = parse(unread) {
                let end = body_at + head.content_length().unwrap_or_default();
                if unread.len() >= end {
                    return Some(Self {
                        head,
                        bytes: unread.drain(..end).collect(),
                        body_at,
                    });
                }
            }
            match stream.read(&mut piece) {
                Ok(0) | Err(_) => return None,
                Ok(read) => unread.extend(&piece[..read]),
            }
        }
    }

    /// Its body.
    pub fn body(&self) -> &[u8] {
        &self.bytes[self.body_at..]
    }
}

fn whole(parsed: httparse::Result<usize>, bytes: &[u8]) -> Option<usize> {
    match parsed {
        Ok(httparse::Status::Complete(length)) => Some(length),
        Ok(httparse::Status::Partial) => None,
        Err(error) => panic!("{error} in {:?}", String::from_utf8_lossy(bytes)),
    }
}

fn owned(headers: &[httparse::Header<'_>]) -> Vec<(String, String)> {
    let pair = |header: &httparse::Header<'_>| {
        let value = String::from_utf8_lossy(header.value).into_owned();
        (header.name.to_ascii_lowercase(), value)
    };
    headers.iter().map(pair).collect()
}
