//! One replacement of a key, from the first attempt to the last (X1).
//!
//! The one question it must never answer wrongly is whether anything may have
//! happened at the store. "Nothing happened" is said only where no attempt can
//! have left; everything else is asked again under the same id, and ends in
//! "unconfirmed" if patience runs out.

use rekey_protocol::{
    ApiKey, Client, CreatedAt, Digest, Replay, Replayed, RotateRequest, RotationId,
};

use crate::RequestId;
use crate::course::Course;
use crate::refusal::Refusal;
use crate::replay::{Pair, SALT_BYTES};
use crate::store_call::{self, CallId, Decided, ROTATE_TIMEOUT_MS, StoreFault};

/// How long a rotation is pursued, in milliseconds: longer than the store may
/// hold an answer for the longest lease with its margin, also where the last
/// pause would reach beyond it.
pub const PATIENCE_MS: u64 = ROTATE_TIMEOUT_MS as u64 + LONGEST_PAUSE_MS + 2 * LEAST_TIMEOUT_MS;

/// No attempt is started with less time than this, in milliseconds.
const LEAST_TIMEOUT_MS: u64 = 100;
/// Pause before the second attempt, in milliseconds; it doubles with each.
const FIRST_PAUSE_MS: u64 = 50;
const LONGEST_PAUSE_MS: u64 = 1_600;

/// What a request to the endpoint is after.
pub struct Wish {
    /// Who asks.
    pub client: Client,
    /// What opens the answer again, if the request may be repeated.
    pub pair: Option<Pair>,
}

/// The key that a rotation is to replace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OldKey {
    /// By which the store knows it.
    pub digest: Digest,
    /// Whether it was known to be dead when the request came: then only an earlier
    /// rotation's answer is asked for.
    pub was_dead: bool,
}

/// What is drawn at random for a rotation.
pub struct Drawn {
    /// Its name over all attempts.
    pub id: RotationId,
    /// The key that it is to make.
    pub new: ApiKey,
    /// The salt of its seal.
    pub salt: [u8; SALT_BYTES],
}

/// A rotation under way.
pub struct Rotation {
    /// Who waits for it; none once the client has left.
    pub request: Option<RequestId>,
    id: RotationId,
    old: Digest,
    new: ApiKey,
    wish: Box<Wish>,
    /// Made once: every attempt carries the same.
    replay: Option<Box<Replay>>,
    course: Course,
    began: u64,
    attempts: u32,
    phase: Phase,
}

#[derive(PartialEq, Eq)]
enum Phase {
    /// To be sent (again) at this time.
    Due(u64),
    /// Sent, and lost at this time if there is no word of it.
    Asked(CallId, u64),
}

/// What becomes of a rotation after an event.
pub enum Progress {
    /// Wait for the next event.
    Pending,
    /// The new key may be shown.
    Rotated {
        /// The key that is active now.
        key: ApiKey,
        /// When it was made.
        created_at: CreatedAt,
        /// The revision of the change.
        revision: u64,
        /// Whether by an earlier request of the same client (X3).
        replayed: bool,
    },
    /// It ends with a refusal.
    Refused {
        /// What the client is told.
        refusal: Refusal,
        /// The revision that revoked the old key and whether its rotation may
        /// still be answered again, where the store told it.
        revoked_at: Option<(u64, bool)>,
    },
    /// Nobody waits for it any more and nothing is to be done.
    Dropped,
}

impl Rotation {
    /// A rotation that is due at once, for a request that came at `began`.
    pub fn new(
        request: RequestId,
        OldKey { digest, was_dead }: OldKey,
        wish: Box<Wish>,
        drawn: Drawn,
        began: u64,
    ) -> Self {
        let Drawn { id, new, salt } = drawn;
        let replay = wish.pair.as_ref();
        let replay = replay.and_then(|pair| pair.replay(&new, id, salt));
        let phase = Phase::Due(began);
        Self {
            request: Some(request),
            id,
            old: digest,
            new,
            wish,
            replay: replay.map(Box::new),
            course: Course::new(was_dead),
            began,
            attempts: 0,
            phase,
        }
    }

    /// The digest of the key that is replaced.
    pub fn old_digest(&self) -> Digest {
        self.old
    }

    /// Whether the old key was known to be dead from the start.
    pub fn was_dead(&self) -> bool {
        self.course.was_dead()
    }

    /// Whether the request bore what its answer can be asked for again with.
    pub fn is_replayable(&self) -> bool {
        self.replay.is_some()
    }

    /// Whether `call` is its attempt under way.
    pub fn asked(&self, call: CallId) -> bool {
        matches!(self.phase, Phase::Asked(asked, _) if asked == call)
    }

