//! A client of the documented API, as a user's program would be: it knows
//! paths, headers and JSON, and nothing of what is behind them.
//!
//! Each request is sent on a connection of its own, so that many of them reach
//! all workers of a gateway; `raw_http` and `http2` are for the rest.

use std::time::Duration;

use serde_json::Value;
use ureq::Agent;
use ureq::http::{HeaderMap, Method, Request};

/// The header that shows a key: the very one that the filter reads.
pub(crate) use rekey_protocol::contract::KEY_HEADER;
/// The documented endpoint.
pub(crate) const REGENERATE: &str = "/v1/user/api-key/regenerate";
/// A path of the demo upstream that needs a key.
pub(crate) const SCRAPE: &str = "/v1/scrape";

/// Header lines by which a request becomes one for a WebSocket.
pub(crate) const OFFER_WEBSOCKET: &str = "connection: upgrade\r\nupgrade: websocket\r\n\
    sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";

/// Longer than a gateway pursues a rotation.
const PATIENCE: Duration = Duration::from_secs(45);

/// Sends requests to one gateway.
#[derive(Clone)]
pub(crate) struct Client {
    agent: Agent,
    url: String,
}

/// An answer, whatever its status.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as it came.
    pub body: String,
}

/// No answer, or not all of one.
pub(crate) type Broken = ureq::Error;

impl Client {
    /// A client of the gateway at this URL (`http://address:port`).
    pub(crate) fn new(url: &str) -> Self {
        let (agent, url) = (agent(PATIENCE), url.to_owned());
        Self { agent, url }
    }

    /// The same client, which waits for so long for an answer.
    pub(crate) fn patient(&self, patience: Duration) -> Self {
        let (agent, url) = (agent(patience), self.url.clone());
        Self { agent, url }
    }

    /// `GET` of a path that the upstream serves.
    pub(crate) fn get(&self, path: &str, key: &str) -> Answer {
        self.send("GET", path, &bearer(key), "")
    }

    /// The documented request.
    pub(crate) fn regenerate(&self, key: &str) -> Answer {
        self.try_regenerate(key).expect("an answer")
    }

    /// The documented request, where it may go unanswered.
    ///
    /// # Errors
    /// No connection, or it broke before the answer's end.
    pub(crate) fn try_regenerate(&self, key: &str) -> Result<Answer, Broken> {
        self.try_send("POST", REGENERATE, &bearer(key), "")
    }

    /// As [`Self::get`], where it may go unanswered.
    ///
    /// # Errors
    /// As [`Self::try_regenerate`].
    pub(crate) fn try_get(&self, path: &str, key: &str) -> Result<Answer, Broken> {
        self.try_send("GET", path, &bearer(key), "")
    }

    /// Any request; headers are name and value.
    ///
    /// # Panics
    /// There is no answer.
    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, String)],
        body: &str,
    ) -> Answer {
        self.try_send(method, path, headers, body)
            .expect("an answer")
    }

    fn try_send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, String)],
        body: &str,
    ) -> Result<Answer, Broken> {
        let mut request = Request::builder()
            .method(Method::from_bytes(method.as_bytes()).unwrap())
            .uri(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let mut answer = if body.is_empty() {
            self.agent.run(request.body(()).unwrap())?
        } else {
            self.agent.run(request.body(body).unwrap())?
        };
        let body = answer.body_mut().read_to_string()?;
        Ok(Answer {
            status: answer.status().as_u16(),
            headers: answer.headers().clone(),
            body,
        })
    }
}

fn agent(patience: Duration) -> Agent {
    Agent::config_builder()
        .timeout_global(Some(patience))
        .http_status_as_error(false)
        .allow_non_standard_methods(true)
        .max_redirects(0)
        .max_idle_connections(0)
        .proxy(None)
        .build()
        .new_agent()
}

/// The header that shows a key.
pub(crate) fn bearer(key: &str) -> Vec<(&'static str, String)> {
    vec![(KEY_HEADER, format!("Bearer {key}"))]
}

impl Answer {
    /// A header's value; empty if there is none.
    ///
    /// # Panics
    /// It is there more than once.
    pub(crate) fn header(&self, name: &str) -> &str {
        let values: Vec<_> = self.headers.get_all(name).iter().collect();
        assert!(values.len() <= 1, "{name}: {values:?}");
        values.first().map_or("", |value| value.to_str().unwrap())
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// It is none.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect(&self.body)
    }

    /// Status and `error.code`, to be compared in one go; `ok` where there is
    /// no error.
    pub(crate) fn outcome(&self) -> (u16, String) {
        let json: Value = serde_json::from_str(&self.body).unwrap_or_default();
        let code = json["error"]["code"].as_str().unwrap_or("ok");
        (self.status, code.to_owned())
    }

    /// The new key of a rotation.
    ///
    /// # Panics
    /// It was not rotated.
    pub(crate) fn new_key(&self) -> String {
        assert_eq!(self.status, 200, "{}", self.body);
        let key = self.json()["data"]["api_key"].clone();
        key.as_str().expect("a new key").to_owned()
    }
}

/// A request without a body as HTTP/1.1 bytes, for a connection that the test
/// holds itself.
pub(crate) fn raw_request(method: &str, path: &str, key: &str) -> String {
    raw_request_with(method, path, key, "")
}

/// The same with more header lines, each with its line end.
pub(crate) fn raw_request_with(method: &str, path: &str, key: &str, lines: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nhost: gateway\r\n{KEY_HEADER}: Bearer {key}\r\n{lines}\r\n"
    )
}
