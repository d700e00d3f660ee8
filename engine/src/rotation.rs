//! One replacement of a key, from the first attempt to the last (PROTOCOL X1).
//!
//! The one question it must never answer wrongly is whether anything may have
//! happened at the store. "Nothing happened" is said only where no attempt can
//! have left; everything else is asked again under the same id, and ends in
//! "unconfirmed" if patience runs out.

use rekey_protocol::{ApiKey, Client, CreatedAt, Digest, RotateRequest, RotationId};

use crate::RequestId;
use crate::refusal::Refusal;
use crate::store_call::{CallId, Decided, ROTATE_TIMEOUT_MS, StoreFault};

/// How long a rotation is pursued, in milliseconds: longer than the store may
/// hold an answer for the longest lease with its margin, also where the last
/// pause would reach beyond it.
pub const PATIENCE_MS: u64 = ROTATE_TIMEOUT_MS as u64 + LONGEST_PAUSE_MS + 2 * LEAST_TIMEOUT_MS;

/// No attempt is started with less time than this, in milliseconds.
const LEAST_TIMEOUT_MS: u64 = 100;
/// Pause before the second attempt, in milliseconds; it doubles with each.
const FIRST_PAUSE_MS: u64 = 50;
const LONGEST_PAUSE_MS: u64 = 1_600;

/// A rotation under way.
pub struct Rotation {
    /// Who waits for it; none once the client has left.
    pub request: Option<RequestId>,
    id: RotationId,
    old: Digest,
    new: ApiKey,
    client: Client,
    began: u64,
    attempts: u32,
    /// Whether an attempt may have reached the store with an unknown end.
    unclear: bool,
    phase: Phase,
}

#[derive(PartialEq, Eq)]
enum Phase {
    /// To be sent (again) at this time.
    Due(u64),
    /// Sent.
    Asked(CallId),
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
    },
    /// It ends with a refusal.
    Refused {
        /// What the client is told.
        refusal: Refusal,
        /// The revision that revoked the old key, where the store told it.
        revoked_at: Option<u64>,
    },
    /// Nobody waits for it any more and nothing is to be done.
    Dropped,
}

impl Rotation {
    /// A rotation that is due at once.
    pub fn new(
        request: RequestId,
        id: RotationId,
        old: Digest,
        new: ApiKey,
        client: Client,
        now: u64,
    ) -> Self {
        let phase = Phase::Due(now);
        let request = Some(request);
        Self {
            request,
            id,
            old,
            new,
            client,
            began: now,
            attempts: 0,
            unclear: false,
            phase,
        }
    }

    /// The digest of the key that is replaced.
    pub fn old_digest(&self) -> Digest {
        self.old
    }

    /// Whether `call` is its attempt under way.
    pub fn asked(&self, call: CallId) -> bool {
        self.phase == Phase::Asked(call)
    }

    /// The next attempt and its timeout in milliseconds, if one is due. It
    /// counts as sent; where it was not, [`Self::failed`] is told.
    pub fn next_attempt(&mut self, call: CallId, now: u64) -> Option<(RotateRequest, u32)> {
        let due = matches!(self.phase, Phase::Due(at) if at <= now);
        if !due || !self.has_time(now) {
            return None;
        }
        self.attempts += 1;
        self.phase = Phase::Asked(call);
        let left = (self.began + PATIENCE_MS).saturating_sub(now);
        let timeout = u32::try_from(left)
            .unwrap_or(u32::MAX)
            .min(ROTATE_TIMEOUT_MS);
        let request = RotateRequest {
            rotation_id: self.id,
            attempt: self.attempts,
            old_digest: self.old,
            new_digest: self.new.digest(),
            hint: self.new.hint().to_owned(),
            client: self.client.clone(),
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
                    }
                } else {
                    refused(Refusal::RotationUnconfirmed, Some(revision))
                }
            }
            // Had an earlier attempt of ours won, the store would have said
            // so under our id (S11): somebody else did.
            Decided::Revoked { revision } => refused(Refusal::ApiKeyRevoked, Some(revision)),
            Decided::RateLimited { retry_after } => {
                refused(Refusal::RateLimited { retry_after }, None)
            }
            Decided::Unknown => refused(Refusal::InvalidApiKey, None),
        }
    }

    /// The attempt under way came to nothing.
    pub fn failed(&mut self, fault: StoreFault, now: u64) -> Progress {
        if !fault.nothing_changed() {
            self.unclear = true;
        }
        if !self.unclear {
            return Progress::Refused {
                refusal: Refusal::KeyStoreUnavailable,
                revoked_at: None,
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

    /// Time passed: ends a rotation whose patience is over between attempts.
    pub fn tick(&self, now: u64) -> Progress {
        match self.phase {
            Phase::Due(_) if !self.has_time(now) => Progress::Refused {
                refusal: self.out_of_time(),
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
            Phase::Asked(_) => Progress::Pending,
        }
    }

    fn has_time(&self, now: u64) -> bool {
        now + LEAST_TIMEOUT_MS <= self.began + PATIENCE_MS
    }

    fn out_of_time(&self) -> Refusal {
        if self.unclear {
            Refusal::RotationUnconfirmed
        } else {
            Refusal::KeyStoreUnavailable
        }
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

    fn rotation() -> Rotation {
        let client = Client::default();
        Rotation::new(
            REQUEST,
            RotationId([1; 16]),
            Digest::of(b"old"),
            key(),
            client,
            1_000,
        )
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
