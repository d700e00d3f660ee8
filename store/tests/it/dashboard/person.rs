//! Somebody at a browser without JavaScript: it keeps its cookie, says where
//! its forms come from, and sends the hidden fields of the page that it got.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;

use super::{LOGIN, NEW_KEY, PROFILE, REGENERATE, REVOKE};
use crate::process::{Answer, PATIENCE, Store};

pub(super) type Headers = Vec<(&'static str, String)>;

pub(super) struct Person {
    address: String,
    pub origin: String,
    /// Of the session.
    cookie: Mutex<Option<String>>,
    /// By which the browser is known.
    device: Mutex<Option<String>>,
    from: Option<String>,
}

impl Person {
    pub(super) fn at(store: &Store) -> Self {
        let origin = store.dashboard_url.clone().unwrap();
        let address = origin.strip_prefix("http://").unwrap().to_owned();
        Self::of(&address, &origin)
    }

    /// Where the browser knows the dashboard by another address.
    pub(super) fn of(address: &str, origin: &str) -> Self {
        Self {
            address: address.to_owned(),
            origin: origin.to_owned(),
            cookie: Mutex::default(),
            device: Mutex::default(),
            from: None,
        }
    }

    /// As a proxy says.
    pub(super) fn from(self, address: &str) -> Self {
        let from = Some(address.to_owned());
        Self { from, ..self }
    }

    /// The same browser at the store's next life.
    pub(super) fn again_at(self, store: &Store) -> Self {
        let next = Self::at(store);
        // It listens on another port, by which the cookies are named.
        for (jar, kept) in [(&next.cookie, &self.cookie), (&next.device, &self.device)] {
            let kept = kept.lock().unwrap().clone();
            let renamed = kept.map(|cookie| cookie.replacen(self.port(), next.port(), 1));
            *jar.lock().unwrap() = renamed;
        }
        next
    }

    /// Name and value of the session's; empty without one.
    pub(super) fn cookie(&self) -> String {
        self.cookie.lock().unwrap().clone().unwrap_or_default()
    }

    /// The cookie's value.
    pub(super) fn token(&self) -> String {
        let cookie = self.cookie();
        cookie.split_once('=').unwrap().1.to_owned()
    }

    /// A session's cookie with that value.
    pub(super) fn cookie_of(&self, token: &str) -> String {
        format!("rekey_session_{}={token}", self.port())
    }

    fn port(&self) -> &str {
        self.address.rsplit(':').next().unwrap()
    }

    /// Puts a session's cookie into the browser.
    pub(super) fn plant(&self, cookie: &str) {
        *self.cookie.lock().unwrap() = Some(cookie.to_owned());
    }

    /// What the browser says with every request.
    pub(super) fn headers(&self, method: &str) -> Headers {
        let host = self.origin.split_once("://").unwrap().1;
        let mut headers = vec![("host", host.to_owned())];
        if method != "GET" && method != "HEAD" {
            headers.push(("origin", self.origin.clone()));
            headers.push(("content-type", "application/x-www-form-urlencoded".into()));
        }
        let jars = [&self.device, &self.cookie].map(|jar| jar.lock().unwrap().clone());
        let cookies: Vec<_> = jars.into_iter().flatten().collect();
        headers.extend((!cookies.is_empty()).then(|| ("cookie", cookies.join("; "))));
        headers.extend(self.from.clone().map(|from| ("x-forwarded-for", from)));
        headers
    }

    /// Sends a request with exactly these headers, but for what frames it.
    pub(super) fn begin(
        &self,
        method: &str,
        path: &str,
        headers: &Headers,
        body: &str,
    ) -> TcpStream {
        self.begin_with(method, path, headers, b"", body)
    }

    /// As [`Self::begin`], with lines before the other headers, as bytes.
    fn begin_with(
        &self,
        method: &str,
        path: &str,
        headers: &Headers,
        lines: &[u8],
        body: &str,
    ) -> TcpStream {
        let mut text = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n").into_bytes();
        text.extend_from_slice(lines);
        for (name, value) in headers {
            text.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        if !body.is_empty() {
            text.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
        }
        text.extend_from_slice(b"\r\n");
        text.extend_from_slice(body.as_bytes());
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(&text).unwrap();
        stream
    }

    /// A page, asked for with foreign header lines, as bytes, before our own.
    pub(super) fn get_with(&self, path: &str, lines: &[u8]) -> Answer {
        answer(self.begin_with("GET", path, &self.headers("GET"), lines, ""))
    }

    /// Sends a form with foreign header lines, as bytes, before our own.
    pub(super) fn submit_with(&self, form: &Form, lines: &[u8]) -> Answer {
        let headers = self.headers("POST");
        let stream = self.begin_with("POST", &form.action, &headers, lines, &form.body());
        self.keep_cookies(answer(stream))
    }

    pub(super) fn send(&self, method: &str, path: &str, headers: &Headers, body: &str) -> Answer {
        answer(self.begin(method, path, headers, body))
    }

    pub(super) fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &self.headers("GET"), "")
    }

    /// Sends a form, and takes the cookies that come back.
    pub(super) fn submit(&self, form: &Form) -> Answer {
        self.submit_with(form, b"")
    }

    fn keep_cookies(&self, answer: Answer) -> Answer {
        for (_, set) in answer
            .headers
            .iter()
            .filter(|(name, _)| name == "set-cookie")
        {
            let cookie = set.split(';').next().unwrap().to_owned();
            let jar = match cookie.contains("rekey_device") {
                true => &self.device,
                false => &self.cookie,
            };
            let gone = set.contains("Max-Age=0");
            *jar.lock().unwrap() = Some(cookie).filter(|_| !gone);
        }
        answer
    }

    pub(super) fn log_in(&self, email: &str, password: &str) -> Answer {
        let form = Form::to(LOGIN).with("email", email);
        self.submit(&form.with("password", password))
    }

    /// The form to regenerate the key.
    pub(super) fn regeneration(&self) -> Form {
        self.get(REGENERATE).form(REGENERATE)
    }

    /// The form to revoke the key.
    pub(super) fn revocation(&self) -> Form {
        self.get(REVOKE).form(REVOKE)
    }

    /// The form for a new key after that.
    pub(super) fn new_key(&self) -> Form {
        self.get(PROFILE).form(NEW_KEY)
    }
}

