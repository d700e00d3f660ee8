//! The decision about a rotation (S11, S12), without a database or a
//! clock: facts and `now` in, a verdict out.

use std::time::Duration;

use rekey_protocol::{Digest, ResolvedState, UserId};

use crate::clock::UnixMillis;

/// The longest `retry_after` of the documented API, in seconds.
const RETRY_AFTER_MAX: u64 = 3600;

/// How long a user waits between two rotations: one second to one hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RotationLimit(Duration);

/// The interval is out of range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a rotation interval is 1s to 1h: the documented API never tells a client to wait longer than an hour"
)]
pub struct BadInterval;

impl RotationLimit {
    /// The documented hour.
    pub const HOUR: Self = Self(Duration::from_secs(RETRY_AFTER_MAX));

    /// Checks the range.
    pub fn new(interval: Duration) -> Result<Self, BadInterval> {
        let allowed = Duration::from_secs(1)..=Self::HOUR.0;
        let fits = allowed.contains(&interval);
        fits.then_some(Self(interval)).ok_or(BadInterval)
    }

    /// As users are told of it: in whole seconds, rounded up.
    pub fn told(self) -> rekey_protocol::RotationInterval {
        let seconds = self.0.as_millis().div_ceil(1000);
        u64::try_from(seconds).unwrap_or(RETRY_AFTER_MAX).into()
    }

    /// Whole seconds, rounded up, from 1 to 3600, until the user may rotate;
    /// `None`: at once.
    pub fn retry_after(self, last: Option<UnixMillis>, now: UnixMillis) -> Option<u64> {
        let left = self.0.checked_sub(now.since(last?))?;
        let seconds = left.as_millis().div_ceil(1000);
        let seconds = u64::try_from(seconds).unwrap_or(RETRY_AFTER_MAX);
        (seconds > 0).then(|| seconds.clamp(1, RETRY_AFTER_MAX))
    }
}

/// What the store knows about the old key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldKey {
    /// Active or revoked.
    pub state: ResolvedState,
    /// Whose it is.
    pub user: UserId,
    /// The revision that last changed it.
    pub revision: u64,
    /// When its user last rotated.
    pub last_rotated: Option<UnixMillis>,
}

/// The answer on record under a rotation id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Of the key that it was to replace.
    pub old_digest: Digest,
    /// Of the key that it was to make: a repeat with another one is a conflict.
    pub new_digest: Digest,
    /// What was answered.
    pub outcome: RecordedOutcome,
}

/// What was answered under a rotation id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordedOutcome {
    /// It was committed.
    Rotated {
        /// When.
        at: UnixMillis,
        /// Whose key it is.
        user: UserId,
        /// The revision of the change.
        revision: u64,
    },
    /// It was refused and burned.
    Burned(Refusal),
}

/// Why a rotation is not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The store never had the old key.
    UnknownKey,
    /// The old key was replaced or revoked before, at this revision.
    Revoked(u64),
    /// Too early; whole seconds to wait.
    RateLimited(u64),
    /// The new key is known already, in whatever state.
    NewKeyExists,
}

/// The facts, all from one snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// What is on record under this rotation id.
    pub recorded: Option<Recorded>,
    /// The old key.
    pub old: Option<OldKey>,
    /// Whether a key with the new digest exists.
    pub new_exists: bool,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Answer as before; change nothing.
    Repeat(RecordedOutcome),
    /// This id was used with other digests; change nothing.
    Conflict,
    /// Refuse. `burn`: record it, so that an earlier attempt that was lost on
    /// the way can never commit.
    Refuse {
        /// Why.
        refusal: Refusal,
        /// Whether to record it.
        burn: bool,
    },
    /// Revoke the old key, make the new one the user's.
    Commit(OldKey),
}

/// What was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// Counted from 1.
    pub attempt: u32,
    /// The key that was presented.
    pub old_digest: Digest,
    /// The key that is to replace it.
    pub new_digest: Digest,
}

