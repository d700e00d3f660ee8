//! `kill -9` at random moments of a rotation, 200 times each for the gateway
//! and the store, on fleets beside each other.

use std::collections::BTreeMap;
use std::thread;

use rekey_testbed::{Account, FleetOptions};

use super::short_lease;
use super::verdict::{Became, Told, check};
use crate::support::client::SCRAPE;
use crate::support::faults::moments::Moments;
use crate::support::fleet::{self, RETRIED, TestFleet, eventually, stat};

/// Kills in all, of each kind of process.
const KILLS: usize = 200;
/// Most of the time is spent on starting, which takes one core of each.
const FLEETS: usize = 2;

/// What happened, and how often.
#[derive(Debug, Default)]
struct Tally {
    became: BTreeMap<Became, usize>,
    /// Attempts under the same rotation id.
    retried: u64,
}

#[test]
fn a_gateway_killed_at_any_moment_breaks_no_promise() {
    let tally = on_several_fleets(0x6a7e, kill_the_gateway);
    println!("gateway killed: {tally:?}");
    // Else all kills came too early, or too late.
    for became in [Became::Kept, Became::Replaced] {
        assert!(tally.became.contains_key(&became), "{tally:?}");
    }
}

#[test]
fn a_store_killed_at_any_moment_breaks_no_promise() {
    let tally = on_several_fleets(0x5702e, kill_the_store);
    println!("store killed: {tally:?}");
    assert!(tally.became.contains_key(&Became::Replaced), "{tally:?}");
    assert!(tally.retried > 0, "no kill came in a rotation: {tally:?}");
    // The client waited, and the gateway asked again: no answer is lost.
    assert!(!tally.became.contains_key(&Became::Lost), "{tally:?}");
}

/// One rotation and one kill.
type Kill = fn(&mut TestFleet, &Account, &mut Moments) -> Told;

fn on_several_fleets(seed: u64, kill: Kill) -> Tally {
    // One worker: with more, Envoy only takes longer to start.
    let small = || FleetOptions {
        concurrency: 1,
        plugin: short_lease(),
        ..FleetOptions::default()
    };
    let fleets: Vec<_> = (0..FLEETS).map(|_| fleet::start(small())).collect();
    let run = |mut fleet: TestFleet, seed: u64| {
        let mut moments = Moments::of_a_rotation(&fleet, seed);
        let mut tally = Tally::default();
        for _ in 0..KILLS / FLEETS {
            let user = fleet.user();
            let told = kill(&mut fleet, &user, &mut moments);
            let became = check(&fleet, &user, &told);
            *tally.became.entry(became).or_default() += 1;
        }
        tally.retried = stat(&fleet.gateways[0], RETRIED);
        fleet.assert_no_trap();
        tally
    };
    let mut total = Tally::default();
    thread::scope(|scope| {
        let seeds = seed..;
        let running: Vec<_> = fleets
            .into_iter()
            .zip(seeds)
            .map(|(fleet, seed)| scope.spawn(move || run(fleet, seed)))
            .collect();
        for tally in running.into_iter().map(|fleet| fleet.join().unwrap()) {
            for (became, times) in tally.became {
                *total.became.entry(became).or_default() += times;
            }
            total.retried += tally.retried;
        }
    });
    total
}

fn kill_the_gateway(fleet: &mut TestFleet, user: &Account, moments: &mut Moments) -> Told {
    let client = fleet.client();
    let answer = thread::scope(|scope| {
        let rotation = scope.spawn(|| client.try_regenerate(&user.api_key));
        thread::sleep(moments.draw());
        fleet.gateways[0].process.kill_9().unwrap();
        rotation.join().unwrap()
    });
    fleet.gateways[0].restart().unwrap();
    Told::by(&answer)
}

fn kill_the_store(fleet: &mut TestFleet, user: &Account, moments: &mut Moments) -> Told {
    let client = fleet.client();
    let answer = thread::scope(|scope| {
        let rotation = scope.spawn(|| client.try_regenerate(&user.api_key));
        thread::sleep(moments.draw());
        fleet.store.process.kill_9().unwrap();
        // Back before the gateway's patience is over; the client still waits.
        fleet.store.restart().unwrap();
        rotation.join().unwrap()
    });
    eventually("the gateway to reach the store again", || {
        let answer = client.get(SCRAPE, &user.api_key);
        assert_ne!(answer.outcome(), (401, "invalid_api_key".to_owned()));
        (answer.status != 503).then_some(())
    });
    Told::by(&answer)
}
