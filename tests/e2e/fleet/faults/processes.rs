//! Gateways and stores that stand still, die and come back, under load.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rekey_load::{Key, Tally, rotate};

use crate::fleet::run::{LEASE_MS, Run, SLACK, accepted, expiry, gateways, no_fault, refused};
use crate::support::fleet::eventually;

/// How often each fault happens.
const ROUNDS: usize = 4;
/// Rotations behind each fault.
const AFTER_EACH: usize = 10;

/// Checks that a rotation took no longer than an unreachable gateway may cost.
fn within_the_bound(what: &str, took: Duration) {
    let bound = expiry(LEASE_MS);
    println!("{what}: a rotation took {took:?}; lease and margin are {bound:?}");
    assert!(took <= bound + SLACK, "{what}: {took:?}");
}

/// All 503s are those of this gateway.
fn only_from(run: &Run, gateway: usize, tally: &Tally) {
    let address = run.gateway(gateway).address();
    let others = tally.unavailable.keys().filter(|from| **from != address);
    assert_eq!(others.count(), 0, "{:?}", tally.unavailable);
}

/// A gateway that stands still holds a rotation up for its lease, and not
/// longer; requests that lay before it all the while are not let in when it
/// goes on (G1: the lease is over by the clock, whatever the gateway noticed).
#[test]
fn a_gateway_that_stands_still_costs_its_lease_and_lets_nobody_in_afterwards() {
    let users = ROUNDS * (2 + AFTER_EACH);
    let run = Run::start(gateways(3, LEASE_MS), users);
    let traffic = run.traffic();
    let mut probe = run.probe();
    for (round, keys) in run.keys.chunks(2 + AFTER_EACH).enumerate() {
        let frozen = &run.gateway(2).process;
        let mut probe_of_frozen = run.probe_of(2);
        let [first, second, more @ ..] = keys else {
            panic!("keys for each round");
        };
        run.until_trusted(2);
        accepted(&mut probe, first);
        accepted(&mut probe, second);
        frozen.freeze().unwrap();
        within_the_bound("frozen", run.rotate(round % 2, first).took);
        // It is waited for once.
        let rotated = run.rotate(round % 2, second);
        assert!(rotated.took < expiry(LEASE_MS), "{:?}", rotated.took);

        probe_of_frozen.send(&first.text).unwrap();
        frozen.thaw().unwrap();
        for answer in probe_of_frozen.receive().unwrap() {
            assert!(matches!(answer.status, 401 | 503), "{}", answer.body);
        }
        serves_again(&run, &rotated.new);
        for key in [first, second] {
            refused(&mut probe, key);
        }
        for (number, key) in more.iter().enumerate() {
            run.rotate_and_check(number % 3, key, &mut probe);
        }
    }
    only_from(&run, 2, &no_fault(traffic));
    run.fleet.assert_no_trap();
}

/// Waits until the third gateway's workers serve this key again.
fn serves_again(run: &Run, key: &Key) {
    let mut probe = run.probe_of(2);
    eventually("the gateway to serve again", || {
        let statuses = probe.statuses(&key.text).unwrap();
        statuses.iter().all(|status| *status == 200).then_some(())
    });
}

/// A gateway that was killed holds rotations up for its lease at most; one
/// that is new, and the killed one started again, hold the same as the others.
#[test]
fn gateways_that_are_killed_and_started_hold_what_the_others_hold() {
    let users = 2 * (1 + AFTER_EACH);
    let mut run = Run::start(gateways(3, LEASE_MS), users);
    let traffic = run.traffic();
    let keys = run.keys.clone();
    let (before, after) = keys.split_at(1 + AFTER_EACH);
    let check = |run: &Run, keys: &[Arc<Key>]| {
        let mut probe = run.probe();
        for (number, key) in keys.iter().enumerate() {
            run.rotate_and_check(number % run.fleet.gateways.len(), key, &mut probe);
        }
    };

    accepted(&mut run.probe(), &before[0]);
    run.gateway(2).process.kill_9().unwrap();
    within_the_bound("killed", run.rotate(0, &before[0]).took);
    run.fleet.gateways[2].restart().unwrap();
    refused(&mut run.probe(), &before[0]);
    check(&run, &before[1..]);

    let more = run.fleet.gateway_options(&gateways(1, LEASE_MS));
    run.gateway(1).process.kill_9().unwrap();
    run.fleet.add_gateway(more).expect("another gateway");
    within_the_bound("another one", run.rotate(0, &after[0]).took);
    run.fleet.gateways[1].restart().unwrap();
    refused(&mut run.probe(), &after[0]);
    check(&run, &after[1..]);

    let tally = no_fault(traffic);
    // It was killed under load.
    assert!(tally.broken > 0);
    run.fleet.assert_no_trap();
}

