//! Silence is no fault: a slow report arrives, and quiet streams live. The endpoint
//! alone is bounded more tightly.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use hyper::Request;
use rekey_testbed::FleetOptions;
use rekey_testbed::http1::{Head, WholeHead};
use serde_json::json;

use super::{manager, route};
use crate::support::client::{OFFER_WEBSOCKET, SCRAPE, bearer, raw_request, raw_request_with};
use crate::support::faults::tcp_proxy::{Silence, TcpProxy};
use crate::support::fleet::{self, stat};
use crate::support::wire::http2::{Body, Http2};
use crate::support::wire::raw_http::RawConnection;

/// Longer than what used to end every request, 45 s.
const LONG: Duration = Duration::from_secs(48);

/// Opens a stream that says nothing for a minute behind its beginning. Returns
/// what came of it within [`LONG`].
fn stays_silent(mut stream: TcpStream, request: &str) -> Result<(), String> {
    stream.write_all(request.as_bytes()).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    loop {
        match stream.read(&mut piece) {
            Ok(0) => return Err("it was closed".to_owned()),
            Ok(read) => bytes.extend(&piece[..read]),
            // The silence that was waited for.
            Err(_) => break,
        }
    }
    let WholeHead { head, .. } = Head::of_answer(&bytes).unwrap().ok_or("no head")?;
    match head.status {
        101 | 200 => Ok(()),
        status => Err(format!("{status}")),
    }
}

#[test]
fn what_is_silent_for_longer_than_45_seconds_lives() {
    let fleet = fleet::start(FleetOptions::default());
    let address = fleet.gateways[0].address();
    let key = &fleet.user().api_key;
    let report = format!("/v1/report?bytes=5&after={}", LONG.as_millis());
    let connect = || TcpStream::connect(address).unwrap();
    let events = raw_request("GET", "/v1/events?every=60000", key);
    let websocket = raw_request_with("GET", "/v1/ws?every=60000", key, OFFER_WEBSOCKET);
    thread::scope(|scope| {
        let events = scope.spawn(|| stays_silent(connect(), &events));
        let websocket = scope.spawn(|| stays_silent(connect(), &websocket));
        let over_http2 = scope.spawn(|| {
            let uri = format!("http://gateway{report}");
            let mut request = Request::builder().uri(uri);
            for (name, value) in bearer(key) {
                request = request.header(name, value);
            }
            let body = Body::None;
            let patience = LONG + Duration::from_secs(20);
            Http2::connect(address)
                .patient(patience)
                .exchange(request.body(()).unwrap(), body)
        });
        let answer = fleet.client().patient(LONG * 2).get(&report, key);
        assert_eq!((answer.status, answer.body.as_str()), (200, "....."));
        let answer = over_http2.join().unwrap();
        assert_eq!((answer.status.as_u16(), &*answer.body), (200, "....."));
        assert_eq!(events.join().unwrap(), Ok(()), "events");
        assert_eq!(websocket.join().unwrap(), Ok(()), "a WebSocket");
    });
    fleet.assert_no_trap();
}

/// Requests that wait for the key store are under the bound of their own route.
#[test]
fn the_bound_of_the_endpoint_is_its_own() {
    let options = FleetOptions {
        edit: Some(Arc::new(|config| {
            route(config, "regenerate")["idle_timeout"] = json!("0.5s");
            Ok(())
        })),
        plugin: json!({ "store": { "resolve_timeout_ms": 2000 } }),
        ..FleetOptions::default()
    };
    let (fleet, proxy) = fleet::start_with(options, TcpProxy::before_store_of);
    let key = fleet.user().api_key;
    proxy.fall_silent(Silence::Both);
    let waiting = fleet.client().regenerate(&key);
    assert_eq!(waiting.outcome(), (504, "gateway_timeout".to_owned()));
    let other = fleet.client().get(SCRAPE, &key);
    assert_eq!(other.outcome(), (503, "key_store_unavailable".to_owned()));
    let ended = "http.edge.downstream_rq_idle_timeout";
    assert_eq!(stat(&fleet.gateways[0], ended), 1);
    proxy.fall_silent(Silence::None);
    fleet.assert_no_trap();
}

/// A connection without a request is not kept for ever.
#[test]
fn a_head_that_does_not_end_is_not_waited_for() {
    let options = FleetOptions {
        edit: Some(Arc::new(|config| {
            manager(config)["request_headers_timeout"] = json!("0.3s");
            Ok(())
        })),
        ..FleetOptions::default()
    };
    let fleet = fleet::start(options);
    let mut connection = RawConnection::open(fleet.gateways[0].address());
    let answer = connection.exchange("GET / HTTP/1.1\r\nhost: gateway\r\n");
    assert_eq!((answer.status, &*answer.code()), (408, "request_timeout"));
    assert!(connection.is_closed_by_peer());
}
