//! Many streams of each kind, on all workers of three gateways: how long after
//! the 200 those of the old key end. What is asserted is generous, for tests share
//! their machine; what was measured is printed.

use std::time::{Duration, Instant};

use rekey_testbed::FleetOptions;

use super::{ENDED, PAUSE, all_are_cut, open};
use crate::support::fleet::{self, connections_by_worker, stat};
use crate::support::wire::streams::{Kind, Stream, Streams};

const GATEWAYS: usize = 3;
/// Streams of each kind with the key that is replaced, over all gateways.
const OLD: usize = 100;
/// Streams of each kind and gateway with another user's key, and with the new one.
const OTHERS: usize = 5;
/// By then a stream has ended.
const LATEST: Duration = Duration::from_secs(2);

#[test]
fn all_streams_of_the_old_key_end_and_no_others() {
    let options = FleetOptions {
        gateways: GATEWAYS,
        concurrency: 2,
        ..FleetOptions::default()
    };
    let fleet = fleet::start(options);
    let client = Streams::new(PAUSE);
    let (user, other) = (fleet.user(), fleet.user());
    let kinds = [Kind::HTTP_1, Kind::HTTP_2].concat();
    let open_everywhere = |key: &str, count: &dyn Fn(usize) -> usize| -> Vec<Stream> {
        let at = |gateway| open(&fleet, gateway, &client, &kinds, (key, count(gateway)));
        (0..GATEWAYS).flat_map(at).collect()
    };
    // 34, 33 and 33 of a hundred.
    let share = |gateway| (OLD + GATEWAYS - 1 - gateway) / GATEWAYS;
    let old = open_everywhere(&user.api_key, &share);
    assert_eq!(old.len(), OLD * kinds.len());
    let others = open_everywhere(&other.api_key, &|_| OTHERS);
    for gateway in &fleet.gateways {
        let connections = connections_by_worker(gateway);
        assert!(
            connections.iter().all(|count| *count > 5),
            "{connections:?}"
        );
    }

    let new = fleet.client().regenerate(&user.api_key).new_key();
    let answered = Instant::now();
    let begun = open_everywhere(&new, &|_| OTHERS);
    all_are_cut(&old);
    print_times(&kinds, &old, answered);
    let slowest = old.iter().map(|stream| after(stream, answered)).max();
    assert!(slowest <= Some(LATEST), "{slowest:?}");

    let alive = others.iter().chain(&begun);
    assert!(alive.clone().all(Stream::is_open), "a stream of a good key");
    for (gateway, place) in fleet.gateways.iter().zip(0..) {
        let expected = share(place) * kinds.len();
        assert_eq!(stat(gateway, ENDED), expected as u64);
    }
    fleet.assert_no_trap();
}

/// How long after the answer it ended; nothing if before.
fn after(stream: &Stream, answered: Instant) -> Duration {
    let (at, _) = stream.end().unwrap();
    at.saturating_duration_since(answered)
}

fn print_times(kinds: &[Kind], streams: &[Stream], answered: Instant) {
    for kind in kinds {
        let of_kind = streams.iter().filter(|stream| stream.kind == *kind);
        let mut times: Vec<_> = of_kind.map(|stream| after(stream, answered)).collect();
        times.sort();
        let at = |part: usize| times[(times.len() * part / 100).min(times.len() - 1)];
        println!(
            "{kind:?}: {} streams ended after the 200: p50 {:.1?}, p99 {:.1?}, max {:.1?}",
            times.len(),
            at(50),
            at(99),
            at(100)
        );
    }
}
