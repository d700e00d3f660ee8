//! Which world catches which mutant.

/// A protocol without some of its rules.
pub struct Mutant {
    /// The rules that it lacks.
    pub without: &'static [&'static str],
    /// The world that is explored with it.
    pub world: &'static str,
    /// The invariant that breaks there; none: it is redundant.
    pub breaks: Option<&'static str>,
}

const fn breaks(rule: &'static [&'static str], world: &'static str, what: &'static str) -> Mutant {
    Mutant { without: rule, world, breaks: Some(what) }
}

/// All of them.
pub const MUTANTS: &[Mutant] = &[
    breaks(&["s5_maxima"], "lease-lengths", "I2"),
    breaks(&["s8_jump", "s8_incarnation", "g5_life_of_poll"], "restore", "I2"),
    breaks(&["s9_on_record"], "two-leases", "I2"),
    breaks(&["g2_fresh"], "two-feeders", "I2"),
    breaks(&["g2_fresh", "g5_life_of_poll"], "two-feeders", "I2"),
    breaks(&["g2_generation"], "two-feeders", "I2"),
    breaks(&["g2_cursor"], "two-feeders", "I2"),
    breaks(&["g2_grow"], "two-feeders", "I2"),
    breaks(&["g2_cursor", "g2_generation", "g2_grow"], "two-feeders", "I2"),
    breaks(&["g2_awaits"], "frozen-feeder", "I1"),
    breaks(&["g3_always"], "cold", "I2"),
    breaks(&["g5_cache"], "generations", "I1"),
    breaks(&["g5_share"], "generations", "I1"),
    breaks(&["g5_share"], "evicted-generations", "I1"),
    breaks(&["g5_bury_now"], "generations", "I1"),
    breaks(&["g5_bury_again"], "generations", "I1"),
    breaks(&["g5_life_of_poll"], "generations", "I1"),
    breaks(&["g5_life_of_poll"], "backup", "recovers"),
    breaks(&["g5_incarnation"], "backup", "recovers"),
    breaks(&["g5_incarnation"], "generations", "I1"),
    breaks(&["g6_merged"], "eviction", "I1"),
    breaks(&["g7_lease"], "fills", "I2"),
    breaks(&["g7_generation"], "generations", "I2"),
    breaks(&["g7_generation", "g5_share"], "generations", "I2"),
    breaks(&["g7_revision"], "eviction", "I2"),
    breaks(&["g8_evict_floor"], "eviction", "I2"),
    breaks(&["g8_start_floor"], "generations", "I2"),
    breaks(&["g8_newer_tombstone"], "eviction", "I2"),
    breaks(&["g8_tombstone_stays"], "eviction", "I2"),
    breaks(&["g8_older"], "eviction", "I2"),
    breaks(&["g8_absent"], "two-feeders", "I2"),
    breaks(&["g10_own_control"], "namespaces", "I2"),
];
