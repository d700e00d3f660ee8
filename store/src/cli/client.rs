//! Calls the admin listener of a running store.

use std::io::{BufReader, Read};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use rekey_protocol::{ErrorBody, ErrorCode, MARKER_HEADER, TokenText};
use serde::Serialize;
use serde::de::DeserializeOwned;
use ureq::http::{Response, StatusCode};
use ureq::{Agent, Body, BodyReader, RequestBuilder, SendBody};
use zeroize::Zeroizing;

use crate::api::{IMPORT_PATH, NDJSON};
use crate::server::config::{ADMIN_TOKEN, variable};

const ADMIN_URL: &str = "REKEY_ADMIN_URL";
const DEFAULT_URL: &str = "http://127.0.0.1:8081";
/// The largest answer that is read whole, in bytes; a page is far below.
const ANSWER_MAX: u64 = 4 << 20;

/// A store's admin listener.
pub(super) struct AdminClient {
    agent: Agent,
    url: String,
    authorization: Zeroizing<String>,
}

/// What a command changes, for the case that its end is not known: what is in
/// doubt, and how to find out without doing harm.
pub(super) type InDoubt = &'static str;

/// Whether the rows of an import are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ImportRun {
    /// They are only checked.
    Dry,
    /// They are imported, if all are good.
    Real,
}

/// What became of an import.
pub(super) enum Sent {
    /// The answer's text.
    Accepted(Zeroizing<Vec<u8>>),
    /// Rows are bad: the answer, line by line.
    Refused(BufReader<BodyReader<'static>>),
}

impl AdminClient {
    /// The one that the environment names.
    pub(super) fn from_env() -> anyhow::Result<Self> {
        let url =
            variable(ADMIN_URL)?.map_or_else(|| DEFAULT_URL.to_owned(), |url| url.to_string());
        if !url.starts_with("http://") {
            bail!(
                "{ADMIN_URL}={url}: it must begin with http:// (for another machine, use a tunnel such as ssh -L)"
            );
        }
        let token = variable(ADMIN_TOKEN)?.with_context(|| {
            format!("{ADMIN_TOKEN} is not set: it is the one of `rekey-store serve`")
        })?;
        TokenText::parse(&token).context(ADMIN_TOKEN)?;
        let agent = Agent::config_builder()
            .timeout_connect(Some(Duration::from_secs(5)))
            .http_status_as_error(false)
            .max_redirects(0)
            // The token is for the store, not for a proxy.
            .proxy(None)
            .build()
            .new_agent();
        Ok(Self {
            agent,
            url: url.trim_end_matches('/').to_owned(),
            authorization: Zeroizing::new(format!("Bearer {}", *token)),
        })
    }

    /// `GET`; `path` with its query.
    pub(super) fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        let request = self.patient(self.agent.get(format!("{}{path}", self.url)));
        let mut response = self.accepted(request.call(), None)?;
        self.parsed(&read(&mut response)?)
    }

    /// `POST` of a small message; the answer's text may hold a key. Where it is not
    /// known whether the store has done it, the error says so and `in_doubt`.
    pub(super) fn post(
        &self,
        path: &str,
        message: &impl Serialize,
        in_doubt: InDoubt,
    ) -> anyhow::Result<Zeroizing<Vec<u8>>> {
        let body = serde_json::to_vec(message)?;
        let request = self.patient(self.agent.post(format!("{}{path}", self.url)));
        let mut response = self.accepted(request.send(&body), Some(in_doubt))?;
        read(&mut response).map_err(|error| anyhow!("{error:#}; {in_doubt}"))
    }

    /// Sends the rows of an import, as fast as the store takes them.
    pub(super) fn import(
        &self,
        run: ImportRun,
        rows: impl Read,
        in_doubt: InDoubt,
    ) -> anyhow::Result<Sent> {
        let dry_run = run == ImportRun::Dry;
        let url = format!("{}{IMPORT_PATH}?dry_run={dry_run}", self.url);
        let mut rows = Whole {
            rows,
            is_read: false,
        };
        let result = self
            .agent
            .post(url)
            .header("authorization", self.authorization.as_str())
            .header("content-type", NDJSON)
            // So that a refusal (wrong token) comes before the body is sent.
            .header("expect", "100-continue")
            .send(SendBody::from_reader(&mut rows));
        // The store begins when it has the whole body.
        let in_doubt = match rows.is_read && !dry_run {
            true => in_doubt,
            false => "nothing was imported",
        };
        match result {
            Ok(answer) if answer.status() == StatusCode::UNPROCESSABLE_ENTITY => Ok(Sent::Refused(
                BufReader::new(answer.into_body().into_reader()),
            )),
            result => {
                let mut answer = self.accepted(result, Some(in_doubt))?;
                let text = read(&mut answer).map_err(|error| anyhow!("{error:#}; {in_doubt}"));
                text.map(Sent::Accepted)
            }
        }
    }

