//! What must make no difference: the body, the query string, the version of
//! HTTP, and whether the connection has served before.

use hyper::Request;
use hyper::body::Bytes;

use super::options;
use crate::support::client::{REGENERATE, SCRAPE, raw_request};
use crate::support::fleet::{self, TestFleet};
use crate::support::wire::http2::{Body, Http2};
use crate::support::wire::raw_http::RawConnection;

/// `POST` to the endpoint with these header lines and this body, as one write.
fn posted(key: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {REGENERATE} HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {key}\r\n{headers}\r\n"
    );
    [head.as_bytes(), body].concat()
}

fn connect(fleet: &TestFleet) -> RawConnection {
    RawConnection::open(fleet.gateways[0].address())
}

#[test]
fn a_body_of_any_kind_is_ignored() {
    let fleet = fleet::start(options());
    let large = vec![0; 100_000];
    let json = "content-type: application/json\r\n";
    let form = "content-type: application/x-www-form-urlencoded\r\n";
    let bodies: [(&str, &[u8]); 6] = [
        ("", b""),
        (json, b"{}"),
        (json, br#"{"success":true,"api_key":"mine","#),
        (form, b"method=GET&api_key=sb_live_other"),
        ("content-type: text/plain\r\n", b"\xff\xfe\x00"),
        ("content-encoding: gzip\r\n", &large),
    ];
    for (headers, body) in bodies {
        let key = fleet.user().api_key;
        let headers = format!("{headers}content-length: {}\r\n", body.len());
        let answer = connect(&fleet).exchange(posted(&key, &headers, body));
        assert_eq!(answer.status, 200, "{headers:?}: {}", answer.body);
    }
    let key = fleet.user().api_key;
    let chunked = b"5\r\nhello\r\n0\r\n\r\n";
    let answer = connect(&fleet).exchange(posted(&key, "transfer-encoding: chunked\r\n", chunked));
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(fleet.upstream.ledger().unwrap().is_empty());
}

#[test]
fn a_query_string_is_ignored() {
    let fleet = fleet::start(options());
    let client = fleet.client();
    for query in [
        "?",
        "?x=1",
        "?api_key=sb_live_x&method=GET",
        "?/../..",
        "??;",
    ] {
        let key = fleet.user().api_key;
        let path = format!("{REGENERATE}{query}");
        let answer = connect(&fleet).exchange(raw_request("POST", &path, &key));
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        assert_eq!(client.get(SCRAPE, &key).status, 401);
    }
}

#[test]
fn a_connection_serves_on_behind_every_answer() {
    let fleet = fleet::start(options());
    let key = fleet.user().api_key;
    let mut connection = connect(&fleet);
    let mut ask = |method: &str, path: &str, key: &str| {
        let answer = connection.exchange(raw_request(method, path, key));
        assert!(!answer.says_close(), "{method} {path}: {answer:?}");
        answer
    };
    let rotated = ask("POST", REGENERATE, &key);
    assert_eq!(rotated.status, 200);
    let json: serde_json::Value = serde_json::from_str(&rotated.body).unwrap();
    let new = json["data"]["api_key"].as_str().unwrap();
    assert_eq!(ask("GET", SCRAPE, &key).code(), "api_key_revoked");
    assert_eq!(ask("POST", REGENERATE, new).code(), "rate_limited");
    assert_eq!(ask("PUT", REGENERATE, new).code(), "method_not_allowed");
    assert_eq!(ask("GET", SCRAPE, new).status, 200);
}

#[test]
fn two_requests_in_one_write_are_answered_in_their_order() {
    let fleet = fleet::start(options());
    let key = fleet.user().api_key;
    let mut connection = connect(&fleet);
    connection.send(raw_request("POST", REGENERATE, &key) + &raw_request("GET", SCRAPE, &key));
    assert_eq!(connection.answer().status, 200);
    // It arrived when the rotation was answered: Envoy reads it only then.
    assert_eq!(connection.answer().code(), "api_key_revoked");
}

#[test]
fn http2_gives_the_same_answers_on_one_connection() {
    let fleet = fleet::start(options());
    let gateway = &fleet.gateways[0];
    let connection = Http2::connect(gateway.address());
    let request = |method: &str, path: &str, key: &str| {
        Request::builder()
            .method(method)
            .uri(format!("{}{path}", gateway.url()))
            .header("authorization", format!("Bearer {key}"))
            .body(())
            .unwrap()
    };
    let old = fleet.user().api_key;
    let ask = |method: &str, path: &str, key: &str, body: Body| {
        connection.exchange(request(method, path, key), body)
    };
    assert_eq!(ask("GET", SCRAPE, &old, Body::None).status, 200);
    let body = Body::Whole(Bytes::from_static(b"{}"));
    let rotated = ask("POST", REGENERATE, &old, body.clone());
    assert_eq!(rotated.status, 200, "{}", rotated.body);
    assert_eq!(rotated.header("cache-control"), "no-store");
    let json: serde_json::Value = serde_json::from_str(&rotated.body).unwrap();
    let new = json["data"]["api_key"].as_str().unwrap();

    let refused = ask("GET", SCRAPE, &old, Body::None);
    assert_eq!(refused.status, 401);
    assert!(refused.body.contains("api_key_revoked"), "{}", refused.body);
    assert_eq!(ask("GET", SCRAPE, new, Body::None).status, 200);
    let limited = ask("POST", REGENERATE, new, body);
    assert_eq!(limited.status, 429);
    assert!(!limited.header("retry-after").is_empty());
    let wrong = ask("DELETE", REGENERATE, new, Body::None);
    assert_eq!(
        (wrong.status.as_u16(), wrong.header("allow")),
        (405, "POST")
    );
    fleet.assert_no_trap();
}
