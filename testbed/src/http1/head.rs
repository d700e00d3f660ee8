//! The head of a message: where it ends, and what is in it.

use std::io::{self, ErrorKind};

/// More headers than any message here has.
const MOST_HEADERS: usize = 128;

/// A head, if its end has come.
pub type Parsed = io::Result<Option<WholeHead>>;

/// A head that was received whole.
#[derive(Debug, Clone)]
pub struct WholeHead {
    /// What is in it.
    pub head: Head,
    /// Its length in bytes.
    pub length: usize,
}

/// The head of a request or an answer.
#[derive(Debug, Clone)]
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
    /// The answer's head that these bytes begin with.
    ///
    /// # Errors
    /// It is no HTTP/1.1.
    pub fn of_answer(bytes: &[u8]) -> Parsed {
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let mut answer = httparse::Response::new(&mut headers);
        let Some(length) = whole(answer.parse(bytes), bytes)? else {
            return Ok(None);
        };
        let head = Self {
            status: answer.code.unwrap_or_default(),
            path: String::new(),
            headers: owned(answer.headers),
        };
        Ok(Some(WholeHead { head, length }))
    }

    /// As [`Self::of_answer`], of a request.
    ///
    /// # Errors
    /// As [`Self::of_answer`].
    pub fn of_request(bytes: &[u8]) -> Parsed {
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        let Some(length) = whole(request.parse(bytes), bytes)? else {
            return Ok(None);
        };
        let head = Self {
            status: 0,
            path: request.path.unwrap_or_default().to_owned(),
            headers: owned(request.headers),
        };
        Ok(Some(WholeHead { head, length }))
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

fn whole(parsed: httparse::Result<usize>, bytes: &[u8]) -> io::Result<Option<usize>> {
    match parsed {
        Ok(httparse::Status::Complete(length)) => Ok(Some(length)),
        Ok(httparse::Status::Partial) => Ok(None),
        Err(error) => {
            let what = format!("{error} in {:?}", String::from_utf8_lossy(bytes));
            Err(io::Error::new(ErrorKind::InvalidData, what))
        }
    }
}

fn owned(headers: &[httparse::Header<'_>]) -> Vec<(String, String)> {
    let pair = |header: &httparse::Header<'_>| {
        let value = String::from_utf8_lossy(header.value).into_owned();
        (header.name.to_ascii_lowercase(), value)
    };
    headers.iter().map(pair).collect()
}
