//! Whole messages as they came, for peers that pass them on or answer them.

use std::io::{self, Read as _};
use std::net::TcpStream;

use super::{Head, Parsed, WholeHead};

/// A message with its `content-length` of body, as it came.
#[derive(Debug)]
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
    ///
    /// # Errors
    /// It is no HTTP/1.1.
    pub fn read(
        mut stream: &TcpStream,
        unread: &mut Vec<u8>,
        parse: fn(&[u8]) -> Parsed,
    ) -> io::Result<Option<Self>> {
        let mut piece = [0; 4096];
        loop {
            if let Some(WholeHead { head, length }) = parse(unread)? {
                let body_at = length;
                let end = body_at + head.content_length().unwrap_or_default();
                if unread.len() >= end {
                    return Ok(Some(Self {
                        head,
                        bytes: unread.drain(..end).collect(),
                        body_at,
                    }));
                }
            }
            match stream.read(&mut piece) {
                Ok(0) | Err(_) => return Ok(None),
                Ok(read) => unread.extend(piece.iter().take(read)),
            }
        }
    }

    /// Its body.
    pub fn body(&self) -> &[u8] {
        self.bytes.get(self.body_at..).unwrap_or_default()
    }
}
