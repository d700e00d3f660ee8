//! Revocations that a gateway has not heard of: it was cut off, and the history
//! that it followed is over when it comes back. It asks about the keys of its
//! streams then.

use rekey_protocol::RESOLVE_PATH;
use rekey_testbed::FleetOptions;
use serde_json::json;

use super::{ENDED, all_are_cut, open};
use crate::support::client::{Client, SCRAPE};
use crate::support::faults::tcp_proxy::TcpProxy;
use crate::support::fleet::{self, TestFleet, eventually, stat};
use crate::support::wire::streams::{Kind, Stream, Streams};

const KINDS: [Kind; 3] = [Kind::Events, Kind::WebSocket, Kind::Grpc];
/// The gateway that is cut off, beside one that is not.
const FAR: usize = 1;
/// Keys that were asked about.
const CHECKED: &str = "wasmcustom.rekey.streams.event.checked";
const RESET: &str = "wasmcustom.rekey.feed.event.reset";

/// A gateway at the store, and one behind a proxy.
fn start() -> (TestFleet, TcpProxy) {
    let options = FleetOptions {
        plugin: json!({ "lease_ms": 500, "store": { "resolve_timeout_ms": 5_000 } }),
        ..FleetOptions::default()
    };
    let mut fleet = fleet::start(options.clone());
    let proxy = TcpProxy::start(fleet.store.address());
    let mut far = fleet.gateway_options(&options);
    far.store = proxy.address();
    fleet.add_gateway(far).unwrap();
    (fleet, proxy)
}

#[test]
fn a_rotation_during_a_cut_and_a_restart_of_the_store_is_found_out() {
    let (mut fleet, proxy) = start();
    let client = Streams::new(200);
    let (user, other) = (fleet.user(), fleet.user());
    let old = open(&fleet, FAR, &client, &KINDS, (&user.api_key, 3));
    let others = open(&fleet, FAR, &client, &KINDS, (&other.api_key, 3));
    let resets = stat(&fleet.gateways[FAR], RESET);

    proxy.refuse();
    // Answered when the far one's lease is over.
    fleet.client().regenerate(&user.api_key).new_key();
    assert!(old.iter().all(Stream::is_open), "it cannot know");
    fleet.store.restart().unwrap();
    proxy.accept();

    all_are_cut(&old);
    let far = &fleet.gateways[FAR];
    assert!(stat(far, RESET) > resets, "not what this test is about");
    assert!(stat(far, CHECKED) > 0);
    // Of the others it is certain by now, too.
    eventually("the other key to be asked about", || {
        (stat(far, CHECKED) >= 2).then_some(())
    });
    assert!(others.iter().all(Stream::is_open));
    assert_eq!(stat(far, ENDED), old.len() as u64);
    fleet.assert_no_trap();
}

#[test]
fn a_rotation_during_a_cut_alone_is_heard_of_afterwards() {
    let (fleet, proxy) = start();
    let client = Streams::new(200);
    let user = fleet.user();
    let old = open(&fleet, FAR, &client, &KINDS, (&user.api_key, 3));
    proxy.refuse();
    fleet.client().regenerate(&user.api_key).new_key();
    assert!(old.iter().all(Stream::is_open), "it cannot know");
    proxy.accept();
    all_are_cut(&old);
    fleet.assert_no_trap();
}

/// A request that waits for the store's word is no stream yet: it is answered.
#[test]
fn a_request_that_is_still_paused_is_refused() {
    let (fleet, proxy) = start();
    let user = fleet.user();
    let client = Streams::new(200);
    let other = fleet.user();
    // The store counts on it from its first acknowledgement on.
    fleet.until_one_trusts(FAR, &other.api_key);
    let others = open(&fleet, FAR, &client, &KINDS, (&other.api_key, 1));
    let far = Client::new(&fleet.gateways[FAR].url());
    proxy.hold_answers(RESOLVE_PATH);
    let key = &user.api_key;
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| far.get(SCRAPE, key));
        eventually("the store's answer to be held", || {
            (proxy.held() > 0).then_some(())
        });
        fleet.client().regenerate(key).new_key();
        proxy.release();
        let answer = waiting.join().unwrap();
        assert_eq!(answer.outcome(), (401, "api_key_revoked".to_owned()));
    });
    assert!(others.iter().all(Stream::is_open));
    assert_eq!(stat(&fleet.gateways[FAR], ENDED), 0);
    fleet.assert_no_trap();
}