/// Decides in the order of S11: the id on record, the old key's state, the
/// rate limit.
pub fn decide(asked: &Asked, facts: Facts, now: UnixMillis, interval: RotationLimit) -> Verdict {
    if let Some(recorded) = facts.recorded {
        let same =
            recorded.old_digest == asked.old_digest && recorded.new_digest == asked.new_digest;
        return match recorded.outcome {
            _ if !same => Verdict::Conflict,
            // The seconds have gone on counting; the refusal stands.
            RecordedOutcome::Burned(Refusal::RateLimited(_)) => {
                let last = facts.old.and_then(|old| old.last_rotated);
                let seconds = interval.retry_after(last, now).unwrap_or(1);
                Verdict::Repeat(RecordedOutcome::Burned(Refusal::RateLimited(seconds)))
            }
            outcome => Verdict::Repeat(outcome),
        };
    }
    let refusal = match facts.old {
        None => Refusal::UnknownKey,
        Some(old) if old.state == ResolvedState::Revoked => Refusal::Revoked(old.revision),
        Some(old) => match interval.retry_after(old.last_rotated, now) {
            Some(seconds) => Refusal::RateLimited(seconds),
            None if facts.new_exists => Refusal::NewKeyExists,
            None => return Verdict::Commit(old),
        },
    };
    Verdict::Refuse {
        refusal,
        burn: asked.attempt >= 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Digest = Digest::from_bytes([1; 32]);
    const NEW: Digest = Digest::from_bytes([2; 32]);
    const NOW: UnixMillis = UnixMillis(10_000_000_000);
    const HOUR: RotationLimit = RotationLimit::HOUR;

    fn asked(attempt: u32) -> Asked {
        Asked {
            attempt,
            old_digest: OLD,
            new_digest: NEW,
        }
    }

    fn key(state: ResolvedState, last_rotated: Option<UnixMillis>) -> Option<OldKey> {
        Some(OldKey {
            state,
            user: "u".parse().unwrap(),
            revision: 7,
            last_rotated,
        })
    }

    fn facts(old: Option<OldKey>) -> Facts {
        Facts {
            recorded: None,
            old,
            new_exists: false,
        }
    }

    fn rotated() -> RecordedOutcome {
        RecordedOutcome::Rotated {
            at: UnixMillis(5),
            user: "u".parse().unwrap(),
            revision: 8,
        }
    }

    fn recorded(outcome: RecordedOutcome) -> Option<Recorded> {
        Some(Recorded {
            old_digest: OLD,
            new_digest: NEW,
            outcome,
        })
    }

    fn decided(attempt: u32, facts: Facts) -> Verdict {
        decide(&asked(attempt), facts, NOW, HOUR)
    }

    #[test]
    fn s11_a_known_id_comes_before_everything_else() {
        // The old key is revoked by then, and the hour has begun: still 200.
        let mut facts = facts(key(ResolvedState::Revoked, Some(NOW)));
        facts.recorded = recorded(rotated());
        facts.new_exists = true;
        assert_eq!(decided(2, facts.clone()), Verdict::Repeat(rotated()));
        let mut other = asked(2);
        other.new_digest = Digest::from_bytes([3; 32]);
        assert_eq!(decide(&other, facts, NOW, HOUR), Verdict::Conflict);
    }

    #[test]
    fn s11_a_revoked_key_comes_before_the_rate_limit() {
        let verdict = decided(1, facts(key(ResolvedState::Revoked, Some(NOW))));
        let refusal = Refusal::Revoked(7);
        assert_eq!(
            verdict,
            Verdict::Refuse {
                refusal,
                burn: false
            }
        );
    }

    #[test]
    fn s11_only_later_attempts_burn_whatever_the_refusal() {
        let mut exists = facts(key(ResolvedState::Active, None));
        exists.new_exists = true;
        for facts in [
            facts(None),
            facts(key(ResolvedState::Revoked, None)),
            facts(key(ResolvedState::Active, Some(NOW))),
            exists,
        ] {
            for attempt in 1..=3 {
                let verdict = decided(attempt, facts.clone());
                let Verdict::Refuse { burn, .. } = verdict else {
                    panic!("{verdict:?}");
                };
                assert_eq!(burn, attempt > 1);
            }
        }
    }

    #[test]
    fn s11_a_burned_id_never_commits() {
        for refusal in [
            Refusal::UnknownKey,
            Refusal::Revoked(3),
            Refusal::NewKeyExists,
        ] {
            let mut facts = facts(key(ResolvedState::Active, None));
            facts.recorded = recorded(RecordedOutcome::Burned(refusal));
            let verdict = decided(1, facts);
            assert_eq!(verdict, Verdict::Repeat(RecordedOutcome::Burned(refusal)));
        }
        // Not even when the hour is over; then the least wait is told.
        let mut over = facts(key(ResolvedState::Active, Some(UnixMillis(0))));
        over.recorded = recorded(RecordedOutcome::Burned(Refusal::RateLimited(9)));
        let told = RecordedOutcome::Burned(Refusal::RateLimited(1));
        assert_eq!(decided(1, over), Verdict::Repeat(told));
    }

    #[test]
    fn an_active_key_rotates_unless_the_new_one_exists() {
        let mut facts = facts(key(ResolvedState::Active, None));
        assert!(matches!(decided(1, facts.clone()), Verdict::Commit(_)));
        facts.new_exists = true;
        let refusal = Refusal::NewKeyExists;
        assert_eq!(
            decided(1, facts),
            Verdict::Refuse {
                refusal,
                burn: false
            }
        );
    }

    #[test]
    fn s12_retry_after_is_rounded_up_and_clamped() {
        let after = |millis: i64| HOUR.retry_after(Some(UnixMillis(NOW.0 - millis)), NOW);
        assert_eq!(after(0), Some(3600));
        assert_eq!(after(1), Some(3600));
        assert_eq!(after(1000), Some(3599));
        assert_eq!(after(3_599_001), Some(1));
        assert_eq!(after(3_600_000), None);
        assert_eq!(after(9_999_999), None);
        // A clock that was set back: never more than the interval.
        assert_eq!(after(-86_400_000), Some(3600));
        assert_eq!(HOUR.retry_after(None, NOW), None);
    }

    #[test]
    fn an_interval_is_a_second_to_an_hour() {
        let new = |millis| RotationLimit::new(Duration::from_millis(millis));
        assert!(new(1000).is_ok() && new(3_600_000).is_ok());
        assert!(new(999).is_err() && new(3_600_001).is_err());
        assert_eq!(new(1_001).unwrap().told(), 2.into());
        assert_eq!(HOUR.told(), rekey_protocol::RotationInterval::HOUR);
        let second = new(1000).unwrap();
        assert_eq!(second.retry_after(Some(NOW), NOW), Some(1));
    }
}
