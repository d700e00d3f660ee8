//! Many requests that are answered or let go on at one moment. Envoy ends each
//! inside the end of the one before it, so too many at once would use up the stack
//! of the VM, and cut every open request of the worker.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hyper::Request;
use hyper::body::Bytes;
use rekey_testbed::{FleetOptions, Received};
use serde_json::json;
use tokio::time::timeout;

use super::super::support::client::{SCRAPE, raw_request};
use super::super::support::faults::tcp_proxy::{Silence, TcpProxy};
use super::super::support::fleet::{self, TestFleet};
use super::super::support::wire::raw_http::RawConnection;
use super::super::support::wire::streams::{Kind, Stream, Streams};

/// Streams of one connection, below what the gateway allows.
const PER_CONNECTION: usize = 90;
/// Three times what a stack bears, and what the API may be asked at once.
const CROWD: usize = 900;
const PATIENCE: Duration = Duration::from_secs(40);

/// Requests over HTTP/2, all at one worker's hands at the same time; a method and
/// a key for all. Returns their statuses, without those that were cut. Who is
/// served is this user.
fn crowd(fleet: &TestFleet, method: &'static str, key: &str, user: &str) -> Vec<u16> {
    let address = fleet.gateways[0].address();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let key = format!("Bearer {key}");
    runtime.block_on(async {
        let mut answers: Vec<(_, h2::SendStream<Bytes>)> = Vec::new();
        for _ in 0..CROWD / PER_CONNECTION {
            let stream = tokio::net::TcpStream::connect(address).await.unwrap();
            let (sender, connection) = h2::client::handshake(stream).await.unwrap();
            tokio::spawn(connection);
            for _ in 0..PER_CONNECTION {
                let request = Request::builder()
                    .method(method)
                    .uri(format!("http://gateway{SCRAPE}"))
                    .header("authorization", &key);
                let mut sender = sender.clone().ready().await.unwrap();
                let ends = method == "GET";
                let request = request.body(()).unwrap();
                // What is sent is kept open: a body that does not come.
                answers.push(sender.send_request(request, ends).unwrap());
            }
        }
        let mut statuses = Vec::new();
        for (answer, sending) in answers {
            let answer = timeout(PATIENCE, answer).await.expect("an answer in time");
            let Ok(answer) = answer else { continue };
            let status = answer.status().as_u16();
            statuses.push(status);
            if status == 200 {
                let body = timeout(PATIENCE, answer.into_body().data()).await;
                let body = body.expect("a body in time").unwrap().unwrap();
                let received: Received = serde_json::from_slice(&body).unwrap();
                assert_eq!(received.user, user);
            }
            drop(sending);
        }
        statuses
    })
}

fn one_worker() -> FleetOptions {
    FleetOptions {
        concurrency: 1,
        plugin: json!({ "lease_ms": 1000, "store": { "resolve_timeout_ms": 2000 } }),
        ..FleetOptions::default()
    }
}

#[test]
fn many_refusals_that_waited_for_their_bodies_harm_nobody() {
    let fleet = fleet::start(one_worker());
    let client = Streams::new(200);
    let (address, other) = (fleet.gateways[0].address(), fleet.user().api_key);
    let open = client.open(address, Kind::Events, &other, 5);
    assert_eq!(
        crowd(&fleet, "POST", "sb_live_x", "nobody"),
        vec![401; CROWD]
    );
    assert!(open.iter().all(Stream::is_open));
    fleet.assert_no_trap();
}

#[test]
fn many_that_waited_for_the_store_harm_nobody() {
    let (fleet, proxy) = fleet::start_with(one_worker(), TcpProxy::before_store_of);
    let client = Streams::new(200);
    let (address, other) = (fleet.gateways[0].address(), fleet.user().api_key);
    let open = client.open(address, Kind::Events, &other, 5);
    let key = fleet.user().api_key;

    // The store does not answer in time.
    proxy.fall_silent(Silence::Both);
    assert_eq!(crowd(&fleet, "GET", &key, "nobody"), vec![503; CROWD]);
    // It does.
    proxy.fall_silent(Silence::None);
    fleet.until_it_trusts(&key);
    let (cold, busy) = (fleet.user(), fleet.user());
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        // Others come in between, and are served as who they are.
        for _ in 0..8 {
            scope.spawn(|| {
                let mut connection = RawConnection::open(address);
                let begun = Instant::now();
                while !is_over.load(Ordering::Relaxed) && begun.elapsed() < PATIENCE {
                    let answer = connection.exchange(raw_request("GET", SCRAPE, &busy.api_key));
                    let received: Received =
                        serde_json::from_str(&answer.body).expect(&answer.body);
                    assert_eq!(received.user, busy.user_id);
                }
            });
        }
        let found = crowd(&fleet, "GET", &cold.api_key, &cold.user_id);
        is_over.store(true, Ordering::Relaxed);
        assert_eq!(found, vec![200; CROWD]);
    });
    assert!(open.iter().all(Stream::is_open));
    fleet.assert_no_trap();
}
