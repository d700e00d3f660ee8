//! Which world catches which mutant: the protocol without one rule.

use super::rules::Rules;
use super::world::World;

/// A protocol without one of its rules.
#[derive(Debug, Clone, Copy)]
pub struct Mutant {
    /// The rule that it lacks.
    pub without: &'static str,
    /// The world that is explored with it.
    pub world: &'static str,
    /// What breaks there.
    pub breaks: &'static str,
}

impl Mutant {
    /// The world without that rule; none if either does not exist.
    pub fn world(&self) -> Option<World> {
        Some(World::named(self.world)?.with(Rules::without(&[self.without])?))
    }
}

const fn needs(without: &'static str, world: &'static str, breaks: &'static str) -> Mutant {
    Mutant {
        without,
        world,
        breaks,
    }
}

const BEHIND: &str = "I2: told behind the barrier";
const NO_IS_NO: &str = "no is no";
const ONE_KEY: &str = "told the one active key";
const TURNED_AWAY: &str = "I4: not turned away";
const LOCKED_OUT: &str = "I4: nobody is locked out";
const THIEF: &str = "nothing for a thief";

/// Every rule.
pub const MUTANTS: &[Mutant] = &[
    needs("s7_repeat", "no-header", BEHIND),
    needs("s7_replay", "lost-answers", BEHIND),
    needs("s11_known_id", "no-header", NO_IS_NO),
    needs("s11_burn", "hour", NO_IS_NO),
    needs("x1_unclear", "no-header", NO_IS_NO),
    needs("x1_remembered", "no-header", NO_IS_NO),
    needs("x1_same_id", "no-header", NO_IS_NO),
    needs("x3_handed_out", "lost-answers", TURNED_AWAY),
    needs("x3_burned", "lost-replays", TURNED_AWAY),
    needs("x4_new_key_active", "replaced", ONE_KEY),
    needs("x4_failures", "thief", THIEF),
    needs("x4_proof", "thief", THIEF),
    needs("x5_not_final", "lost-answers", TURNED_AWAY),
    needs("x6_record_first", "lost-answers", LOCKED_OUT),
    needs("x6_committed", "race", LOCKED_OUT),
];
