//! Connections to the store that are refused, cut or dead, and how soon service
//! is back.

use std::time::{Duration, Instant};

use rekey_protocol::ROTATE_PATH;
use rekey_testbed::FleetOptions;

use super::super::support::client::SCRAPE;
use super::super::support::faults::tcp_proxy::{Cut, TcpProxy};
use super::super::support::fleet::{self, TestFleet, eventually};
use super::super::support::stand_ins::scripted_store::{Act, Asked, Then, active, marked, rotated};
use super::super::support::store_view;
use super::{USER, assert_unavailable, start};

/// Less than Envoy's own pauses take: 5 s for DNS, 30 s for an ejected host.
const BACK_WITHIN: Duration = Duration::from_secs(3);

/// A gateway that reaches the real store through a proxy.
fn start_with_proxy() -> (TestFleet, TcpProxy) {
    fleet::start_with(FleetOptions::default(), TcpProxy::before_store_of)
}

/// Nothing of an outage is held against the store afterwards: no ejected host,
/// no cached failure, no pause before the next try.
#[test]
fn service_is_back_as_soon_as_the_store_is() {
    let (fleet, proxy) = start_with_proxy();
    let client = fleet.client();
    let pid = fleet.gateways[0].process.pid();
    let user = fleet.user();
    let key = &user.api_key;
    for outage in 0..3 {
        let case = format!("outage {outage}");
        assert_eq!(client.get(SCRAPE, key).status, 200, "{case}");
        proxy.refuse();
        fleet.until_the_lease_is_over(key);
        for _ in 0..50 {
            assert_unavailable(&case, &client.get(SCRAPE, key));
            // X1: where no call can have left, nothing has happened.
            assert_unavailable(&case, &client.regenerate(key));
        }
        proxy.accept();
        // The very next request, on whichever worker.
        for _ in 0..8 {
            let began = Instant::now();
            let served = client.get(SCRAPE, key);
            assert_eq!(served.status, 200, "{case}: {}", served.body);
            assert!(began.elapsed() < BACK_WITHIN, "{case}");
        }
    }
    assert_eq!(client.regenerate(key).status, 200);
    assert_eq!(fleet.gateways[0].process.pid(), pid);
    assert_eq!(store_view::keys(&fleet.store, &user.user_id).rotations, 1);
    // The operator is told of each change, not of each request.
    let log = fleet.gateways[0].process.log();
    let told = log.matches("call to the key store").count();
    assert!((1..40).contains(&told), "{told} lines for 300 failures");
    fleet.assert_no_trap();
}

/// The store has committed, and its answer is lost: the rotation is asked for
/// again under its id, and ends with the key that the store holds.
#[test]
fn a_rotation_whose_answer_was_cut_ends_with_the_right_key() {
    let (fleet, proxy) = start_with_proxy();
    let client = fleet.client();
    for (cut, times) in [
        (Cut::Before, 1),
        (Cut::AfterHead, 1),
        (Cut::InBody, 1),
        (Cut::InBody, 3),
    ] {
        let case = format!("{cut:?} {times} times");
        let user = fleet.user();
        let cuts_before = proxy.cuts_made();
        proxy.cut_answers(ROTATE_PATH, cut, times);
        let new_key = client.regenerate(&user.api_key).new_key();
        assert_eq!(proxy.cuts_made() - cuts_before, times, "{case}");
        assert_eq!(client.get(SCRAPE, &new_key).status, 200, "{case}");
        let revoked = (401, "api_key_revoked".to_owned());
        let old = client.get(SCRAPE, &user.api_key);
        assert_eq!(old.outcome(), revoked, "{case}");
        let keys = store_view::keys(&fleet.store, &user.user_id);
        assert_eq!(keys.active, [store_view::digest(&new_key)], "{case}");
        assert_eq!(keys.rotations, 1, "{case}");
    }
    let retried = "wasmcustom.rekey.rotations.event.retried";
    assert_eq!(fleet.gateways[0].stat(retried).unwrap(), 6);
    fleet.assert_no_trap();
}

/// A server closes a connection that was kept alive just as Envoy uses it: a
/// resolve is then sent once more, by Envoy itself, and the client sees nothing.
#[test]
fn a_dead_connection_costs_no_request() {
    let kept_alive_dies = |asked: &Asked| match asked.nth {
        0 => Act::Send(marked(200, &active(USER)), Then::Live),
        _ => Act::Keep(Then::Close),
    };
    let (fleet, store) = start(FleetOptions::default(), kept_alive_dies);
    let client = fleet.client();
    let key = fleet.user().api_key;
    for _ in 0..30 {
        let served = client.get(SCRAPE, &key);
        assert_eq!(served.status, 200, "{}", served.body);
    }
    let died = store
        .take_asked()
        .iter()
        .filter(|asked| asked.nth > 0)
        .count();
    assert!(died >= 10, "only {died} calls met a dead connection");
    let retries = fleet.gateways[0].stat("cluster.rekey_store.upstream_rq_retry");
    assert_eq!(retries.unwrap(), died as u64);
    fleet.assert_no_trap();
}

/// A rotation is not sent again by Envoy, for each attempt has a number of its
/// own (S11); the filter sends the next one.
#[test]
fn a_rotation_on_a_dead_connection_is_the_filters_to_repeat() {
    let script = |asked: &Asked| match (asked.is_rotate(), asked.nth) {
        (true, 0) => Act::Send(marked(200, &rotated(asked, USER)), Then::Live),
        (true, _) => Act::Keep(Then::Close),
        (false, _) => Act::Send(marked(200, &active(USER)), Then::Live),
    };
    let (fleet, store) = start(FleetOptions::default(), script);
    for _ in 0..5 {
        let key = fleet.user().api_key;
        store.take_asked();
        assert_eq!(fleet.client().regenerate(&key).status, 200);
        let asked = store.take_asked();
        let rotations: Vec<_> = asked.iter().filter(|asked| asked.is_rotate()).collect();
        let attempts: Vec<_> = rotations.iter().map(|asked| asked.attempt()).collect();
        let counted: Vec<_> = (1..=attempts.len() as u64).collect();
        assert_eq!(attempts, counted);
        // The connection of the resolve is reused for the rotation, and dies.
        assert!(attempts.len() >= 2, "{attempts:?}");
        let id = &rotations[0].body["rotation_id"];
        assert!(
            rotations
                .iter()
                .all(|asked| asked.body["rotation_id"] == *id)
        );
    }
    fleet.assert_no_trap();
}

#[test]
fn a_token_that_the_store_refuses_is_the_operators_to_mend() {
    let options = FleetOptions::default();
    let mut fleet = fleet::start(options.clone());
    let user = fleet.user();
    let wrong = "0123456789-not-the-stores-token";
    let mut gateway = fleet.gateway_options(&options);
    gateway.secrets.store_token = wrong.to_owned();
    fleet.add_gateway(gateway).expect("a gateway");
    let client = fleet.client_of(1);
    assert_unavailable("get", &client.get(SCRAPE, &user.api_key));
    assert_unavailable("regenerate", &client.regenerate(&user.api_key));
    let line = eventually("the reason in the log", || {
        let log = fleet.gateways[1].process.log();
        let mut lines = log.lines();
        lines
            .find(|line| line.contains("REKEY_STORE_TOKEN"))
            .map(str::to_owned)
    });
    assert!(line.contains("[error]"), "{line}");
    assert!(!fleet.gateways[1].process.log().contains(wrong));
    // The key itself is as good as ever.
    assert_eq!(fleet.client_of(0).get(SCRAPE, &user.api_key).status, 200);
    fleet.assert_no_trap();
}
