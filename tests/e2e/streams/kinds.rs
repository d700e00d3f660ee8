//! Each kind of stream, and what its client sees when its key dies.

use rekey_testbed::FleetOptions;

use super::{all_are_cut, ended, open};
use crate::support::fleet;
use crate::support::wire::streams::{Kind, Stream, Streams};

/// Streams with each key.
const COUNT: usize = 3;

/// Rotates a key with open streams of each of these kinds, one after the other.
fn end_with_their_key(kinds: &[Kind]) {
    let fleet = fleet::start(FleetOptions::default());
    let client = Streams::new(200);
    let other = fleet.user();
    let others = open(&fleet, 0, &client, kinds, (&other.api_key, COUNT));
    let mut heirs = Vec::new();
    for kind in kinds {
        let user = fleet.user();
        let old = open(&fleet, 0, &client, &[*kind], (&user.api_key, COUNT));
        let before = ended(&fleet);
        let new = fleet.client().regenerate(&user.api_key).new_key();
        let begun = open(&fleet, 0, &client, &[*kind], (&new, COUNT));
        all_are_cut(&old);
        assert_eq!(ended(&fleet) - before, COUNT as u64, "{kind:?}");
        heirs.extend(begun);
    }
    let alive = others.iter().chain(&heirs);
    let dead: Vec<_> = alive.filter(|stream| !stream.is_open()).collect();
    assert!(dead.is_empty(), "{:?}", ends(&dead));
    fleet.assert_no_trap();
}

fn ends(streams: &[&Stream]) -> Vec<(Kind, Option<crate::support::wire::streams::End>)> {
    let end = |stream: &&Stream| (stream.kind, stream.end().map(|(_, end)| end));
    streams.iter().map(end).collect()
}

#[test]
fn over_http_1_the_connection_is_closed_in_the_middle() {
    end_with_their_key(&Kind::HTTP_1);
}

#[test]
fn over_http_2_the_stream_is_reset_and_the_connection_lives() {
    end_with_their_key(&Kind::HTTP_2);
}

/// More streams of one key on a connection than are ended at once.
#[test]
fn many_streams_of_one_worker_end() {
    let one_worker = FleetOptions {
        concurrency: 1,
        ..FleetOptions::default()
    };
    let fleet = fleet::start(one_worker);
    let client = Streams::new(1_000);
    let (user, other) = (fleet.user(), fleet.user());
    let kinds = [Kind::Events, Kind::Events2];
    let old = open(&fleet, 0, &client, &kinds, (&user.api_key, 300));
    let others = open(&fleet, 0, &client, &kinds, (&other.api_key, 5));
    fleet.client().regenerate(&user.api_key).new_key();
    all_are_cut(&old);
    assert!(others.iter().all(Stream::is_open));
    assert_eq!(ended(&fleet), 600);
    fleet.assert_no_trap();
}
