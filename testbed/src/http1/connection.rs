//! A client's connection: any bytes as a request, and the answer taken apart.

use std::{
    io::{self, ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use super::{Head, WholeHead};

/// How long a peer may take to close.
const UNTIL_CLOSED: Duration = Duration::from_secs(5);

/// One connection, and the bytes on it that nobody has read yet.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    patience: Duration,
    unread: Vec<u8>,
    /// The statuses (1xx) that came since the last answer.
    interim: Vec<u16>,
}

/// An answer, taken apart.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Names in lower case, in the order of arrival.
    pub headers: Vec<(String, String)>,
    /// The body; bytes that are not UTF-8 are replaced.
    pub body: String,
    /// The statuses (1xx) that came before.
    pub interim: Vec<u16>,
}

/// Which body follows a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// The one that the head speaks of.
    Anything,
    /// None, whatever the head says.
    HeadOnly,
}

impl Answer {
    /// The value of a header; none unless there is exactly one of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(header, _)| header == name);
        match (found.next(), found.next()) {
            (Some((_, value)), None) => Some(value),
            _ => None,
        }
    }

    /// The text `error.code` of a JSON body; empty if there is none.
    pub fn code(&self) -> String {
        let body: serde_json::Value = serde_json::from_str(&self.body).unwrap_or_default();
        let code = body["error"]["code"].as_str();
        code.unwrap_or_default().to_owned()
    }

    /// Whether the answer says that the connection ends with it.
    pub fn says_close(&self) -> bool {
        self.header("connection") == Some("close")
    }
}

impl Connection {
    /// Connects; what is read later is waited for so long.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn open(address: SocketAddr, patience: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            patience,
            unread: Vec::new(),
            interim: Vec::new(),
        })
    }

    /// Sends these bytes as one write.
    ///
    /// # Errors
    /// They cannot be sent. What a peer had to say before it went is still to be
    /// read.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends these pieces one after the other, while the answer can be read:
    /// a peer that answers early stops reading.
    ///
    /// # Errors
    /// The process has too many files open.
    pub fn send_in_background(&mut self, pieces: Vec<Vec<u8>>) -> io::Result<()> {
        let mut stream = self.stream.try_clone()?;
        thread::spawn(move || pieces.iter().try_for_each(|piece| stream.write_all(piece)));
        Ok(())
    }

    /// The answer to a request that was sent; not to a HEAD.
    ///
    /// # Errors
    /// It is no HTTP/1.1, it does not come in time, or the peer has gone: then
    /// the text says what was missing.
    pub fn answer(&mut self) -> io::Result<Answer> {
        self.read_answer(Asked::Anything)
    }

    /// The answer to a HEAD, which has no body.
    ///
    /// # Errors
    /// As [`answer`](Self::answer).
    pub fn answer_to_head(&mut self) -> io::Result<Answer> {
        self.read_answer(Asked::HeadOnly)
    }

    /// Waits for an interim answer (1xx), and keeps it for the answer.
    ///
    /// # Errors
    /// As [`answer`](Self::answer), or the answer itself came.
    pub fn wait_for_interim(&mut self) -> io::Result<()> {
        let status = self.read_head()?.status;
        if !(100..200).contains(&status) {
            return Err(io::Error::other(format!("{status} is no interim answer")));
        }
        self.interim.push(status);
        Ok(())
    }

    /// Waits for the peer to close; false if it has not in five seconds, or if
    /// it sends something instead.
    ///
    /// # Errors
    /// The connection cannot be read.
    pub fn is_closed_by_peer(&mut self) -> io::Result<bool> {
        match self.fill(UNTIL_CLOSED) {
            Ok(more) => Ok(self.unread.is_empty() && !more),
            Err(error) if error.kind() == ErrorKind::TimedOut => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn read_answer(&mut self, asked: Asked) -> io::Result<Answer> {
        loop {
            let head = self.read_head()?;
            if (100..200).contains(&head.status) && head.status != 101 {
                self.interim.push(head.status);
                continue;
            }
            let has_body = asked == Asked::Anything && !matches!(head.status, 101 | 204 | 304);
            let body = match has_body {
                true => self.read_body(&head)?,
                false => Vec::new(),
            };
            return Ok(Answer {
                status: head.status,
                headers: head.headers,
                body: String::from_utf8_lossy(&body).into_owned(),
                interim: std::mem::take(&mut self.interim),
            });
        }
    }

    fn read_head(&mut self) -> io::Result<Head> {
        loop {
            if let Some(WholeHead { head, length }) = Head::of_answer(&self.unread)? {
                self.unread.drain(..length);
                return Ok(head);
            }
            self.need("the head of an answer")?;
        }
    }

    fn read_body(&mut self, head: &Head) -> io::Result<Vec<u8>> {
        if head.header("transfer-encoding") == Some("chunked") {
            return self.read_chunks();
        }
        match head.content_length() {
            Some(length) => self.take(length),
            None => {
                while self.fill(self.patience)? {}
                Ok(std::mem::take(&mut self.unread))
            }
        }
    }

    fn read_chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let size = match httparse::parse_chunk_size(&self.unread) {
                Ok(httparse::Status::Complete((line, size))) => {
                    self.unread.drain(..line);
                    usize::try_from(size).map_err(io::Error::other)?
                }
                Ok(httparse::Status::Partial) => {
                    self.need("the size of a chunk")?;
                    continue;
                }
                Err(_) => return Err(io::Error::other("a chunk without a size")),
            };
            body.extend(self.take(size)?);
            // The line's end behind a chunk; trailers are sent by nobody here.
            self.take(2)?;
            if size == 0 {
                return Ok(body);
            }
        }
    }

    fn take(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.unread.len() < length {
            self.need("the rest of a body")?;
        }
        Ok(self.unread.drain(..length).collect())
    }

    fn need(&mut self, what: &str) -> io::Result<()> {
        if self.fill(self.patience)? {
            return Ok(());
        }
        // Their number alone: there may be a key in them.
        let had = self.unread.len();
        let text = format!("the connection was closed before {what}, after {had} bytes");
        Err(io::Error::new(ErrorKind::UnexpectedEof, text))
    }

    /// Reads more; false if there is no more.
    fn fill(&mut self, patience: Duration) -> io::Result<bool> {
        let deadline = Instant::now() + patience;
        let mut piece = [0; 16 * 1024];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let text = format!("nothing came in {patience:?}");
                return Err(io::Error::new(ErrorKind::TimedOut, text));
            }
            self.stream.set_read_timeout(Some(left))?;
            match self.stream.read(&mut piece) {
                Ok(0) => return Ok(false),
                Ok(read) => {
                    self.unread.extend(piece.iter().take(read));
                    return Ok(true);
                }
                Err(error) if has_gone(&error) => return Ok(false),
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => {}
                    _ => return Err(error),
                },
            }
        }
    }
}

/// Whether the peer is no longer there.
fn has_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted
    )
}