    /// The next attempt and its timeout in milliseconds, if one is due. It
    /// counts as sent; where it was not, [`Self::failed`] is told.
    pub fn next_attempt(&mut self, call: CallId, now: u64) -> Option<(RotateRequest, u32)> {
        let due = matches!(self.phase, Phase::Due(at) if at <= now);
        if !due || !self.has_time(now) {
            return None;
        }
        self.attempts += 1;
        let left = (self.began + PATIENCE_MS).saturating_sub(now);
        let timeout = u32::try_from(left)
            .unwrap_or(u32::MAX)
            .min(ROTATE_TIMEOUT_MS);
        self.phase = Phase::Asked(call, store_call::lost_at(now, timeout));
        let request = RotateRequest {
            rotation_id: self.id,
            attempt: self.attempts,
            old_digest: self.old,
            new_digest: self.new.digest(),
            hint: self.new.hint().to_owned(),
            replay: self.replay.clone(),
            client: self.wish.client.clone(),
            patience_ms: Some(store_call::patience_ms(timeout)),
        };
        Some((request, timeout))
    }

    /// How many attempts were made.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// The store decided.
    pub fn decided(&self, decided: Decided) -> Progress {
        let refused = |refusal, revoked_at| Progress::Refused {
            refusal,
            revoked_at,
        };
        match decided {
            Decided::Rotated {
                created_at,
                revision,
                new_digest,
            } => {
                // S11: another attempt's key would be a key that nobody has.
                if new_digest == self.new.digest() {
                    Progress::Rotated {
                        key: self.new.clone(),
                        created_at,
                        revision,
                        replayed: false,
                    }
                } else {
                    refused(Refusal::RotationUnconfirmed, Some((revision, false)))
                }
            }
            // Had an earlier attempt of ours won, the store would have said
            // so under our id (S11): another request did. If it was of this
            // client, with this Idempotency-Key, its answer is this one's (X3).
            Decided::Revoked {
                revision,
                replayable,
                replayed,
            } => match replayed.and_then(|replayed| self.opened(*replayed)) {
                Some((key, created_at)) => Progress::Rotated {
                    key,
                    created_at,
                    revision,
                    replayed: true,
                },
                None => refused(Refusal::ApiKeyRevoked, Some((revision, replayable))),
            },
            Decided::RateLimited {
                retry_after,
                interval,
            } => {
                let too_early = Refusal::RateLimited {
                    retry_after,
                    interval,
                };
                refused(too_early, None)
            }
            Decided::Unknown => refused(Refusal::InvalidApiKey, None),
        }
    }

    fn opened(&self, replayed: Replayed) -> Option<(ApiKey, CreatedAt)> {
        let key = self.wish.pair.as_ref()?.open(&replayed)?;
        Some((key, replayed.created_at))
    }

    /// The attempt under way came to nothing.
    pub fn failed(&mut self, fault: StoreFault, now: u64) -> Progress {
        if let Some(refusal) = self.course.failed(fault.nothing_changed()) {
            let revoked_at = None;
            return Progress::Refused {
                refusal,
                revoked_at,
            };
        }
        // A client that has left cannot be given a key: to ask again could
        // only take away its old one.
        if self.request.is_none() {
            return Progress::Dropped;
        }
        let doublings = self.attempts.saturating_sub(1).min(16);
        let pause = (FIRST_PAUSE_MS << doublings).min(LONGEST_PAUSE_MS);
        self.phase = Phase::Due(now + pause);
        self.tick(now + pause)
    }

    /// Time passed: ends a rotation whose patience is over between attempts, and
    /// an attempt on which the host's word is overdue.
    pub fn tick(&mut self, now: u64) -> Progress {
        match self.phase {
            Phase::Asked(_, lost_at) if now >= lost_at => self.failed(StoreFault::NoAnswer, now),
            Phase::Due(_) if !self.has_time(now) => Progress::Refused {
                refusal: self.course.out_of_time(),
                revoked_at: None,
            },
            _ => Progress::Pending,
        }
    }

    /// The client left. A rotation that was never sent is over; one that was
    /// goes on, for its outcome tells that the old key is dead.
    pub fn client_left(&mut self) -> Progress {
        self.request = None;
        match self.phase {
            Phase::Due(_) => Progress::Dropped,
            Phase::Asked(..) => Progress::Pending,
        }
    }

