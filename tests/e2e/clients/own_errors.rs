//! What Envoy answers itself has the envelope of the API: a JSON object, a code
//! to act on, a sentence to read.

use std::sync::Arc;

use rekey_testbed::{FleetOptions, Port};
use serde_json::{Value, json};

use super::{PATIENT, before, route, routes};
use crate::support::client::{OFFER_WEBSOCKET, raw_request, raw_request_with};
use crate::support::fleet::{self, TestFleet};
use crate::support::stand_ins::raw_api::RawApi;
use crate::support::wire::raw_http::{RawAnswer, RawConnection};

fn exchange(fleet: &TestFleet, request: impl AsRef<[u8]>) -> RawAnswer {
    RawConnection::open(fleet.gateways[0].address()).exchange(request)
}

/// The answer has the envelope, this status and code, and is not to be stored.
fn is_enveloped(answer: &RawAnswer, status: u16, code: &str) {
    let outcome = (answer.status, answer.code());
    assert_eq!(outcome, (status, code.to_owned()), "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    assert!(
        answer
            .body
            .starts_with(r#"{"success":false,"error":{"code":"#)
    );
    assert!(body["error"]["message"].as_str().unwrap().ends_with('.'));
}

#[test]
fn requests_that_cannot_be_read() {
    let fleet = fleet::start(FleetOptions::default());
    let key = fleet.user().api_key;
    let host = "HTTP/1.1\r\nHost: edge.example";
    let long = "x".repeat(100_000);
    for (request, status, code) in [
        ("GARBAGE".to_owned(), 400, "bad_request"),
        (format!("GET / {host}\r\nx_y: 1"), 400, "bad_request"),
        ("GET / HTTP/1.1".to_owned(), 400, "bad_request"),
        (format!("GET /#x {host}"), 400, "bad_request"),
        (format!("BREW / {host}"), 400, "bad_request"),
        (
            format!("GET / {host}\r\nContent-Length: -1"),
            400,
            "bad_request",
        ),
        (
            format!("GET / {host}\r\nTransfer-Encoding: gzip"),
            501,
            "not_implemented",
        ),
        (
            format!("CONNECT edge.example:443 {host}\r\nAuthorization: Bearer {key}"),
            404,
            "not_found",
        ),
        (format!("OPTIONS * {host}"), 404, "not_found"),
        (
            format!("GET / {host}\r\nlong: {long}"),
            431,
            "headers_too_large",
        ),
    ] {
        let answer = exchange(&fleet, format!("{request}\r\n\r\n"));
        is_enveloped(&answer, status, code);
    }
    fleet.assert_no_trap();
}

#[test]
fn apis_that_fail() {
    let api = RawApi::start(PATIENT);
    let options = FleetOptions {
        edit: Some(Arc::new(|config| {
            route(config, "api")["timeout"] = json!("0.5s");
            Ok(())
        })),
        ..FleetOptions::default()
    };
    let fleet = before(api.address(), options);
    let key = fleet.user().api_key;
    let get = |path: &str| exchange(&fleet, raw_request("GET", path, &key));
    is_enveloped(&get("/garbage"), 502, "bad_gateway");
    is_enveloped(&get("/hang-up"), 503, "api_connection_lost");
    is_enveloped(&get("/silent"), 504, "gateway_timeout");
    let request = raw_request_with("GET", "/plain", &key, OFFER_WEBSOCKET);
    let answer = exchange(&fleet, request);
    is_enveloped(&answer, 502, "websocket_refused");
    fleet.assert_no_trap();
}

#[test]
fn an_api_that_is_away() {
    let gone = Port::free().unwrap();
    let fleet = before(gone.address(), FleetOptions::default());
    let key = fleet.user().api_key;
    let answer = exchange(&fleet, raw_request("GET", "/v1/scrape", &key));
    is_enveloped(&answer, 503, "api_unavailable");
    assert_eq!(answer.header("retry-after"), Some("1"));
    fleet.assert_no_trap();
}

/// What the filter, another filter or an operator's route answers stays as it is.
#[test]
fn answers_of_others_stay_as_they_are() {
    let options = FleetOptions {
        edit: Some(Arc::new(|config| {
            let own = json!({
                "match": { "path": "/closed" },
                "direct_response": { "status": 503, "body": { "inline_string": "closed today" } },
            });
            routes(config).insert(0, own);
            Ok(())
        })),
        ..FleetOptions::default()
    };
    let fleet = fleet::start(options);
    let key = fleet.user().api_key;
    let own = exchange(&fleet, raw_request("GET", "/closed", &key));
    assert_eq!((own.status, &*own.body), (503, "closed today"));
    assert_eq!(own.header("content-type"), Some("text/plain"));
    let filters = exchange(&fleet, "GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!((filters.status, &*filters.code()), (401, "missing_api_key"));
    let not_found = exchange(&fleet, raw_request("GET", "/demo/ledger", &key));
    assert_eq!(not_found.status, 200);
}
