//! "At once" and "everywhere": on each worker of a gateway, and on each
//! gateway, the old key is refused as soon as the answer has come.

use rekey_testbed::FleetOptions;

use super::options;
use crate::support::client::{REGENERATE, SCRAPE, raw_request};
use crate::support::fleet::{self, TestFleet, connections_by_worker, eventually};
use crate::support::store_view;
use crate::support::wire::raw_http::RawConnection;

/// Connections are opened so many at a time, until each worker has some: the
/// kernel deals them out, evenly on the whole.
const AT_A_TIME: usize = 16;

fn two_gateways() -> TestFleet {
    fleet::start(FleetOptions {
        gateways: 2,
        ..options()
    })
}

#[test]
fn every_worker_refuses_the_old_key_at_once() {
    let four_workers = FleetOptions {
        concurrency: 4,
        ..options()
    };
    let fleet = fleet::start(four_workers);
    let old = fleet.user().api_key;
    let gateway = &fleet.gateways[0];

    // All of them stay open, so that each worker has one of its own.
    let before = connections_by_worker(gateway);
    let mut connections = Vec::new();
    eventually("connections to all four workers", || {
        let more = (0..AT_A_TIME).map(|_| RawConnection::open(gateway.address()));
        connections.extend(more);
        let now = connections_by_worker(gateway);
        let mut pairs = before.iter().zip(&now);
        pairs.all(|(before, now)| *now >= before + 2).then_some(())
    });
    for connection in &mut connections {
        let answer = connection.exchange(raw_request("GET", SCRAPE, &old));
        assert_eq!(answer.status, 200, "{}", answer.body);
    }

    let new = fleet.client().regenerate(&old).new_key();
    // First the refusals, one behind the other: nothing is left that could
    // take its time.
    for connection in &mut connections {
        let answer = connection.exchange(raw_request("GET", SCRAPE, &old));
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (401, "api_key_revoked")
        );
    }
    for connection in &mut connections {
        let answer = connection.exchange(raw_request("GET", SCRAPE, &new));
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    for connection in &mut connections {
        let answer = connection.exchange(raw_request("POST", REGENERATE, &new));
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (429, "rate_limited")
        );
    }
    fleet.assert_no_trap();
}

#[test]
fn every_gateway_refuses_the_old_key_at_once() {
    let fleet = two_gateways();
    let user = fleet.user();
    let (here, there) = (fleet.client_of(0), fleet.client_of(1));
    for client in [&here, &there] {
        assert_eq!(client.get(SCRAPE, &user.api_key).status, 200);
    }
    let new = here.regenerate(&user.api_key).new_key();
    let revoked = (401, "api_key_revoked".to_owned());
    assert_eq!(there.get(SCRAPE, &user.api_key).outcome(), revoked);
    assert_eq!(there.regenerate(&user.api_key).outcome(), revoked);
    assert_eq!(here.get(SCRAPE, &user.api_key).outcome(), revoked);
    for client in [&here, &there] {
        assert_eq!(client.get(SCRAPE, &new).status, 200);
        // The hour is the user's, not the gateway's (I5).
        let limited = (429, "rate_limited".to_owned());
        assert_eq!(client.regenerate(&new).outcome(), limited);
    }
    let keys = store_view::keys(&fleet.store, &user.user_id);
    assert_eq!(keys.active, [store_view::digest(&new)]);
    assert_eq!(keys.rotations, 1);
}

#[test]
fn a_key_revoked_by_the_operator_is_refused_everywhere() {
    let fleet = two_gateways();
    let user = fleet.user();
    for gateway in 0..2 {
        assert_eq!(
            fleet.client_of(gateway).get(SCRAPE, &user.api_key).status,
            200
        );
    }
    let mut revoke = fleet.store.cli();
    revoke.args(["keys", "revoke", "--user", &user.user_id]);
    assert!(revoke.output().unwrap().status.success());
    for gateway in 0..2 {
        let client = fleet.client_of(gateway);
        let revoked = (401, "api_key_revoked".to_owned());
        assert_eq!(client.get(SCRAPE, &user.api_key).outcome(), revoked);
        assert_eq!(client.regenerate(&user.api_key).outcome(), revoked);
    }
    let keys = store_view::keys(&fleet.store, &user.user_id);
    assert!(keys.active.is_empty(), "{keys:?}");
    assert_eq!(store_view::hint(&fleet.store, &user.user_id), None);
}
