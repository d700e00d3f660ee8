//! The rules of docs/protocol.md as switches. With all of them on, the model is the
//! protocol; with one taken out it is a mutant, which a world has to catch.

use crate::switches::rules;

rules! {
    s1_one_snapshot: "State and revision of a resolve come from one snapshot.",
    s1_fresh_snapshot: "That snapshot is begun after the request arrived.",
    s2_durable_first: "The feed learns of a revocation after it is on disk.",
    s2_published: "Nobody waits for the barrier of a revocation that the feed does not know yet.",
    s3_register_then_read: "A poll is registered before its answer is read.",
    s4_head_grants: "A partial page grants no lease.",
    s5_maxima: "Acknowledgement and expiry only grow.",
    s6_acknowledged: "No renewal without an acknowledgement of what was last sent.",
    s7_first: "The first answer waits for the barrier.",
    s7_repeat: "A repeated answer waits for the barrier.",
    s8_incarnation: "A cursor counts only within a known incarnation.",
    s8_jump: "Every start jumps past all revisions used before.",
    s8_mark: "A start refuses a file that is less far than the lock file says.",
    s8_marked_first: "The lock file says how far a change is before its 200 leaves.",
    s9_hold: "After a start every 200 waits out the leases of the earlier life.",
    s9_on_record: "A longer lease is on record before it is granted.",
    s9_cap: "After a restore the cap is waited out.",
    s9_cap_on_record: "And it is on record, for the next start may come before it is over.",
    s10_one_owner: "One process owns the database.",
    margin: "The store waits the margin of drift beyond the lease.",
    g1_sent: "The lease begins when its poll was sent.",
    g1_now: "The deadline is compared with a now of the request itself.",
    g1_monotonic: "Trust ends by the monotonic clock.",
    g1_wall: "Trust ends by the wall clock.",
    g2_fresh: "Control is written by compare-and-swap from a fresh read.",
    g2_generation: "An answer of another generation's poll is thrown away.",
    g2_cursor: "An answer to a poll from another cursor is thrown away.",
    g2_grow: "Applied and deadline only grow within a generation.",
    g2_awaits: "A feeder writes tombstones only while control still awaits its answer.",
    g3_always: "Tombstones are written also for keys that are not in the table.",
    g3_order: "Tombstones are written before the lease is raised and acknowledged.",
    g3_unwritten: "A tombstone that cannot be written: no acknowledgement, no lease.",
    g4_control_first: "A request reads control before the slot.",
    g5_cache: "An active answer is cached only in the generation its call was sent in.",
    g5_share: "An active answer is shared only in the generation its call was sent in.",
    g5_store_revoked: "A revoked answer is always stored.",
    g5_this_history: "Unless it was read before the generation began.",
    g5_bury_now: "It is stored in the generation of now, not in that of its call.",
    g5_bury_again: "If the slot is of a newer generation meanwhile, it is stored anew.",
    g5_life_of_poll: "An answer to a poll from another incarnation begins a generation.",
    g5_incarnation: "An answer of another incarnation ends lease and generation.",
    g6_merged: "The decision is what the slot says after the fill.",
    g7_lease: "Nobody without a lease takes the answer of an earlier call.",
    g7_generation: "Nobody takes the answer of an earlier call of another generation.",
    g7_revision: "Nobody takes an answer older than what was applied at his arrival.",
    g8_evict_floor: "An evicted tombstone raises its slot's floor.",
    g8_start_floor: "The floor of a new slot is where its generation began.",
    g8_newer_tombstone: "A fill that would push out a newer tombstone is too old.",
    g8_tombstone_stays: "A fill never replaces a tombstone, a tie included.",
    g8_older: "An older active answer never replaces a newer one.",
    g8_absent: "Records of another generation count as absent.",
    g10_own_control: "Every namespace has a control record of its own.",
}

impl Rules {
    /// Whether the transitions of the control record are all as they should be.
    pub fn of_control_hold(&self) -> bool {
        self.g2_fresh
            && self.g2_generation
            && self.g2_cursor
            && self.g2_grow
            && self.g5_life_of_poll
            && self.g1_sent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mutant_lacks_what_it_is_named_after() {
        let rules = Rules::without(&["s3_register_then_read"]).unwrap();
        assert!(!rules.s3_register_then_read && rules.s4_head_grants);
        assert_eq!(Rules::without(&[]), Some(Rules::ALL));
        assert_eq!(Rules::without(&["s99"]), None);
    }
}
