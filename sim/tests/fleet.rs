//! The simulated fleet: the rules hold under faults, and each kind of bug that
//! is put in on purpose is found.

#![allow(clippy::unwrap_used)]

use rekey_sim::fleet::plan::Sabotage;
use rekey_sim::fleet::world::Stats;
use rekey_sim::fleet::{Outcome, run};

/// Schedules of one test run; `cargo run -p rekey-sim -- fleet --seeds N` runs
/// as many as asked for.
const SEEDS: u64 = 700;

fn outcome(seed: u64, sabotage: Option<Sabotage>) -> Outcome {
    run(seed, sabotage, false).unwrap()
}

/// Runs seeds on all cores; the outcomes in the order of the seeds.
fn outcomes(seeds: u64) -> Vec<Outcome> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let mut all: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores)
            .map(|core| {
                let mine = (core..seeds).step_by(cores as usize);
                scope.spawn(move || mine.map(|seed| (seed, outcome(seed, None))).collect())
            })
            .collect();
        let joined = threads.into_iter().map(|thread| thread.join().unwrap());
        joined.flat_map(|part: Vec<_>| part).collect()
    });
    all.sort_by_key(|(seed, _)| *seed);
    all.into_iter().map(|(_, outcome)| outcome).collect()
}

#[test]
fn the_invariants_hold_whatever_strikes() {
    let outcomes = outcomes(SEEDS);
    let broken: Vec<_> = (0..)
        .zip(&outcomes)
        .filter_map(|(seed, outcome)| {
            let violation = outcome.violation.as_ref()?;
            Some(format!(
                "{violation}\n  again: cargo run -p rekey-sim -- fleet --seed {seed} --trace"
            ))
        })
        .collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    // A world in which nothing happens proves nothing.
    let sum = |of: fn(&Stats) -> u64| -> u64 { outcomes.iter().map(|o| of(&o.stats)).sum() };
    assert!(sum(|stats| stats.events) > 1_000_000);
    assert!(sum(|stats| stats.rotations) > SEEDS);
    assert!(sum(|stats| stats.replayed) > SEEDS);
    assert!(sum(|stats| stats.read_in_dashboard) > SEEDS / 2);
    assert!(sum(|stats| stats.refused) > 10 * SEEDS);
    assert!(sum(|stats| stats.streams_ended) > SEEDS);
    assert!(sum(|stats| stats.interleaved) > 10 * SEEDS);
    assert!(sum(|stats| stats.faults) > SEEDS);
    // Cached trust is what is on trial: most requests must cost no call.
    let passed = sum(|stats| stats.passed);
    assert!(sum(|stats| stats.resolves) < passed, "{passed} passed");
}

#[test]
fn a_seed_replays_to_the_event() {
    for seed in [3, 77, 612] {
        let (first, second) = (run(seed, None, true), run(seed, None, true));
        let (first, second) = (first.unwrap(), second.unwrap());
        assert!(first.trace.len() > 100);
        assert_eq!(first, second, "seed {seed}");
    }
}

/// Whether a bug breaks one of these rules within so many schedules.
fn is_found(sabotage: Sabotage, rules: &[&str], seeds: u64) {
    let found = (0..seeds).any(|seed| {
        let violation = outcome(seed, Some(sabotage)).violation.unwrap_or_default();
        rules.iter().any(|rule| violation.contains(rule))
    });
    assert!(found, "{sabotage:?} went unnoticed in {seeds} schedules");
}

const OLD_KEYS: &[&str] = &["I1:", "I2:"];

#[test]
fn s7_an_answer_before_the_barrier_is_found() {
    is_found(Sabotage::SkipBarrier, OLD_KEYS, 20);
}

#[test]
fn s3_an_answer_read_before_the_poll_is_registered_is_found() {
    is_found(Sabotage::ReadBeforeRegister, OLD_KEYS, 300);
}

#[test]
fn s6_a_lost_change_is_found() {
    is_found(Sabotage::LoseChange, OLD_KEYS, 20);
}

#[test]
fn s7_a_repeated_answer_before_the_barrier_is_found() {
    is_found(Sabotage::RepeatEarly, OLD_KEYS, 100);
}

#[test]
fn x4_an_answer_that_cannot_be_had_again_is_found() {
    is_found(Sabotage::KeepNoRecord, &["I4: a lost answer is gone"], 50);
}

#[test]
fn s9_a_restart_that_does_not_wait_is_found() {
    is_found(Sabotage::NoRestartHold, OLD_KEYS, 200);
}

#[test]
fn s8_a_start_that_does_not_look_how_far_the_database_was_is_found() {
    is_found(Sabotage::IgnoreMark, &["S8:"], 100);
}

#[test]
fn s8_a_log_that_is_laid_over_a_backup_is_found() {
    is_found(Sabotage::IgnoreAnchor, &["S8:"], 200);
}

#[test]
fn an_import_whose_rows_count_one_by_one_is_found() {
    is_found(Sabotage::ImportByHalves, &["in the name of"], 60);
}

#[test]
fn s10_an_owner_without_its_lock_file_is_found() {
    is_found(Sabotage::GoOnWithoutLock, OLD_KEYS, 200);
}

#[test]
fn g1_a_clock_out_of_bounds_is_found() {
    is_found(Sabotage::SlowClock, OLD_KEYS, 200);
}

#[test]
fn g1_a_wall_clock_that_sleeps_too_is_found() {
    is_found(Sabotage::WallSuspended, OLD_KEYS, 200);
}

#[test]
fn g2_shared_data_without_compare_and_swap_is_found() {
    is_found(Sabotage::IgnoreCas, OLD_KEYS, 60);
}

#[test]
fn g3_a_tombstone_that_is_not_written_is_found() {
    is_found(Sabotage::DropWrites, OLD_KEYS, 20);
}

#[test]
fn g3_a_revocation_that_nobody_is_told_of_is_found() {
    is_found(Sabotage::TellNobody, &["outlived its key"], 20);
}

#[test]
fn i7_a_valid_key_that_is_refused_is_found() {
    is_found(Sabotage::RefuseValid, &["I4:", "I7:"], 20);
}
