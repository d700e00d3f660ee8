//! The checked model: every small world holds with all the rules, and breaks
//! without any one of them that it needs.

#![allow(clippy::unwrap_used, reason = "a test's helpers may panic")]

use rekey_sim::model::mutants::{Mutant, NEEDED, NEEDED_TOGETHER, REDUNDANT};
use rekey_sim::model::rules::Rules;
use rekey_sim::model::run::explore;
use rekey_sim::model::world::World;

fn holds(name: &str) {
    let report = explore(&World::named(name).unwrap(), 1, None);
    assert_eq!(report.broken, None, "{name}");
    assert!(report.missing.is_empty(), "{name}: {:?}", report.missing);
}

fn catches(mutants: &[Mutant], rule: &str) {
    let mut found = mutants.iter().filter(|mutant| mutant.without[0] == rule);
    let mutant = found.next().unwrap();
    let report = explore(&mutant.world().unwrap(), 1, None);
    let broken = report.broken.map(|(what, _)| what);
    assert_eq!(broken, mutant.breaks, "without {:?}", mutant.without);
}

/// A test for each world: invariants I1 and I2 hold in all of its states.
macro_rules! worlds {
    ($($test:ident $name:literal,)+) => {
        mod i1_and_i2_hold {
            $(#[test] fn $test() { super::holds($name); })+
        }

        #[test]
        fn every_small_world_is_explored() {
            let names: Vec<_> = World::small().iter().map(|world| world.name).collect();
            assert_eq!(names, [$($name),+]);
        }
    };
}

/// A test for each mutant.
macro_rules! mutants {
    ($module:ident $table:ident: $($rule:ident,)+) => {
        mod $module {
            $(#[test] fn $rule() { super::catches(super::$table, stringify!($rule)); })+

            #[test]
            fn is_complete() {
                let rules: Vec<_> = super::$table.iter().map(|mutant| mutant.without[0]).collect();
                assert_eq!(rules, [$(stringify!($rule)),+]);
            }
        }
    };
}

worlds! {
    cold "cold",
    fills "fills",
    late_polls "late-polls",
    drift "drift",
    unwritable "unwritable",
    eviction "eviction",
    pages "pages",
    two_feeders "two-feeders",
    frozen_feeder "frozen-feeder",
    generations "generations",
    evicted_generations "evicted-generations",
    gateway_restart "gateway-restart",
    store_restart "store-restart",
    restore "restore",
    restored_and_restarted "restored-and-restarted",
    backup "backup",
    unaccepted_restore "unaccepted-restore",
    lease_lengths "lease-lengths",
    two_leases "two-leases",
    two_gateways "two-gateways",
    namespaces "namespaces",
    one_way "one-way",
    suspended "suspended",
    set_back "set-back",
}

mutants! { model_needs NEEDED:
    s1_one_snapshot,
    s1_fresh_snapshot,
    s2_durable_first,
    s2_published,
    s3_register_then_read,
    s4_head_grants,
    s5_maxima,
    s6_acknowledged,
    s7_first,
    s7_repeat,
    s8_mark,
    s8_marked_first,
    s9_hold,
    s9_on_record,
    s9_cap,
    s9_cap_on_record,
    s10_one_owner,
    margin,
    g1_sent,
    g1_now,
    g1_monotonic,
    g1_wall,
    g2_awaits,
    g3_always,
    g3_order,
    g3_unwritten,
    g4_control_first,
    g5_cache,
    g5_share,
    g5_store_revoked,
    g5_this_history,
    g5_bury_now,
    g5_life_of_poll,
    g6_merged,
    g7_lease,
    g8_evict_floor,
    g8_absent,
    g10_own_control,
}

mutants! { model_needs_one_of NEEDED_TOGETHER:
    s8_incarnation,
    g7_generation,
    g8_start_floor,
    g8_tombstone_stays,
}

#[test]
#[ignore = "explores everything for every rule: minutes"]
fn what_is_said_to_be_redundant_is() {
    for mutant in REDUNDANT {
        let report = explore(&mutant.world().unwrap(), 2, None);
        assert_eq!(report.broken, None, "without {:?}", mutant.without);
    }
}

#[test]
fn every_rule_is_taken_out_once() {
    let tables = [NEEDED, REDUNDANT].concat();
    let taken: std::collections::BTreeSet<_> =
        tables.iter().map(|mutant| mutant.without[0]).collect();
    let all: std::collections::BTreeSet<_> = Rules::LIST.iter().map(|(name, _)| *name).collect();
    assert_eq!(taken, all);
    assert_eq!(tables.len(), all.len(), "each in one table");
}

/// What the documentation says is not promised: should it hold one day, the
/// documentation is to be changed.
#[test]
fn limits_are_as_documented() {
    let broken = World::limits().into_iter().map(|world| {
        let report = explore(&world, 1, None);
        (world.name, report.broken.map(|(what, _)| what))
    });
    assert_eq!(
        broken.collect::<Vec<_>>(),
        [
            ("refused-by-the-other-namespace", Some("I1")),
            ("unnoticed-restore", Some("I2")),
        ]
    );
}
