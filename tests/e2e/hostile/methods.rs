//! Every method there is, and some that there are not.

use super::super::support::client::REGENERATE;
use super::super::support::wire::raw_http::RawConnection;
use super::{Differences, Outcome, method_not_allowed, missing_key, request, send, start};

#[test]
fn only_post_regenerates() {
    let fleet = start();
    let mut differences = Differences::default();
    for method in [
        "GET", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "PURGE",
    ] {
        let answer = send(&fleet, &request(format!("{method} {REGENERATE}"), &[]));
        let case = format!("{method} on the endpoint");
        differences.compare(&case, &Outcome::of(&answer), &method_not_allowed());
        assert_eq!(answer.header("allow"), Some("POST"), "{case}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{case}");
        assert!(!answer.says_close(), "{case}");

        let answer = send(&fleet, &request(format!("{method} /v1/scrape"), &[]));
        let case = format!("{method} elsewhere");
        differences.compare(&case, &Outcome::of(&answer), &missing_key());
    }
    let answer = send(&fleet, &request(format!("POST {REGENERATE}"), &[]));
    differences.compare("POST", &Outcome::of(&answer), &missing_key());
    differences.assert_none();
    fleet.assert_no_trap();
}

/// RFC 9110, 9.3.2: as a GET, without the body.
#[test]
fn a_head_gets_the_same_head_and_no_body() {
    let fleet = start();
    let mut connection = RawConnection::open(fleet.gateways[0].address());
    for (path, status) in [(REGENERATE, 405), ("/v1/scrape", 401), ("/status", 200)] {
        let get = connection.exchange(request(format!("GET {path}"), &[]));
        connection.send(request(format!("HEAD {path}"), &[]));
        let head = connection.answer_to_head();
        assert_eq!((get.status, head.status), (status, status), "{path}");
        assert_eq!(head.header("allow"), get.header("allow"), "{path}");
        let challenge = "www-authenticate";
        assert_eq!(head.header(challenge), get.header(challenge), "{path}");
    }
    fleet.assert_no_trap();
}

/// Envoy answers these before the filter sees them.
#[test]
fn what_is_no_request_is_envoys_to_refuse() {
    let fleet = start();
    let key = fleet.user().api_key;
    let mut differences = Differences::default();
    let authorized = |start: &str| format!("{start}\r\nAuthorization: Bearer {key}\r\n\r\n");
    let host = "HTTP/1.1\r\nHost: edge.example";
    for (bytes, status) in [
        (format!("CONNECT edge.example:443 {host}"), 404),
        (format!("OPTIONS * {host}"), 404),
        (format!("BREW {REGENERATE} {host}"), 400),
        (format!("M-SEARCH {REGENERATE} {host}"), 400),
        (format!("get {REGENERATE} {host}"), 400),
        (format!("PO/ST {REGENERATE} {host}"), 400),
        (format!("POST {REGENERATE} HTTP/1.1"), 400),
        (
            format!("POST {REGENERATE} {host}\r\nContent-Length: 1\r\nContent-Length: 2"),
            400,
        ),
        (
            format!("POST {REGENERATE} {host}\r\nContent-Length: -1"),
            400,
        ),
        (
            format!("POST {REGENERATE} {host}\r\nContent-Length: 99999999999999999999"),
            400,
        ),
        (
            format!("POST {REGENERATE} {host}\r\nContent-Length: 4\r\nTransfer-Encoding: chunked"),
            400,
        ),
        (
            format!("POST {REGENERATE} {host}\r\nTransfer-Encoding: gzip"),
            501,
        ),
        (format!("POST {REGENERATE} {host}\r\nX Y: z"), 400),
        (format!("POST {REGENERATE} {host}\r\nX-Y : z"), 400),
        (format!("POST {REGENERATE} {host}\r\n: z"), 400),
        ("\u{0}\u{1}\u{2}".to_owned(), 400),
    ] {
        let found = Outcome::of(&send(&fleet, authorized(&bytes).as_bytes()));
        differences.compare(&bytes, &found, &Outcome::Envoy(status));
    }
    differences.assert_none();
    // Nothing of it has rotated the key.
    assert_eq!(fleet.client().get("/v1/scrape", &key).status, 200);
    fleet.assert_no_trap();
}
