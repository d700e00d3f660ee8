//! Versions of HTTP, and offers of other protocols.

use hyper::Request;
use hyper::body::Bytes;
use rekey_testbed::{FleetOptions, HttpVersions, Received};

use crate::support::client::{REGENERATE, SCRAPE, bearer};
use crate::support::fleet::{self, TestFleet};
use crate::support::wire::http2::{Body, Http2};
use crate::support::wire::raw_http::{RawAnswer, RawConnection};

/// Most APIs: they speak HTTP/1.1, and nothing else.
fn before_http1() -> TestFleet {
    fleet::start(FleetOptions {
        upstream: HttpVersions::Http1,
        ..FleetOptions::default()
    })
}

fn received(body: &str) -> Received {
    serde_json::from_str(body).expect(body)
}

/// A request with these header lines and this body.
fn request(line: &str, headers: &str, body: &str) -> String {
    format!("{line}\r\n{headers}\r\n{body}")
}

fn exchange(fleet: &TestFleet, request: &str) -> RawAnswer {
    RawConnection::open(fleet.gateways[0].address()).exchange(request)
}

#[test]
fn a_client_of_http_2_is_served_by_an_api_of_http_1() {
    let fleet = before_http1();
    let user = fleet.user();
    let connection = Http2::connect(fleet.gateways[0].address());
    let large = Bytes::from(vec![b'x'; 300_000]);
    for (method, body, length) in [
        ("GET", Body::None, 0),
        ("POST", Body::Whole(Bytes::from_static(b"{}")), 2),
        ("PUT", Body::Whole(large), 300_000),
        ("DELETE", Body::None, 0),
    ] {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://gateway{SCRAPE}"));
        for (name, value) in bearer(&user.api_key) {
            request = request.header(name, value);
        }
        let answer = connection.exchange(request.body(()).unwrap(), body);
        assert_eq!(answer.status, 200, "{method}: {}", answer.body);
        let received = received(&answer.body);
        assert_eq!(received.user, user.user_id);
        assert_eq!(
            (received.method.as_str(), received.body_bytes),
            (method, length)
        );
    }
    fleet.assert_no_trap();
}

/// RFC 9110, 7.8: who does not know the protocol ignores the offer.
#[test]
fn offers_of_unknown_protocols_are_ignored() {
    let fleet = before_http1();
    let user = fleet.user();
    let key = format!("authorization: Bearer {}\r\n", user.api_key);
    for offer in [
        "Connection: Upgrade\r\nUpgrade: TLS/1.2",
        "Connection: upgrade, keep-alive\r\nUpgrade: TLS/1.0, HTTP/1.1",
        "Connection: Upgrade\r\nUpgrade: IRC/6.9",
        "Connection: Upgrade\r\nUpgrade: websocket2",
        "Connection: Upgrade\r\nUpgrade: web",
        "Connection: Upgrade\r\nUpgrade: HTTP/3.0",
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
    ] {
        let mut connection = RawConnection::open(fleet.gateways[0].address());
        let headers = format!("host: gateway\r\n{key}{offer}\r\n");
        let post = format!("{headers}content-length: 2\r\n");
        for message in [
            request(&format!("GET {SCRAPE} HTTP/1.1"), &headers, ""),
            request(&format!("POST {SCRAPE} HTTP/1.1"), &post, "{}"),
        ] {
            let answer = connection.exchange(message);
            assert_eq!(answer.status, 200, "{offer}: {}", answer.body);
            assert_eq!(received(&answer.body).user, user.user_id, "{offer}");
        }
        // Also where the gateway answers itself.
        let refused = request(&format!("GET {REGENERATE} HTTP/1.1"), &headers, "");
        assert_eq!(connection.exchange(refused).status, 405, "{offer}");
    }
    fleet.assert_no_trap();
}

#[test]
fn http_1_0_is_served() {
    let fleet = before_http1();
    let user = fleet.user();
    let key = format!("authorization: Bearer {}\r\n", user.api_key);
    let get = format!("GET {SCRAPE} HTTP/1.0");
    for headers in [
        format!("{key}host: gateway\r\n"),
        // HTTP/1.0 has no Host.
        key.clone(),
        format!("{key}user-agent: ApacheBench/2.3\r\naccept: */*\r\n"),
    ] {
        let mut connection = RawConnection::open(fleet.gateways[0].address());
        let answer = connection.exchange(request(&get, &headers, ""));
        assert_eq!(answer.status, 200, "{headers}: {}", answer.body);
        assert_eq!(received(&answer.body).user, user.user_id);
        assert!(connection.is_closed_by_peer(), "{headers}");
    }
    let kept = format!("{key}connection: keep-alive\r\n");
    let mut connection = RawConnection::open(fleet.gateways[0].address());
    for _ in 0..2 {
        assert_eq!(connection.exchange(request(&get, &kept, "")).status, 200);
    }
    let posted = format!("{key}content-length: 3\r\n");
    let answer = exchange(&fleet, &request("POST /v1/x HTTP/1.0", &posted, "abc"));
    assert_eq!(received(&answer.body).body_bytes, 3);
    assert_eq!(
        exchange(&fleet, &request(&get, "", "")).code(),
        "missing_api_key"
    );
    // The main job, too.
    let line = format!("POST {REGENERATE} HTTP/1.0");
    let answer = exchange(&fleet, &request(&line, &key, ""));
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(
        exchange(&fleet, &request(&get, &key, "")).code(),
        "api_key_revoked"
    );
    fleet.assert_no_trap();
}
