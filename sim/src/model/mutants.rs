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
    breaks(&["s1_one_snapshot"], "eviction", "I2"),
    breaks(&["s1_fresh_snapshot"], "fills", "I2"),
    breaks(&["s2_durable_first"], "store-restart", "no lock-out"),
    breaks(&["s2_published"], "fills", "I2"),
    breaks(&["s3_register_then_read"], "fills", "I2"),
    breaks(&["s4_head_grants"], "pages", "I2"),
    breaks(&["s5_maxima"], "two-leases", "I2"),
    breaks(&["s6_acknowledged"], "one-way", "the barrier has a bound"),
    breaks(&["s7_first"], "fills", "I2"),
    breaks(&["s7_repeat"], "fills", "I2"),
    breaks(&["s8_incarnation"], "restore", "I2"),
    breaks(&["s8_jump"], "restore", "I2"),
    breaks(&["s9_hold"], "store-restart", "I2"),
    breaks(&["s9_on_record"], "two-leases", "I2"),
    breaks(&["s9_cap"], "restore", "I2"),
    breaks(&["s10_one_owner"], "store-restart", "I2"),
    breaks(&["margin"], "drift", "I2"),
    breaks(&["g1_sent"], "fills", "I2"),
    breaks(&["g1_now"], "fills", "I2"),
    breaks(&["g1_monotonic"], "set-back", "I2"),
    breaks(&["g1_wall"], "suspended", "I2"),
    breaks(&["g2_fresh"], "two-feeders", "I2"),
    breaks(&["g2_generation"], "two-feeders", "I2"),
    breaks(&["g2_cursor"], "two-feeders", "I2"),
    breaks(&["g2_grow"], "two-feeders", "I2"),
    breaks(&["g2_awaits"], "two-feeders", "I1"),
    breaks(&["g3_always"], "fills", "I2"),
    breaks(&["g3_order"], "fills", "I2"),
    breaks(&["g3_unwritten"], "unwritable", "I2"),
    breaks(&["g4_control_first"], "fills", "I2"),
    breaks(&["g5_cache"], "store-restart", "I2"),
    breaks(&["g5_share"], "store-restart", "I2"),
    breaks(&["g5_store_revoked"], "fills", "I1"),
    breaks(&["g5_bury_now"], "store-restart", "I1"),
    breaks(&["g5_bury_again"], "store-restart", "I1"),
    breaks(&["g5_life_of_poll"], "store-restart", "I1"),
    breaks(&["g5_incarnation"], "restore", "recovers"),
    breaks(&["g6_merged"], "eviction", "I1"),
    breaks(&["g7_lease"], "fills", "I2"),
    breaks(&["g7_generation"], "store-restart", "I2"),
    breaks(&["g7_revision"], "eviction", "I2"),
    breaks(&["g8_evict_floor"], "eviction", "I2"),
    breaks(&["g8_start_floor"], "eviction", "I2"),
    breaks(&["g8_newer_tombstone"], "eviction", "I2"),
    breaks(&["g8_tombstone_stays"], "eviction", "I2"),
    breaks(&["g8_older"], "eviction", "I2"),
    breaks(&["g8_absent"], "store-restart", "I2"),
    breaks(&["g10_own_control"], "namespaces", "I2"),
];
