//! How many requests can be open, all of them and those of one key: a setting,
//! and what happens beyond it.

use rekey_testbed::FleetOptions;
use serde_json::json;

use super::{BEYOND_SHARE, BUSY, ENDED, all_are_cut, open};
use crate::support::client::SCRAPE;
use crate::support::fleet::{self, TestFleet, eventually, stat};
use crate::support::wire::streams::{Kind, Stream, Streams};

const POLLS: &str = "cluster.rekey_store_feed.upstream_rq_completed";

/// One worker, with room for so many streams.
fn start(max_streams: u32) -> TestFleet {
    fleet::start(FleetOptions {
        concurrency: 1,
        plugin: json!({ "max_streams": max_streams }),
        ..FleetOptions::default()
    })
}

/// What a key is told, on the only worker.
fn told(fleet: &TestFleet, key: &str) -> (u16, String) {
    let answer = fleet.client().get(SCRAPE, key);
    if answer.status != 200 {
        assert_eq!(answer.header("retry-after"), "1");
    }
    answer.outcome()
}

#[test]
fn beyond_its_share_a_key_is_refused_and_all_of_it_ends() {
    let fleet = start(32);
    let client = Streams::new(200);
    let (thief, other) = (fleet.user(), fleet.user());
    let kinds = [Kind::Events, Kind::WebSocket];
    let streams = open(&fleet, 0, &client, &kinds, (&thief.api_key, 1));
    let too_many = (429, "too_many_open_requests".to_owned());
    assert_eq!(told(&fleet, &thief.api_key), too_many);
    assert_eq!(stat(&fleet.gateways[0], BEYOND_SHARE), 1);
    assert_eq!(told(&fleet, &other.api_key).0, 200);
    let new = fleet.client().regenerate(&thief.api_key).new_key();
    all_are_cut(&streams);
    assert_eq!(stat(&fleet.gateways[0], ENDED), 2);
    assert_eq!(told(&fleet, &new).0, 200);
    fleet.assert_no_trap();
}

#[test]
fn a_full_registry_refuses_and_ends_all_of_a_dead_key() {
    let fleet = start(2);
    let client = Streams::new(200);
    let (dying, living, third) = (fleet.user(), fleet.user(), fleet.user());
    let first = open(&fleet, 0, &client, &[Kind::Events], (&dying.api_key, 1));
    let second = open(&fleet, 0, &client, &[Kind::WebSocket], (&living.api_key, 1));
    assert_eq!(
        told(&fleet, &third.api_key),
        (503, "gateway_busy".to_owned())
    );
    assert_eq!(stat(&fleet.gateways[0], BUSY), 1);
    fleet.client().regenerate(&dying.api_key).new_key();
    all_are_cut(&first);
    assert!(second.iter().all(Stream::is_open));
    assert_eq!(stat(&fleet.gateways[0], ENDED), 1);
    eventually("the place of what was ended", || {
        (told(&fleet, &third.api_key).0 == 200).then_some(())
    });
    fleet.assert_no_trap();
}

#[test]
fn with_no_room_at_all_none_ends() {
    let fleet = start(0);
    let client = Streams::new(200);
    let user = fleet.user();
    let kinds = [Kind::HTTP_1, Kind::HTTP_2].concat();
    let streams = open(&fleet, 0, &client, &kinds, (&user.api_key, 2));
    let new = fleet.client().regenerate(&user.api_key).new_key();
    // The gateway knows: it refuses the next request with that key.
    assert_eq!(fleet.client().get(SCRAPE, &user.api_key).status, 401);
    assert_eq!(fleet.client().get(SCRAPE, &new).status, 200);
    // By then each worker has had its ring, and ticks.
    let polls = || stat(&fleet.gateways[0], POLLS);
    let before = polls();
    eventually("some more polls of the feed", || {
        (polls() >= before + 3).then_some(())
    });
    assert!(streams.iter().all(Stream::is_open));
    for counter in [BEYOND_SHARE, BUSY, ENDED] {
        assert_eq!(stat(&fleet.gateways[0], counter), 0, "{counter}");
    }
    fleet.assert_no_trap();
}
