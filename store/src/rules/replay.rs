//! The decision about a repeated request (X3, X4), without a database, a
//! clock or cryptography: whether the rotation that replaced a key may be answered
//! again, and to this request.

use std::time::Duration;

use rekey_protocol::REPLAY_WINDOW_MS;

use crate::clock::UnixMillis;

/// How long after the rotation it may be.
const WINDOW: Duration = Duration::from_millis(REPLAY_WINDOW_MS as u64);
/// How long after the new key was used: its client has it, and whoever still asks
/// with the old one may be somebody else.
const AFTER_USE: Duration = Duration::from_secs(30);
/// Failed openings that destroy a record.
pub const MOST_FAILURES: u32 = 5;

/// What is kept of a rotation, as far as the decision goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// When it was committed.
    pub committed: UnixMillis,
    /// When the first client's request with the new key came to the store.
    pub used: Option<UnixMillis>,
    /// Openings that failed.
    pub failures: u32,
    /// Whether the key that it made is still active, in the same snapshot.
    pub new_is_active: bool,
}

/// What a request gets whose key was replaced by the rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// Nothing more than the news that its key is dead.
    Closed,
    /// The same, though a request with the right proof would get the record.
    Unproven,
    /// It is of the rotation's client: the record.
    Granted,
    /// It is not, or of a client that has mixed up its Idempotency-Keys.
    Failed {
        /// Whether it was the last try.
        last: bool,
    },
}

impl Kept {
    /// Whether anybody may get it (X4).
    pub fn lives(&self, now: UnixMillis) -> bool {
        let used_up = |used| now.since(used) >= AFTER_USE;
        self.new_is_active
            && self.failures < MOST_FAILURES
            && now.since(self.committed) < WINDOW
            && !self.used.is_some_and(used_up)
    }
}

/// Decides. `proof`: whether the request's is that of the record; none if it bore
/// none.
pub fn opening(kept: Option<&Kept>, proof: Option<bool>, now: UnixMillis) -> Opening {
    let Some(kept) = kept.filter(|kept| kept.lives(now)) else {
        return Opening::Closed;
    };
    match proof {
        None => Opening::Unproven,
        Some(true) => Opening::Granted,
        Some(false) => Opening::Failed {
            last: kept.failures + 1 >= MOST_FAILURES,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MADE: UnixMillis = UnixMillis(1_000_000);

    fn kept() -> Kept {
        Kept {
            committed: MADE,
            used: None,
            failures: 0,
            new_is_active: true,
        }
    }

    fn granted(kept: Kept, seconds: u64) -> bool {
        let now = MADE.plus(Duration::from_secs(seconds));
        opening(Some(&kept), Some(true), now) == Opening::Granted
    }

    #[test]
    fn x4_a_record_lives_ten_minutes() {
        assert!(granted(kept(), 0));
        assert!(granted(kept(), 599));
        assert!(!granted(kept(), 600));
    }

    #[test]
    fn x4_or_half_a_minute_after_the_new_key_was_used() {
        let used = Kept {
            used: Some(MADE.plus(Duration::from_secs(100))),
            ..kept()
        };
        assert!(granted(used, 100));
        assert!(granted(used, 129));
        assert!(!granted(used, 130));
    }

    #[test]
    fn x4_or_until_the_new_key_is_changed() {
        let changed = Kept {
            new_is_active: false,
            ..kept()
        };
        assert!(!granted(changed, 1));
    }

    #[test]
    fn x4_or_until_the_fifth_failure() {
        let tried = |failures| {
            let kept = Kept { failures, ..kept() };
            opening(Some(&kept), Some(false), MADE)
        };
        assert_eq!(tried(0), Opening::Failed { last: false });
        assert_eq!(tried(3), Opening::Failed { last: false });
        assert_eq!(tried(4), Opening::Failed { last: true });
        assert_eq!(tried(5), Opening::Closed);
        let kept = Kept {
            failures: MOST_FAILURES,
            ..kept()
        };
        assert!(!granted(kept, 1));
    }

    #[test]
    fn without_a_proof_nothing_is_given_and_nothing_counted() {
        assert_eq!(opening(Some(&kept()), None, MADE), Opening::Unproven);
        assert_eq!(opening(None, None, MADE), Opening::Closed);
        assert_eq!(opening(None, Some(true), MADE), Opening::Closed);
    }
}
