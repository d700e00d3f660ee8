//! The models of several stores before one etcd: every small world holds with all the
//! rules, and breaks without any one of them, by a shortest schedule of known length.

#![allow(clippy::unwrap_used, reason = "a test's helpers may panic")]

use std::collections::BTreeSet;

use rekey_sim::model::run::explore;
use rekey_sim::replicas::mutants::{Mutant, NEEDED, OF_ATTEMPTS, REDUNDANT};
use rekey_sim::replicas::rules::Rules;
use rekey_sim::replicas::shortest::{Schedule, shortest};
use rekey_sim::replicas::world::World;
use rekey_sim::replicas::{attempts, steps};

/// A test for each world.
macro_rules! worlds {
    ($module:ident $holds:ident $all:expr; $($test:ident $name:literal,)+) => {
        mod $module {
            $(#[test] fn $test() { super::$holds($name); })+

            #[test]
            fn is_complete() {
                let names: Vec<_> = $all.iter().map(|world| world.name).collect();
                assert_eq!(names, [$($name),+]);
            }
        }
    };
}

worlds! { i1_and_i2_hold holds super::World::small();
    beats "beats",
    clocks "clocks",
    moving "moving",
    planned_stop "planned-stop",
    silent_watch "silent-watch",
    joining "joining",
    joining_again "joining-again",
    stale_reads "stale-reads",
    restored "restored",
    restored_cursors "restored-cursors",
    restored_joining "restored-joining",
    restored_and_rotated "restored-and-rotated",
}

worlds! { i3_and_i4_hold attempts_hold super::attempts::world::World::all();
    repeats "repeats",
    races "races",
    old_ids "old-ids",
}

fn holds(name: &str) {
    let report = explore(&World::named(name).unwrap(), 1, None);
    assert_eq!(report.broken, None, "{name}");
    assert!(report.missing.is_empty(), "{name}: {:?}", report.missing);
}

fn attempts_hold(name: &str) {
    let world = attempts::world::World::named(name).unwrap();
    let report = explore(&world, 1, None);
    assert_eq!(report.broken, None, "{name}");
    assert!(report.missing.is_empty(), "{name}: {:?}", report.missing);
}

/// Prints the shortest schedule, which a failing test shows.
fn check<A: std::fmt::Debug>(mutant: &Mutant, schedule: Option<Schedule<A>>) {
    let schedule = schedule.unwrap();
    for step in &schedule.steps {
        println!("{step:?}");
    }
    let found = (schedule.breaks, schedule.steps.len());
    let expected = (mutant.breaks, mutant.steps);
    assert_eq!(found, expected, "without {:?}", mutant.without);
}

#[test]
fn every_rule_of_fences_lines_and_histories_is_needed() {
    for mutant in NEEDED {
        check(mutant, shortest(&mutant.world().unwrap()));
    }
}

#[test]
fn every_rule_of_attempts_is_needed() {
    for mutant in OF_ATTEMPTS {
        let world = attempts::world::World::of(mutant).unwrap();
        check(mutant, shortest(&world));
    }
}

/// Each alone breaks something, or is named as redundant.
#[test]
fn every_rule_is_taken_out_once() {
    let tables = [NEEDED, OF_ATTEMPTS].concat();
    let alone = tables.iter().filter(|mutant| mutant.without.len() == 1);
    let alone = alone.map(|mutant| mutant.without[0]);
    let taken: Vec<_> = alone.chain(REDUNDANT.iter().copied()).collect();
    let all: BTreeSet<_> = Rules::LIST.iter().map(|(name, _)| *name).collect();
    assert_eq!(taken.iter().copied().collect::<BTreeSet<_>>(), all);
    assert_eq!(taken.len(), all.len(), "each in one table");
}

#[test]
#[ignore = "explores everything for every rule: a minute"]
fn what_is_said_to_be_redundant_is() {
    for rule in REDUNDANT {
        for world in World::small() {
            let name = world.name;
            let world = world.with(Rules::without(&[rule]).unwrap());
            let report = explore(&world, 1, None);
            assert_eq!(report.broken, None, "without {rule} in {name}");
        }
    }
}

/// What the documentation says is not promised: should it hold one day, the
/// documentation is to be changed.
#[test]
fn limits_are_as_documented() {
    let broken = World::limits().into_iter().map(|world| {
        let schedule: Option<Schedule<steps::Action>> = shortest(&world);
        (world.name, schedule.map(|schedule| schedule.breaks))
    });
    assert_eq!(
        broken.collect::<Vec<_>>(),
        [
            ("unnoticed-restore", Some("I2")),
            ("unnoticed-higher", Some("I2")),
        ]
    );
}
