//! Key stores that are down, slow, wrong or lying: the right one of the two
//! 503s, never a 401, and nothing that outlives the fault (I4, I7, X1).

mod answers;
mod attempts;
mod connections;
mod patience;
mod unsent;

use rekey_testbed::FleetOptions;
use serde_json::Value;

use super::support::client::Answer;
use super::support::fleet::{self, TestFleet};
use super::support::stand_ins::scripted_store::{
    Act, Asked, ScriptedStore, Then, error, marked, unmarked,
};

/// Whom the scripted store takes everybody for.
const USER: &str = "u_scripted";

/// What a store, or what answers in its place, can do wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Closes the connection without a word.
    Closes,
    /// Tears the connection down without a word.
    Resets,
    /// Closes after the head of a good answer.
    OnlyHead,
    /// Closes after half of a good answer's body.
    HalfBody,
    /// The same without a `content-length`: to Envoy it looks complete.
    HalfBodyWithoutLength,
    /// Closes in the middle of a chunk.
    HalfChunk,
    /// No HTTP at all.
    Garbage,
    /// A good answer without the marker: a proxy's, or another server's.
    WithoutMarker,
    /// A good answer of another version of the API.
    OtherMarker,
    /// A marked 200 whose body is this.
    Says(&'static str),
    /// A good answer, twice in one body.
    SaysItTwice,
    /// An error of this status without the marker, with the words of ours.
    Proxy(u16),
    /// An error of the store's own: status and code.
    Store(u16, &'static str),
    /// Never answers.
    Silent,
}

/// What says nothing of what the store did: it may have done it.
const UNCLEAR: [Fault; 25] = [
    Fault::Closes,
    Fault::Resets,
    Fault::OnlyHead,
    Fault::HalfBody,
    Fault::HalfBodyWithoutLength,
    Fault::HalfChunk,
    Fault::Garbage,
    Fault::WithoutMarker,
    Fault::OtherMarker,
    Fault::Says(""),
    Fault::Says("<html>"),
    Fault::Says("{}"),
    Fault::Says("[]"),
    Fault::Says("\u{0}\u{1}"),
    Fault::SaysItTwice,
    Fault::Proxy(301),
    Fault::Proxy(401),
    Fault::Proxy(404),
    Fault::Proxy(500),
    Fault::Proxy(502),
    Fault::Proxy(503),
    Fault::Proxy(504),
    Fault::Store(500, "internal"),
    Fault::Store(500, "unknown_key"),
    Fault::Store(409, "of_tomorrow"),
];

/// Where the store itself says that it did nothing.
const CERTAIN: [Fault; 5] = [
    Fault::Store(401, "unauthorized"),
    Fault::Store(400, "bad_request"),
    Fault::Store(404, "not_found"),
    Fault::Store(413, "payload_too_large"),
    Fault::Store(503, "unavailable"),
];

impl Fault {
    /// What the store does where `good` would be its answer.
    fn act(self, good: &Value) -> Act {
        let whole = marked(200, good);
        let body = good.to_string();
        let (head, half) = (whole.len() - body.len(), body.len() / 2);
        let unframed = |frame: &str, body: &str| {
            format!("HTTP/1.1 200 OK\r\nrekey-store: 1\r\n{frame}\r\n{body}").into_bytes()
        };
        let sends = |bytes| Act::Send(bytes, Then::Close);
        match self {
            Self::Closes => Act::Keep(Then::Close),
            Self::Resets => Act::Keep(Then::Reset),
            Self::OnlyHead => sends(whole[..head].to_vec()),
            Self::HalfBody => sends(whole[..head + half].to_vec()),
            Self::HalfBodyWithoutLength => sends(unframed("", &body[..half])),
            Self::HalfChunk => {
                let chunk = format!("{:x}\r\n{}", body.len(), &body[..half]);
                sends(unframed("transfer-encoding: chunked\r\n", &chunk))
            }
            Self::Garbage => sends(b"\x16\x03\x01 this is not HTTP\r\n\r\n".to_vec()),
            Self::WithoutMarker => Act::Send(unmarked(200, good), Then::Live),
            Self::OtherMarker => {
                let text = String::from_utf8(whole).unwrap();
                sends(text.replacen("rekey-store: 1", "rekey-store: 2", 1).into())
            }
            Self::Says(text) => {
                let length = format!("content-length: {}\r\n", text.len());
                Act::Send(unframed(&length, text), Then::Live)
            }
            Self::SaysItTwice => {
                let length = format!("content-length: {}\r\n", 2 * body.len());
                Act::Send(unframed(&length, &body.repeat(2)), Then::Live)
            }
            Self::Proxy(status) => Act::Send(unmarked(status, &error("unknown_key")), Then::Live),
            Self::Store(status, code) => Act::Send(marked(status, &error(code)), Then::Live),
            Self::Silent => Act::Keep(Then::Hang),
        }
    }
}

/// A gateway before a store of the test's making. Keys come from a real one.
fn start(
    options: FleetOptions,
    script: impl FnMut(&Asked) -> Act + Send + 'static,
) -> (TestFleet, ScriptedStore) {
    fleet::start_with(options, |gateway| {
        let store = ScriptedStore::start(script);
        gateway.store = store.address();
        store
    })
}

/// Checks the 503 that says: nothing happened.
fn assert_unavailable(case: &str, answer: &Answer) {
    assert_refused(case, answer, "key_store_unavailable");
    assert_eq!(answer.header("retry-after"), "1", "{case}");
}

/// Checks the 503 that says: it may have happened.
fn assert_unconfirmed(case: &str, answer: &Answer) {
    assert_refused(case, answer, "rotation_unconfirmed");
    assert!(answer.body.contains("same Idempotency-Key"), "{case}");
}

fn assert_refused(case: &str, answer: &Answer, code: &str) {
    assert_eq!(answer.outcome(), (503, code.to_owned()), "{case}");
    assert_eq!(answer.header("cache-control"), "no-store", "{case}");
}
