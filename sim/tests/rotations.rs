//! The model of rotation ids, attempts and replays: every world holds with all the
//! rules, and breaks without any one of them.

#![allow(clippy::unwrap_used, reason = "a test's helpers may panic")]

use std::collections::BTreeSet;

use rekey_sim::model::run::explore;
use rekey_sim::rotations::mutants::MUTANTS;
use rekey_sim::rotations::rules::Rules;
use rekey_sim::rotations::world::World;

macro_rules! worlds {
    ($($test:ident $name:literal,)+) => {
        mod holds {
            $(#[test] fn $test() { super::holds($name); })+
        }

        #[test]
        fn every_world_is_explored() {
            let names: Vec<_> = World::all().iter().map(|world| world.name).collect();
            assert_eq!(names, [$($name),+]);
        }
    };
}

worlds! {
    lost_answers "lost-answers",
    unsent "unsent",
    race "race",
    two_programs "two-programs",
    no_header "no-header",
    thief "thief",
    replaced "replaced",
    repeats "repeats",
    lost_replays "lost-replays",
    hour "hour",
}

fn holds(name: &str) {
    let report = explore(&World::named(name).unwrap(), 1, None);
    assert_eq!(report.broken, None, "{name}");
    assert!(report.missing.is_empty(), "{name}: {:?}", report.missing);
}

#[test]
fn every_rule_is_needed() {
    for mutant in MUTANTS {
        let report = explore(&mutant.world().unwrap(), 1, None);
        let broken = report.broken.map(|(what, _)| what);
        assert_eq!(broken, Some(mutant.breaks), "without {}", mutant.without);
    }
    let taken: BTreeSet<_> = MUTANTS.iter().map(|mutant| mutant.without).collect();
    let all: BTreeSet<_> = Rules::LIST.iter().map(|(name, _)| *name).collect();
    assert_eq!(taken, all);
}
