//! What the attempts of one rotation may have done to the old key (X1):
//! the one thing that a client must never be told wrongly.

use crate::request::refusal::ApiRefusal;

/// What is certain of one attempt that came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailedAttempt {
    /// It changed nothing at the store.
    NothingChanged,
    /// It may have changed something.
    Unclear,
}

/// A rotation's attempts so far. A plain value, so that the model checker can
/// run it as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Attempts {
    /// Whether the old key was known to be dead from the start: then only an
    /// earlier rotation's answer is asked for.
    was_dead: bool,
    /// Whether an attempt may have reached the store with an unknown end.
    unclear: bool,
}

impl Attempts {
    /// Before the first attempt to replace a key that is active, as far as is known.
    pub fn for_active_key() -> Self {
        Self {
            was_dead: false,
            unclear: false,
        }
    }

    /// Before the first attempt to get the answer of an earlier rotation, whose old
    /// key is known to be revoked.
    pub fn for_revoked_key() -> Self {
        Self {
            was_dead: true,
            unclear: false,
        }
    }

    /// Whether the old key was known to be dead from the start.
    pub fn was_dead(self) -> bool {
        self.was_dead
    }

    /// An attempt came to nothing. Returns the end of the rotation, or none if it has
    /// to be asked for again, under the same id.
    pub fn failed(&mut self, failure: FailedAttempt) -> Option<ApiRefusal> {
        self.unclear |= failure == FailedAttempt::Unclear;
        (!self.unclear).then(|| self.out_of_time())
    }

    /// What the client is told if there is no attempt any more.
    pub fn out_of_time(self) -> ApiRefusal {
        // Where the old key is dead already, an earlier request has done it, and
        // "nothing was changed" would mislead: what helps is to ask again.
        if self.unclear || self.was_dead {
            ApiRefusal::RotationUnconfirmed
        } else {
            ApiRefusal::KeyStoreUnavailable
        }
    }
}