    fn has_time(&self, now: u64) -> bool {
        now + LEAST_TIMEOUT_MS <= self.began + PATIENCE_MS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rekey_protocol::{ChecksumSecrets, ErrorCode};

    const REQUEST: RequestId = RequestId(1);

    fn key() -> ApiKey {
        ChecksumSecrets::parse("0123456789abcdef")
            .unwrap()
            .issue(&[5; 64])
            .unwrap()
    }

    fn rotation_of(was_dead: bool) -> Rotation {
        let wish = Wish {
            client: Client::default(),
            pair: None,
        };
        let drawn = Drawn {
            id: RotationId([1; 16]),
            new: key(),
            salt: [0; SALT_BYTES],
        };
        let old = OldKey {
            digest: Digest::of(b"old"),
            was_dead,
        };
        Rotation::new(REQUEST, old, Box::new(wish), drawn, 1_000)
    }

    fn rotation() -> Rotation {
        rotation_of(false)
    }

    fn refusal(progress: Progress) -> Option<Refusal> {
        match progress {
            Progress::Refused { refusal, .. } => Some(refusal),
            _ => None,
        }
    }

    fn at() -> CreatedAt {
        CreatedAt::try_from("2025-01-31T16:00:00Z".to_owned()).unwrap()
    }

    #[test]
    fn x1_what_never_left_is_unavailable() {
        for fault in [
            StoreFault::NotSent,
            StoreFault::Unauthorized,
            StoreFault::Refused(ErrorCode::Unavailable),
        ] {
            let mut rotation = rotation();
            assert!(rotation.next_attempt(CallId(1), 1_000).is_some());
            assert_eq!(
                refusal(rotation.failed(fault, 1_001)),
                Some(Refusal::KeyStoreUnavailable)
            );
        }
    }

    #[test]
    fn x1_nothing_happened_is_not_said_of_a_key_that_was_dead_before() {
        let mut rotation = rotation_of(true);
        assert!(rotation.next_attempt(CallId(1), 1_000).is_some());
        assert_eq!(
            refusal(rotation.failed(StoreFault::NotSent, 1_001)),
            Some(Refusal::RotationUnconfirmed)
        );
    }

    #[test]
    fn x1_what_may_have_left_is_asked_again_under_the_same_id() {
        let mut rotation = rotation();
        let (first, _) = rotation.next_attempt(CallId(1), 1_000).unwrap();
        assert!(matches!(
            rotation.failed(StoreFault::NoAnswer, 1_001),
            Progress::Pending
        ));
        assert!(
            rotation.next_attempt(CallId(2), 1_001).is_none(),
            "not before its pause"
        );
        let (second, _) = rotation.next_attempt(CallId(2), 1_100).unwrap();
        assert_eq!((first.attempt, second.attempt), (1, 2));
        assert_eq!(first.rotation_id, second.rotation_id);
        assert_eq!(first.new_digest, second.new_digest);
        // A certain failure of the second says nothing of the first.
        let progress = rotation.failed(StoreFault::NotSent, 1_101);
        assert!(matches!(progress, Progress::Pending));
    }

    #[test]
    fn x1_patience_outlasts_the_longest_lease_and_ends_unconfirmed() {
        let mut rotation = rotation();
        let mut now = 1_000;
        let ended = loop {
            if let Some((_, timeout)) = rotation.next_attempt(CallId(1), now) {
                assert!(now + u64::from(timeout) <= 1_000 + PATIENCE_MS);
                now += 1;
                if let Some(refusal) = refusal(rotation.failed(StoreFault::NoAnswer, now)) {
                    break refusal;
                }
            }
            now += 10;
        };
        assert_eq!(ended, Refusal::RotationUnconfirmed);
        assert!(now - 1_000 > 30_350, "{now}");
        assert!(
            rotation.attempts() < 40,
            "backs off: {}",
            rotation.attempts()
        );
    }

    #[test]
    fn x1_every_attempt_says_how_long_it_is_worth_beginning() {
        let mut rotation = rotation();
        let mut now = 1_000;
        let mut seen = Vec::new();
        while now < 1_000 + PATIENCE_MS {
            if let Some((request, timeout)) = rotation.next_attempt(CallId(1), now) {
                let patience = request.patience_ms.unwrap();
                // Time is left for the answer, and the more the longer the call.
                assert!(patience < timeout && patience >= timeout / 2, "{timeout}");
                seen.push(patience);
                let _ = rotation.failed(StoreFault::NoAnswer, now);
            }
            now += 10;
        }
        assert!(seen.first() > seen.last() && seen.len() > 2, "{seen:?}");
    }

    #[test]
    fn s11_another_key_is_never_shown() {
        let rotation = rotation();
        let decided = |new_digest| {
            rotation.decided(Decided::Rotated {
                created_at: at(),
                revision: 3,
                new_digest,
            })
        };
        assert!(matches!(decided(key().digest()), Progress::Rotated { .. }));
        let other = decided(Digest::of(b"other"));
        assert_eq!(refusal(other), Some(Refusal::RotationUnconfirmed));
    }

    #[test]
    fn a_client_that_left_ends_what_was_not_sent_and_is_not_asked_again_for() {
        let mut rotation1 = rotation();
        assert!(matches!(rotation1.client_left(), Progress::Dropped));
        let mut rotation2 = rotation();
        assert!(rotation2.next_attempt(CallId(1), 1_000).is_some());
        assert!(matches!(rotation2.client_left(), Progress::Pending));
        assert!(matches!(
            rotation2.failed(StoreFault::NoAnswer, 1_001),
            Progress::Dropped
        ));
    }
}
