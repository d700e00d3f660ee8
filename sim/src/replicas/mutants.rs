//! Which world catches which mutant: the protocol without one rule.

use super::rules::Rules;
use super::world::World;

/// A protocol without some of its rules.
#[derive(Debug, Clone, Copy)]
pub struct Mutant {
    /// The rules that it lacks.
    pub without: &'static [&'static str],
    /// The world that is explored with it.
    pub world: &'static str,
    /// What breaks there.
    pub breaks: &'static str,
    /// Steps of the shortest schedule.
    pub steps: usize,
}

const BOUND: &str = "a rotation has a bound";
const ONE_KEY: &str = "I3: one active key";
const NO_IS_NO: &str = "I4: no is no";

impl Mutant {
    /// The world without those rules; none if either does not exist.
    pub fn world(&self) -> Option<World> {
        Some(World::named(self.world)?.with(Rules::without(self.without)?))
    }
}

const fn needs(
    without: &'static [&'static str],
    world: &'static str,
    breaks: &'static str,
    steps: usize,
) -> Mutant {
    Mutant {
        without,
        world,
        breaks,
        steps,
    }
}

/// Rules of fences, lines and histories.
pub const NEEDED: &[Mutant] = &[
    needs(&["r1_own_line", "r2_own_watch"], "beats", "I2", 12),
    needs(&["r2_from_sending"], "beats", "I2", 14),
    needs(&["r2_own_watch"], "joining", "I2", 7),
    needs(&["r2_marker"], "stale-reads", "I2", 8),
    needs(&["r2_when_leaving"], "beats", "I2", 10),
    needs(&["r2_margin"], "clocks", "I2", 14),
    needs(&["r2_past_fence"], "silent-watch", BOUND, 51),
    needs(&["r2_ended"], "joining-again", "I2", 13),
    needs(&["r3_waits"], "beats", "I2", 8),
    needs(&["r3_own_ttl"], "beats", "I2", 9),
    needs(&["r3_from_arrival"], "beats", "I2", 14),
    needs(&["r3_margin"], "clocks", "I2", 13),
    needs(&["r3_compare"], "beats", "I2", 14),
    needs(&["r3_deleted"], "beats", "I2", 12),
    needs(&["r3_stop"], "planned-stop", "I2", 10),
    needs(&["r4_in_transaction"], "joining", "I2", 9),
    needs(&["r4_repeat"], "joining", "I2", 10),
    needs(&["r4_line_first"], "joining", "I2", 6),
    needs(&["r5_header"], "stale-reads", "I2", 9),
    needs(&["r5_active"], "stale-reads", "I2", 8),
    needs(&["r7_last_revision"], "stale-reads", "I2", 8),
    needs(&["r8_history"], "restored-joining", "I2", 17),
    needs(&["r8_cursor"], "restored-cursors", "I2", 17),
    needs(&["r8_later"], "restored-cursors", "I1", 12),
    needs(&["r8_behind"], "moving", "I1", 7),
    needs(&["r8_wait"], "restored", "I2", 6),
    needs(&["r8_everybody"], "restored-and-rotated", "I2", 6),
    needs(&["r8_longest"], "restored", "I2", 11),
];

/// Rules of attempts, in worlds of theirs.
pub const OF_ATTEMPTS: &[Mutant] = &[
    needs(&["r5_compare"], "races", ONE_KEY, 8),
    needs(&["r6_id"], "repeats", NO_IS_NO, 7),
    needs(&["r6_burned"], "repeats", NO_IS_NO, 6),
    needs(&["r6_unknown"], "repeats", NO_IS_NO, 5),
    needs(&["r6_tick"], "old-ids", NO_IS_NO, 10),
    needs(&["r6_tick_at_birth"], "old-ids", NO_IS_NO, 10),
    needs(&["r6_kept"], "old-ids", NO_IS_NO, 8),
    needs(&["r6_aged"], "old-ids", NO_IS_NO, 9),
];

/// Rules whose loss alone breaks nothing in any world. They are second lines.
pub const REDUNDANT: &[&str] = &["r1_own_line", "r1_newer"];
