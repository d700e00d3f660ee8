//! Input that is malformed, oversized or ambiguous: each gets the contract's
//! answer, or Envoy's own where Envoy answers before the filter, and no VM
//! traps (I9).

mod bodies;
mod crowds;
mod headers;
mod http2;
mod malformed_http2;
mod methods;
mod paths;

use rekey_testbed::{FleetOptions, Received};
use serde_json::{Value, json};

use super::support::fleet::{self, TestFleet};
use super::support::wire::raw_http::{RawAnswer, RawConnection};

/// Open to everybody, as one path and as a prefix.
const PUBLIC: [&str; 2] = ["/status", "/docs/"];

/// A well-formed key with a wrong checksum: refused without a call.
const FORGED: &str = "sb_live_00000000000000000000000000000000";

/// The codes of what Envoy refuses before the filter.
const ENVOYS: [&str; 6] = [
    "bad_request",
    "not_found",
    "payload_too_large",
    "request_timeout",
    "headers_too_large",
    "not_implemented",
];

/// What a request came to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    /// The upstream served it, to this user.
    Upstream(String),
    /// The filter refused it: status and `error.code`.
    Refused(u16, String),
    /// Envoy answered by itself.
    Envoy(u16),
}

impl Outcome {
    fn of(answer: &RawAnswer) -> Self {
        let body: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        if let Some(user) = body["user"].as_str() {
            return Self::Upstream(user.to_owned());
        }
        match body["error"]["code"].as_str() {
            Some(code) if ENVOYS.contains(&code) => Self::Envoy(answer.status),
            Some(code) => Self::Refused(answer.status, code.to_owned()),
            None => panic!("an answer without a code: {answer:?}"),
        }
    }
}

fn anonymous() -> Outcome {
    Outcome::Upstream("anonymous".to_owned())
}

fn missing_key() -> Outcome {
    Outcome::Refused(401, "missing_api_key".to_owned())
}

fn invalid_key() -> Outcome {
    Outcome::Refused(401, "invalid_api_key".to_owned())
}

fn method_not_allowed() -> Outcome {
    Outcome::Refused(405, "method_not_allowed".to_owned())
}

fn start() -> TestFleet {
    fleet::start(FleetOptions {
        plugin: json!({ "public_paths": PUBLIC }),
        ..FleetOptions::default()
    })
}

/// A request's bytes: its line, a `Host`, these header lines, no body.
fn request(line: impl AsRef<[u8]>, headers: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = line.as_ref().to_vec();
    bytes.extend(b" HTTP/1.1\r\nHost: edge.example\r\n");
    for header in headers {
        bytes.extend(header);
        bytes.extend(b"\r\n");
    }
    bytes.extend(b"\r\n");
    bytes
}

/// Sends these bytes on a connection of their own.
fn send(fleet: &TestFleet, bytes: &[u8]) -> RawAnswer {
    RawConnection::open(fleet.gateways[0].address()).exchange(bytes)
}

/// What the upstream says that it received.
fn received(answer: &RawAnswer) -> Received {
    serde_json::from_str(&answer.body).expect(&answer.body)
}

/// Collects what differs from a table, so that a failure shows all of it.
#[derive(Default)]
struct Differences(Vec<String>);

impl Differences {
    fn compare(&mut self, case: &str, found: &Outcome, expected: &Outcome) {
        if found != expected {
            self.0
                .push(format!("{case}: {found:?} instead of {expected:?}"));
        }
    }

    fn assert_none(self) {
        assert!(self.0.is_empty(), "{:#?}", self.0);
    }
}
