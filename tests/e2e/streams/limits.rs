//! How many streams can be ended: a setting, and what happens beyond it.

use serde_json::json;
use xtask::testbed::FleetOptions;

use super::{ENDED, UNREGISTERED, all_are_cut, open};
use crate::support::client::SCRAPE;
use crate::support::fleet::{self, TestFleet, eventually, stat};
use crate::support::streams::{Kind, Stream, Streams};

const POLLS: &str = "cluster.rekey_store_feed.upstream_rq_completed";

/// One worker, with room for so many streams.
fn start(max_streams: u32) -> Option<TestFleet> {
    fleet::start(FleetOptions {
        concurrency: 1,
        plugin: json!({ "max_streams": max_streams }),
        ..FleetOptions::default()
    })
}

#[test]
fn beyond_the_limit_streams_are_served_and_counted() {
    let Some(fleet) = start(1) else { return };
    let client = Streams::new(200);
    let user = fleet.user();
    let key = (&*user.api_key, 1);
    let first = open(&fleet, 0, &client, &[Kind::Events], key);
    assert_eq!(stat(&fleet.gateways[0], UNREGISTERED), 0);
    let second = open(&fleet, 0, &client, &[Kind::WebSocket], key);
    assert_eq!(stat(&fleet.gateways[0], UNREGISTERED), 1);
    fleet.client().regenerate(&user.api_key).new_key();
    all_are_cut(&first);
    assert!(second.iter().all(Stream::is_open));
    assert_eq!(stat(&fleet.gateways[0], ENDED), 1);
    fleet.assert_no_trap();
}

#[test]
fn with_no_room_at_all_none_ends() {
    let Some(fleet) = start(0) else { return };
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
    assert_eq!(stat(&fleet.gateways[0], UNREGISTERED), 0);
    assert_eq!(stat(&fleet.gateways[0], ENDED), 0);
    fleet.assert_no_trap();
}