/// Reads an answer to the connection's end.
pub(super) fn answer(mut stream: TcpStream) -> Answer {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap();
    let pair = |line: &str| {
        let (name, value) = line.split_once(": ").unwrap();
        (name.to_owned(), value.to_owned())
    };
    Answer {
        status: status.parse().unwrap(),
        headers: lines.map(pair).collect(),
        text: body.to_owned(),
    }
}

/// A form as it is sent.
#[derive(Clone)]
pub(crate) struct Form {
    pub action: String,
    fields: BTreeMap<String, String>,
}

impl Form {
    pub(crate) fn to(action: &str) -> Self {
        Self {
            action: action.to_owned(),
            fields: BTreeMap::new(),
        }
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.fields.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.fields.remove(name).unwrap();
        self
    }

    pub(crate) fn field(&self, name: &str) -> &str {
        &self.fields[name]
    }

    pub(crate) fn body(&self) -> String {
        serde_urlencoded::to_string(&self.fields).unwrap()
    }
}

/// What people and browsers find in a page.
impl Answer {
    /// The text of the element with that id.
    pub(crate) fn element(&self, id: &str) -> Option<&str> {
        let (_, rest) = self.text.split_once(&format!("id=\"{id}\""))?;
        let (_, content) = rest.split_once('>')?;
        content.split('<').next()
    }

    /// What went wrong, by the page's own words.
    pub(crate) fn error(&self) -> &str {
        let error = self.element("error");
        error.unwrap_or_else(|| panic!("no #error: {self:?}"))
    }

    /// The form that is sent there, with its hidden fields.
    pub(crate) fn form(&self, action: &str) -> Form {
        let begin = format!("action=\"{action}\"");
        let found = self.text.split_once(&begin);
        let (_, rest) = found.unwrap_or_else(|| panic!("no form to {action}: {self:?}"));
        let inside = rest.split("</form>").next().unwrap();
        let hidden = inside.split("<input type=\"hidden\" name=\"").skip(1);
        hidden.fold(Form::to(action), |form, input| {
            let mut parts = input.split('"');
            let (name, value) = (parts.next().unwrap(), parts.nth(1).unwrap());
            form.with(name, value)
        })
    }

    pub(crate) fn offers(&self, action: &str) -> bool {
        self.text.contains(&format!("action=\"{action}\""))
    }
}