/// Without its store a gateway serves from its cache for the rest of its
/// lease, then says 503; never a wrong yes, never a wrong 401. A rotation that
/// was under way when the store died is pursued and ends with a working key.
#[test]
fn a_store_that_is_killed_and_restarted_costs_answers_and_nothing_else() {
    let users = ROUNDS * (2 + AFTER_EACH);
    let mut run = Run::start(gateways(3, LEASE_MS), users);
    let traffic = run.traffic();
    let mut probe = run.probe();
    let mut outages = Vec::new();
    let keys = run.keys.clone();
    for (round, keys) in keys.chunks(2 + AFTER_EACH).enumerate() {
        let [in_flight, at_once, more @ ..] = keys else {
            panic!("keys for each round");
        };
        accepted(&mut probe, in_flight);
        let began = Instant::now();
        let (mut gateway, book) = (run.connect(round % 3), run.book.clone());
        // The store stands still, so that the rotation is surely under way.
        run.fleet.store.process.freeze().unwrap();
        let pursued = thread::scope(|scope| {
            let pursued = scope.spawn(|| rotate(&mut gateway, in_flight, &book));
            eventually("the rotation to be sent", || {
                let sent = |gateway| run.gateway(gateway).stat(CALLS_ACTIVE).unwrap();
                (sent(round % 3) > 0).then_some(())
            });
            run.fleet.store.process.kill_9().unwrap();
            run.fleet.store.restart().unwrap();
            let restarted = Instant::now();
            // S9: the leases of the store's earlier life are waited out.
            let rotated = run.rotate_when_served(round % 3, at_once);
            within_the_bound("store restarted", restarted.elapsed());
            refused(&mut run.probe(), &rotated);
            pursued.join().unwrap()
        });
        let pursued = pursued.expect("the rotation under way ends with a key");
        outages.push((began, Instant::now()));
        refused(&mut probe, in_flight);
        accepted(&mut probe, &pursued.new);
        for (number, key) in more.iter().enumerate() {
            run.rotate_and_check(number % 3, key, &mut probe);
        }
    }
    let tally = no_fault(traffic);
    for unavailable in tally.unavailable.values() {
        assert!(unavailable.first >= outages[0].0, "a 503 before any outage");
        let last = outages.last().unwrap().1;
        assert!(
            unavailable.last <= last + SLACK,
            "a 503 after the last outage"
        );
    }
    run.fleet.assert_no_trap();
}

/// Envoy's gauge of rotations at the store that wait for an answer.
const CALLS_ACTIVE: &str = "cluster.rekey_store_rotations.upstream_rq_active";

impl Run {
    /// Rotates as soon as the store can be asked; until then every answer says
    /// that nothing happened (I4). Returns the key that died.
    fn rotate_when_served(&self, gateway: usize, key: &Arc<Key>) -> Arc<Key> {
        let mut connection = self.connect(gateway);
        eventually("a rotation to be possible", || {
            match rotate(&mut connection, key, &self.book) {
                Ok(rotated) => Some(rotated.old),
                Err(error) => {
                    let error = error.to_string();
                    assert!(error.contains("key_store_unavailable"), "{error}");
                    None
                }
            }
        })
    }
}

/// S9 on real parts: a gateway that is cut off from its store trusts its cache
/// for the rest of its lease; a store that was restarted in the meantime knows
/// nothing of that lease, and must not answer before it is over.
#[test]
fn a_restarted_store_waits_for_leases_that_it_does_not_know() {
    let mut run = Run::start(gateways(2, LEASE_MS), ROUNDS);
    let proxy = crate::support::faults::tcp_proxy::TcpProxy::start(run.fleet.store.address());
    let mut cut_off = run.fleet.gateway_options(&gateways(1, LEASE_MS));
    cut_off.store = proxy.address();
    run.add_gateway(cut_off);
    let traffic = run.traffic();
    for key in run.keys.clone() {
        run.until_trusted(2);
        accepted(&mut run.probe(), &key);
        proxy.refuse();
        run.fleet.store.process.kill_9().unwrap();
        run.fleet.store.restart().unwrap();
        let began = Instant::now();
        run.rotate_when_served(0, &key);
        within_the_bound("store restarted", began.elapsed());
        // The load judges the cut-off gateway all the while; here it is asked
        // on both workers at the very moment.
        for answer in run.probe_of(2).ask(&key.text).unwrap() {
            assert!(matches!(answer.status, 401 | 503), "{}", answer.body);
        }
        proxy.accept();
        let fresh = run.new_key();
        serves_again(&run, &fresh);
    }
    no_fault(traffic);
    run.fleet.assert_no_trap();
}
