//! With a warm cache the store is not asked at all: its counters stand still
//! while thousands of requests are served by all workers of all gateways.

use rekey_protocol::{RESOLVE_PATH, ROTATE_PATH};

use super::run::{Run, accepted, gateways};
use crate::support::store_view::answered;

/// Keys in the cache.
const KEYS: usize = 20;
/// Requests on each connection, of which each worker has one at least.
const ROUNDS: usize = 60;

#[test]
fn a_warm_cache_asks_the_store_nothing() {
    let run = Run::start(gateways(3, 3000), KEYS);
    let mut probe = run.probe();
    // One rotated key among them: its successor and its 429 are cached too.
    let rotated = run.rotate_and_check(0, &run.keys[0], &mut probe);
    let mut live = vec![rotated.new.clone()];
    live.extend(run.keys[1..].iter().cloned());
    for key in &live {
        accepted(&mut probe, key);
    }
    let asked = || {
        let store = &run.fleet.store;
        (answered(store, RESOLVE_PATH), answered(store, ROTATE_PATH))
    };
    let before = asked();
    let mut served = 0;
    for _ in 0..ROUNDS {
        for key in &live {
            let statuses = probe.statuses(&key.text).unwrap();
            assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
            served += statuses.len();
        }
        // A dead key and a repeated rotation cost nothing either.
        let statuses = probe.statuses(&rotated.old.text).unwrap();
        assert!(statuses.iter().all(|status| *status == 401), "{statuses:?}");
    }
    let mut connection = run.connect(1);
    for _ in 0..ROUNDS {
        let again = rekey_load::regenerate(&rotated.new.text);
        assert_eq!(connection.exchange(&again).unwrap().status, 429);
    }
    println!("{served} requests were served");
    assert!(served >= 2 * 3 * KEYS * ROUNDS);
    assert_eq!(asked(), before, "resolve and rotate");
    run.fleet.assert_no_trap();
}
