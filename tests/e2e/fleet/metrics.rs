//! What an operator sees of the protocol: Envoy's `/stats/prometheus` and the
//! store's `/metrics`.

use std::collections::BTreeMap;

use super::run::{LEASE_MS, Run, accepted, gateways};
use crate::support::fleet::eventually;
use crate::support::store_view::metric;

/// The filter's series without their tags' quotes, such as
/// `rekey_cache{event=hit}`.
fn series(run: &Run, gateway: usize) -> BTreeMap<String, u64> {
    let text = run.gateway(gateway).admin("/stats/prometheus").unwrap();
    let mut found = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("rekey_")) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        let name = name.replace('"', "").replace("{}", "");
        *found.entry(name).or_default() += value.parse::<u64>().unwrap();
    }
    found
}

#[test]
fn lease_feed_and_cache_can_be_seen() {
    let run = Run::start(gateways(2, LEASE_MS), 2);
    let mut probe = run.probe();
    let [key, steady] = &run.keys[..] else {
        panic!("two keys");
    };
    run.rotate_and_check(0, key, &mut probe);
    accepted(&mut probe, steady);
    let before = series(&run, 1);
    for _ in 0..10 {
        accepted(&mut probe, steady);
    }
    eventually("the counters to show it", || {
        let now = series(&run, 1);
        let grew = |name: &str, by: u64| now[name] >= before[name] + by;
        // Both workers were asked ten times, and asked nobody.
        (grew("rekey_cache{event=hit}", 20)
            && now["rekey_cache{event=miss}"] == before["rekey_cache{event=miss}"]
            && grew("rekey_feed{event=answered}", 1))
        .then_some(())
    });
    let now = series(&run, 1);
    assert_eq!(now["rekey_lease_held"], 1);
    let left = now["rekey_lease_remaining_ms"];
    assert!((1..=u64::from(LEASE_MS)).contains(&left), "{left}");
    // Its view of the store is not older than a lease, or it had none.
    let lag = now["rekey_feed_lag_ms"];
    assert!(lag <= u64::from(LEASE_MS), "{lag}");
    let head = metric(&run.fleet.store, "rekey_store_revision");
    assert_eq!(now["rekey_applied_revision"], head as u64);

    // The barrier's time, as a histogram.
    let store = &run.fleet.store;
    assert!(metric(store, "rekey_store_barrier_duration_seconds_count") >= 1.0);
    assert!(metric(store, "rekey_store_barrier_duration_seconds_sum") > 0.0);
    assert!((metric(store, "rekey_store_gateways") - 2.0).abs() < 0.5);
    run.fleet.assert_no_trap();
}
