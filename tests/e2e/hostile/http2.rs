//! HTTP/2 and gRPC: an answer is complete though the body was not read, and
//! the connection goes on.

use h2::Reason;
use hyper::Request;
use hyper::body::Bytes;
use hyper::header::HeaderValue;
use hyper::http::request::Builder;
use serde_json::Value;

use super::super::support::client::REGENERATE;
use super::super::support::wire::http2::{Body, Http2, Http2Answer};
use super::{FORGED, start};

fn to(method: &str, path: &str) -> Builder {
    Request::builder()
        .method(method)
        .uri(format!("http://edge.example{path}"))
}

fn with_key(request: Builder, key: &str) -> Request<()> {
    let bearer = format!("Bearer {key}");
    request.header("authorization", bearer).body(()).unwrap()
}

fn code(answer: &Http2Answer) -> String {
    let body: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    body["error"]["code"].as_str().unwrap_or("ok").to_owned()
}

fn outcome(answer: &Http2Answer) -> (u16, String) {
    (answer.status.as_u16(), code(answer))
}

#[test]
fn an_unread_body_costs_neither_the_answer_nor_the_connection() {
    let fleet = start();
    let connection = Http2::connect(fleet.gateways[0].address());
    let sizes = [0, 10, 60_000, 3_000_000];
    for (size, finished) in sizes
        .into_iter()
        .flat_map(|size| [(size, true), (size, false)])
    {
        let case = format!("{size} bytes, finished: {finished}");
        let bytes = Bytes::from(vec![b'a'; size]);
        let body = || match finished {
            true => Body::Whole(bytes.clone()),
            false => Body::Unfinished(bytes.clone()),
        };
        // Decided at once, and after a call.
        let refused = connection.exchange(with_key(to("POST", "/v1/scrape"), FORGED), body());
        assert_eq!(outcome(&refused), (401, "invalid_api_key".into()), "{case}");
        let key = fleet.user().api_key;
        let rotated = connection.exchange(with_key(to("POST", REGENERATE), &key), body());
        assert_eq!(outcome(&rotated), (200, "ok".into()), "{case}");
        if !finished {
            // RFC 9113, 8.1: the answer is complete, stop sending.
            assert_eq!(refused.reset, Some(Reason::NO_ERROR), "{case}");
            assert_eq!(rotated.reset, Some(Reason::NO_ERROR), "{case}");
        }
    }
    let again = connection.exchange(to("GET", "/status").body(()).unwrap(), Body::None);
    assert_eq!(again.status, 200);
    fleet.assert_no_trap();
}

#[test]
fn many_streams_of_one_connection_each_get_their_own_answer() {
    let fleet = start();
    let user = fleet.user();
    let connection = Http2::connect(fleet.gateways[0].address());
    let kinds: [(&str, &str, &str, (u16, &str)); 5] = [
        ("GET", "/v1/scrape", &user.api_key, (200, "ok")),
        ("GET", "/v1/scrape", FORGED, (401, "invalid_api_key")),
        ("GET", "/status", FORGED, (200, "ok")),
        (
            "PUT",
            REGENERATE,
            &user.api_key,
            (405, "method_not_allowed"),
        ),
        ("POST", REGENERATE, FORGED, (401, "invalid_api_key")),
    ];
    for _ in 0..5 {
        let requests = kinds.iter().cycle().take(100);
        let requests =
            requests.map(|(method, path, key, _)| (with_key(to(method, path), key), Body::None));
        let answers = connection.exchange_all(requests.collect());
        assert_eq!(answers.len(), 100);
        for (answer, (method, path, _, (status, code))) in answers.iter().zip(kinds.iter().cycle())
        {
            assert_eq!(
                outcome(answer),
                (*status, (*code).to_owned()),
                "{method} {path}"
            );
        }
    }
    fleet.assert_no_trap();
}

#[test]
fn odd_headers_are_as_odd_on_http2() {
    let fleet = start();
    let connection = Http2::connect(fleet.gateways[0].address());
    let key = fleet.user().api_key;
    let bearer = HeaderValue::from_str(&format!("Bearer {key}")).unwrap();
    let bytes = |bytes: &[u8]| HeaderValue::from_bytes(bytes).unwrap();
    let long = bytes(&[b"Bearer ".as_slice(), &vec![b'a'; 60 * 1024]].concat());
    let missing = || (401, "missing_api_key".to_owned());
    let invalid = || (401, "invalid_api_key".to_owned());
    for (case, values, expected) in [
        ("two", vec![bearer.clone(), bearer.clone()], invalid()),
        ("bytes", vec![bytes(b"Bearer \xff\xfe")], invalid()),
        ("bytes for a scheme", vec![bytes(b"\xff\xfe")], missing()),
        ("empty", vec![bytes(b"")], missing()),
        ("60 KiB", vec![long], invalid()),
        ("one", vec![bearer], (200, "ok".to_owned())),
    ] {
        let mut request = to("GET", "/v1/scrape");
        for value in values {
            request = request.header("authorization", value);
        }
        let answer = connection.exchange(request.body(()).unwrap(), Body::None);
        assert_eq!(outcome(&answer), expected, "{case}");
    }
    fleet.assert_no_trap();
}

/// The gRPC mapping of a local reply is Envoy's: HTTP 200, the status in
/// `grpc-status`, our body in `grpc-message`.
#[test]
fn a_refused_grpc_call_gets_a_grpc_status() {
    let fleet = start();
    let connection = Http2::connect(fleet.gateways[0].address());
    let valid = fleet.user().api_key;
    let call = |path: &str| to("POST", path).header("content-type", "application/grpc");
    let body = || Body::Unfinished(Bytes::from_static(&[0; 5]));
    for (path, key, status, code) in [
        ("/api.Scraper/Scrape", FORGED, "16", "invalid_api_key"),
        (REGENERATE, FORGED, "16", "invalid_api_key"),
        // Not rotated: the new key would have to go into a header.
        (REGENERATE, valid.as_str(), "2", "method_not_allowed"),
    ] {
        let answer = connection.exchange(with_key(call(path), key), body());
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.header("grpc-status"), status, "{path}");
        assert!(answer.header("grpc-message").contains(code), "{answer:?}");
    }
    fleet.assert_no_trap();
}
