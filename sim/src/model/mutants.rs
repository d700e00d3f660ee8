//! Which world catches which mutant: the protocol without one rule, or without
//! several that stand in for each other.

use super::rules::Rules;
use super::world::World;

/// A protocol without some of its rules.
#[derive(Debug, Clone, Copy)]
pub struct Mutant {
    /// The rules that it lacks.
    pub without: &'static [&'static str],
    /// The world that is explored with it.
    pub world: &'static str,
    /// What breaks there; none: in the model the rule is redundant.
    pub breaks: Option<&'static str>,
}

impl Mutant {
    /// The world without those rules; none if either does not exist.
    pub fn world(&self) -> Option<World> {
        let mut world = World::named(self.world)?.with(Rules::without(self.without)?);
        world.recovers &= self.breaks == Some("recovers");
        Some(world)
    }
}

const fn needs(
    without: &'static [&'static str],
    world: &'static str,
    what: &'static str,
) -> Mutant {
    Mutant {
        without,
        world,
        breaks: Some(what),
    }
}

const fn redundant(without: &'static [&'static str], world: &'static str) -> Mutant {
    Mutant {
        without,
        world,
        breaks: None,
    }
}

/// Rules that nothing else stands in for.
pub const NEEDED: &[Mutant] = &[
    needs(&["s1_one_snapshot"], "eviction", "I1"),
    needs(&["s1_fresh_snapshot"], "fills", "I2"),
    needs(&["s2_durable_first"], "store-restart", "no lock-out"),
    needs(&["s2_published"], "fills", "I2"),
    needs(&["s3_register_then_read"], "fills", "I2"),
    needs(&["s4_head_grants"], "pages", "I2"),
    needs(&["s5_maxima"], "lease-lengths", "I2"),
    needs(&["s6_acknowledged"], "one-way", "the barrier has a bound"),
    needs(&["s7_first"], "fills", "I2"),
    needs(&["s7_repeat"], "fills", "I2"),
    needs(&["s8_mark"], "unaccepted-restore", "I2"),
    needs(&["s8_marked_first"], "unaccepted-restore", "I2"),
    needs(&["s9_hold"], "store-restart", "I2"),
    needs(&["s9_on_record"], "two-leases", "I2"),
    needs(&["s9_cap"], "restore", "I2"),
    needs(&["s9_cap_on_record"], "restored-and-restarted", "I2"),
    needs(&["s10_one_owner"], "store-restart", "I2"),
    needs(&["margin"], "drift", "I2"),
    needs(&["g1_sent"], "fills", "I2"),
    needs(&["g1_now"], "drift", "I2"),
    needs(&["g1_monotonic"], "set-back", "I2"),
    needs(&["g1_wall"], "suspended", "I2"),
    needs(&["g2_awaits"], "frozen-feeder", "I1"),
    needs(&["g3_always"], "cold", "I2"),
    needs(&["g3_order"], "fills", "I2"),
    needs(&["g3_unwritten"], "unwritable", "I2"),
    needs(&["g4_control_first"], "fills", "I2"),
    needs(&["g5_cache"], "generations", "I1"),
    needs(&["g5_share"], "evicted-generations", "I1"),
    needs(&["g5_store_revoked"], "fills", "I1"),
    needs(&["g5_this_history"], "backup", "recovers"),
    needs(&["g5_bury_now"], "generations", "I1"),
    needs(&["g5_life_of_poll"], "backup", "recovers"),
    needs(&["g6_merged"], "eviction", "I1"),
    needs(&["g7_lease"], "fills", "I2"),
    needs(&["g8_evict_floor"], "eviction", "I1"),
    needs(&["g8_absent"], "restore", "I2"),
    needs(&["g10_own_control"], "namespaces", "I2"),
];

/// Rules that stand in for each other: in this world it breaks when all of these
/// go, and holds as long as one of them stays.
pub const NEEDED_TOGETHER: &[Mutant] = &[
    needs(
        &["s8_incarnation", "s8_jump", "g5_life_of_poll"],
        "restore",
        "I2",
    ),
    needs(&["g7_generation", "g5_share"], "generations", "I1"),
    needs(&["g8_start_floor", "g5_cache"], "store-restart", "I1"),
    needs(&["g8_tombstone_stays", "s1_one_snapshot"], "fills", "I2"),
];

/// Rules whose loss alone breaks nothing here, and the world that was most
/// likely to break. They are second lines of defence; the proof does not lean on
/// them.
pub const REDUNDANT: &[Mutant] = &[
    redundant(&["s8_incarnation"], "restore"),
    redundant(&["s8_jump"], "restore"),
    redundant(&["g2_fresh"], "two-feeders"),
    redundant(&["g2_generation"], "two-feeders"),
    redundant(&["g2_cursor"], "two-feeders"),
    redundant(&["g2_grow"], "two-feeders"),
    redundant(&["g5_incarnation"], "generations"),
    redundant(&["g5_bury_again"], "generations"),
    redundant(&["g7_generation"], "generations"),
    redundant(&["g7_revision"], "eviction"),
    redundant(&["g8_start_floor"], "generations"),
    redundant(&["g8_newer_tombstone"], "eviction"),
    redundant(&["g8_tombstone_stays"], "eviction"),
    redundant(&["g8_older"], "eviction"),
];
