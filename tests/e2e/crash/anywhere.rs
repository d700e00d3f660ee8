//! `kill -9` at random moments of a rotation, of 200 rotations each for the gateway
//! and the store, on fleets beside each other.

use std::collections::BTreeMap;
use std::thread;
use std::time::Instant;

use rekey_testbed::{Account, FleetOptions};

use super::short_lease;
use super::verdict::{Became, Told, check};
use crate::support::client::{Answer, Broken, SCRAPE};
use crate::support::faults::moments::Moments;
use crate::support::fleet::{self, RETRIED, TestFleet, eventually, stat};

/// Rotations in all, for each kind of process, each killed at a moment of its own.
const KILLED: usize = 200;
/// Most of the time is spent on starting, which takes one core of each.
const FLEETS: usize = 2;
/// Rotations that one kill ends: an Envoy takes seconds to start again.
const AT_ONCE: usize = 4;

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

/// A rotation of each user, and one kill. Tells what each was told.
type Kill = fn(&mut TestFleet, &[Account], &mut Moments) -> Vec<Told>;

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
        for _ in 0..KILLED / FLEETS / AT_ONCE {
            let users: Vec<_> = (0..AT_ONCE).map(|_| fleet.user()).collect();
            let told = kill(&mut fleet, &users, &mut moments);
            for (user, told) in users.iter().zip(&told) {
                let became = check(&fleet, user, told);
                *tally.became.entry(became).or_default() += 1;
            }
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

fn kill_the_gateway(fleet: &mut TestFleet, users: &[Account], moments: &mut Moments) -> Vec<Told> {
    let answers = rotate_until(fleet, users, moments, |fleet| {
        fleet.gateways[0].process.kill_9().unwrap();
    });
    fleet.gateways[0].restart().unwrap();
    answers.iter().map(Told::by).collect()
}

fn kill_the_store(fleet: &mut TestFleet, users: &[Account], moments: &mut Moments) -> Vec<Told> {
    let answers = rotate_until(fleet, users, moments, |fleet| {
        fleet.store.process.kill_9().unwrap();
        // Back before the gateway's patience is over; the client still waits.
        fleet.store.restart().unwrap();
    });
    let client = fleet.client();
    for user in users {
        eventually("the gateway to reach the store again", || {
            let answer = client.get(SCRAPE, &user.api_key);
            assert_ne!(answer.outcome(), (401, "invalid_api_key".to_owned()));
            (answer.status != 503).then_some(())
        });
    }
    answers.iter().map(Told::by).collect()
}

/// Begins a rotation of each user, so that `kill` finds each at a moment of its own.
fn rotate_until(
    fleet: &mut TestFleet,
    users: &[Account],
    moments: &mut Moments,
    kill: impl FnOnce(&mut TestFleet),
) -> Vec<Result<Answer, Broken>> {
    let client = &fleet.client();
    let ages: Vec<_> = users.iter().map(|_| moments.draw()).collect();
    let killed = Instant::now() + ages.iter().max().copied().unwrap_or_default();
    thread::scope(|scope| {
        let rotations: Vec<_> = users
            .iter()
            .zip(ages)
            .map(|(user, age)| {
                scope.spawn(move || {
                    sleep_until(killed - age);
                    client.try_regenerate(&user.api_key)
                })
            })
            .collect();
        sleep_until(killed);
        kill(fleet);
        rotations
            .into_iter()
            .map(|rotation| rotation.join().unwrap())
            .collect()
    })
}

fn sleep_until(moment: Instant) {
    thread::sleep(moment.saturating_duration_since(Instant::now()));
}
