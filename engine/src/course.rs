//! What the attempts of one rotation may have done to the old key (X1):
//! the one thing that a client must never be told wrongly.

use crate::refusal::Refusal;

/// A rotation's attempts so far. A plain value, so that the model checker can
/// run it as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Course {
    /// Whether the old key was known to be dead from the start: then only an
    /// earlier rotation's answer is asked for.
    was_dead: bool,
    /// Whether an attempt may have reached the store with an unknown end.
    unclear: bool,
}

impl Course {
    /// Before the first attempt.
    pub fn new(was_dead: bool) -> Self {
        Self {
            was_dead,
            unclear: false,
        }
    }

    /// Whether the old key was known to be dead from the start.
    pub fn was_dead(self) -> bool {
        self.was_dead
    }

    /// An attempt came to nothing; `nothing_changed`: it is certain that this one
    /// did nothing. Returns the end of the rotation, or none if it has to be
    /// asked for again, under the same id.
    pub fn failed(&mut self, nothing_changed: bool) -> Option<Refusal> {
        self.unclear |= !nothing_changed;
        (!self.unclear).then(|| self.out_of_time())
    }

    /// What the client is told if there is no attempt any more.
    pub fn out_of_time(self) -> Refusal {
        // Where the old key is dead already, an earlier request has done it, and
        // "nothing was changed" would mislead: what helps is to ask again.
        if self.unclear || self.was_dead {
            Refusal::RotationUnconfirmed
        } else {
            Refusal::KeyStoreUnavailable
        }
    }
}