    /// Parses an answer's text, which may borrow from it.
    pub(super) fn parsed<'t, T: serde::Deserialize<'t>>(
        &self,
        text: &'t [u8],
    ) -> anyhow::Result<T> {
        serde_json::from_slice(text).map_err(|_| {
            anyhow!(
                "{} answered something that this version does not understand",
                self.url
            )
        })
    }

    fn patient<B>(&self, request: RequestBuilder<B>) -> RequestBuilder<B> {
        request
            .header("authorization", self.authorization.as_str())
            .config()
            .timeout_global(Some(Duration::from_secs(60)))
            .build()
    }

    /// Turns everything but a success of the store itself into an error.
    fn accepted(
        &self,
        result: Result<Response<Body>, ureq::Error>,
        in_doubt: Option<InDoubt>,
    ) -> anyhow::Result<Response<Body>> {
        let url = &self.url;
        let doubt = in_doubt.map_or_else(String::new, |in_doubt| format!("; {in_doubt}"));
        let mut response = result.map_err(|error| match never_connected(&error) {
            true => anyhow!("cannot reach the key store at {url}: {error}; is `rekey-store serve` running there? {ADMIN_URL} names its admin listener; nothing was changed"),
            false => anyhow!("no answer from the key store at {url}: {error}{doubt}"),
        })?;
        let status = response.status();
        let failed = if status.is_server_error() { &doubt } else { "" };
        if !response.headers().contains_key(MARKER_HEADER) {
            bail!(
                "what answers at {url} is no rekey-store; set {ADMIN_URL} to its admin listener{failed}"
            );
        }
        if status.is_success() {
            return Ok(response);
        }
        let body: ErrorBody = self.parsed(&read(&mut response)?)?;
        Err(match body.error.code.nothing_changed() {
            true => refusal(url, status, &body),
            false => anyhow!("{}{doubt}", refusal(url, status, &body)),
        })
    }
}

/// Whether it is certain that no request has left.
fn never_connected(error: &ureq::Error) -> bool {
    use std::io::ErrorKind;
    use ureq::Timeout;
    match error {
        ureq::Error::BadUri(_)
        | ureq::Error::HostNotFound
        | ureq::Error::ConnectionFailed
        | ureq::Error::Timeout(Timeout::Resolve | Timeout::Connect) => true,
        ureq::Error::Io(error) => matches!(
            error.kind(),
            ErrorKind::ConnectionRefused | ErrorKind::AddrNotAvailable
        ),
        _ => false,
    }
}

/// The rows, and whether all of them were taken.
struct Whole<R> {
    rows: R,
    is_read: bool,
}

impl<R: Read> Read for Whole<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.rows.read(buffer)?;
        self.is_read |= read == 0 && !buffer.is_empty();
        Ok(read)
    }
}

fn refusal(url: &str, status: StatusCode, body: &ErrorBody) -> anyhow::Error {
    let message = &body.error.message;
    match body.error.code {
        ErrorCode::Unauthorized => anyhow!(
            "the key store at {url} refused the token: {ADMIN_TOKEN} must be the one of `rekey-store serve`"
        ),
        ErrorCode::NotFound | ErrorCode::MethodNotAllowed => anyhow!(
            "{url} is no admin listener of this version; set {ADMIN_URL} to the address of --admin-listen"
        ),
        ErrorCode::Unavailable | ErrorCode::Internal | ErrorCode::Unknown => {
            anyhow!(
                "the key store at {url} failed ({}): {message}",
                status.as_u16()
            )
        }
        _ => anyhow!("{message}"),
    }
}

fn read(response: &mut Response<Body>) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    response
        .body_mut()
        .with_config()
        .limit(ANSWER_MAX)
        .read_to_vec()
        .map(Zeroizing::new)
        .context("the key store's answer broke off")
}
