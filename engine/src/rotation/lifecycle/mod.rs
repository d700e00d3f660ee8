//! One replacement of a key, from the first attempt to the last (X1).
//!
//! The one question it must never answer wrongly is whether anything may have
//! happened at the store. "Nothing happened" is said only where no attempt can
//! have left; everything else is asked again under the same id, and ends in
//! "unconfirmed" if patience runs out.

use rekey_protocol::{
    ApiKey, Client, CreatedAt, Digest, Replay, Replayed, RotateRequest, RotationId, SEAL_SALT_LEN,
};

use crate::RequestId;
use crate::cache::slots::RevokedAt;
use crate::request::refusal::ApiRefusal;
use crate::rotation::attempts::{Attempts, FailedAttempt};
use crate::rotation::replay::Pair;
use crate::store::calls::{self, CallId, ROTATE_TIMEOUT_MS, RotateOutcome, StoreFault};

/// How long a rotation is pursued, in milliseconds: longer than the store may
/// hold an answer for the longest lease with its margin, also where the last
/// pause would reach beyond it.
pub(crate) const PATIENCE_MS: u64 =
    ROTATE_TIMEOUT_MS as u64 + LONGEST_PAUSE_MS + 2 * LEAST_TIMEOUT_MS;

/// No attempt is started with less time than this, in milliseconds.
const LEAST_TIMEOUT_MS: u64 = 100;
/// Pause before the second attempt, in milliseconds; it doubles with each.
const FIRST_PAUSE_MS: u64 = 50;
const LONGEST_PAUSE_MS: u64 = 1_600;

/// What a request to the endpoint is after.
pub struct Requester {
    /// The client, for the audit log.
    pub client: Client,
    /// What opens the answer again, if the request may be repeated.
    pub pair: Option<Pair>,
}

/// The key that a rotation is to replace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyToReplace {
    /// By which the store knows it.
    pub digest: Digest,
    /// Whether it was known to be dead when the request came: then only an earlier
    /// rotation's answer is asked for.
    pub was_dead: bool,
}

impl KeyToReplace {
    /// A key that is active, as far as is known.
    pub(crate) fn active(digest: Digest) -> Self {
        Self {
            digest,
            was_dead: false,
        }
    }

    /// A key that is known to be dead.
    pub(crate) fn dead(digest: Digest) -> Self {
        Self {
            digest,
            was_dead: true,
        }
    }

    /// No attempt at it so far.
    pub(crate) fn attempts(self) -> Attempts {
        match self.was_dead {
            true => Attempts::for_revoked_key(),
            false => Attempts::for_active_key(),
        }
    }
}

/// What is drawn at random for a rotation.
pub(crate) struct Drawn {
    /// Its name over all attempts.
    pub id: RotationId,
    /// The key that it is to make.
    pub new: ApiKey,
    /// The salt of its seal.
    pub salt: [u8; SEAL_SALT_LEN],
}

/// An attempt that is to be sent.
pub(crate) struct NextAttempt {
    /// What the store is asked.
    pub request: RotateRequest,
    /// How long its answer is waited for, in milliseconds.
    pub timeout_ms: u32,
}

/// The answer of an earlier rotation, unsealed.
struct OpenedReplay {
    key: ApiKey,
    created_at: CreatedAt,
}

/// A rotation in flight.
pub(crate) struct Rotation {
    /// The request that waits for it; none once the client has left.
    pub request: Option<RequestId>,
    id: RotationId,
    old: Digest,
    new: ApiKey,
    requester: Box<Requester>,
    /// Made once: every attempt carries the same.
    replay: Option<Box<Replay>>,
    attempts_so_far: Attempts,
    began: u64,
    attempts: u32,
    attempt: AttemptState,
}

#[derive(PartialEq, Eq)]
enum AttemptState {
    /// To be sent (again) at this time.
    Due(u64),
    /// Sent, and lost at this time if there is no word of it.
    Asked(CallId, u64),
}

/// What becomes of a rotation after an event.
pub(crate) enum Progress {
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
        refusal: ApiRefusal,
        /// The revocation of the old key, where the store told it.
        revoked_at: Option<RevokedAt>,
    },
    /// Nobody waits for it any more and nothing is to be done.
    Dropped,
}

impl Rotation {
    /// A rotation that is due at once, for a request that came at `began`.
    pub(crate) fn new(
        request: RequestId,
        old: KeyToReplace,
        requester: Box<Requester>,
        drawn: Drawn,
        began: u64,
    ) -> Self {
        let Drawn { id, new, salt } = drawn;
        let replay = requester.pair.as_ref();
        let replay = replay.and_then(|pair| pair.replay(&new, id, salt));
        let attempt = AttemptState::Due(began);
        Self {
            request: Some(request),
            id,
            old: old.digest,
            new,
            requester,
            replay: replay.map(Box::new),
            attempts_so_far: old.attempts(),
            began,
            attempts: 0,
            attempt,
        }
    }

    /// The digest of the key that is replaced.
    pub(crate) fn old_digest(&self) -> Digest {
        self.old
    }

    /// Whether the old key was known to be dead from the start.
    pub(crate) fn was_dead(&self) -> bool {
        self.attempts_so_far.was_dead()
    }

    /// Whether the request bore what its answer can be asked for again with.
    pub(crate) fn is_replayable(&self) -> bool {
        self.replay.is_some()
    }

    /// Whether `call` is its attempt in flight.
    pub(crate) fn asked(&self, call: CallId) -> bool {
        matches!(self.attempt, AttemptState::Asked(asked, _) if asked == call)
    }

    /// The next attempt, if one is due. It counts as sent; where it was not,
    /// [`Self::failed`] is told.
    pub(crate) fn next_attempt(&mut self, call: CallId, now: u64) -> Option<NextAttempt> {
        let due = matches!(self.attempt, AttemptState::Due(at) if at <= now);
        if !due || !self.has_time(now) {
            return None;
        }
        self.attempts += 1;
        let left = (self.began + PATIENCE_MS).saturating_sub(now);
        let timeout_ms = u32::try_from(left)
            .unwrap_or(u32::MAX)
            .min(ROTATE_TIMEOUT_MS);
        self.attempt = AttemptState::Asked(call, calls::lost_at(now, timeout_ms));
        let request = RotateRequest {
            rotation_id: self.id,
            attempt: self.attempts,
            old_digest: self.old,
            new_digest: self.new.digest(),
            hint: self.new.hint().to_owned(),
            replay: self.replay.clone(),
            client: self.requester.client.clone(),
            patience_ms: Some(calls::patience_ms(timeout_ms)),
        };
        Some(NextAttempt {
            request,
            timeout_ms,
        })
    }

    /// How many attempts were made.
    pub(crate) fn attempts(&self) -> u32 {
        self.attempts
    }

    /// The store decided on the attempt in flight.
    pub(crate) fn decided(&self, decided: RotateOutcome) -> Progress {
        let refused = |refusal, revoked_at| Progress::Refused {
            refusal,
            revoked_at,
        };
        match decided {
            RotateOutcome::Rotated {
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
                    let revoked_at = RevokedAt {
                        revision,
                        replayable: false,
                    };
                    refused(ApiRefusal::RotationUnconfirmed, Some(revoked_at))
                }
            }
            // Had an earlier attempt won, the store would have said
            // so under our id (S11): another request did. If it was of this
            // client, with this Idempotency-Key, its answer is this one's (X3).
            RotateOutcome::Revoked {
                revision,
                replayable,
                replayed,
            } => match replayed.and_then(|replayed| self.opened(*replayed)) {
                Some(OpenedReplay { key, created_at }) => Progress::Rotated {
                    key,
                    created_at,
                    revision,
                    replayed: true,
                },
                None => {
                    let revoked_at = RevokedAt {
                        revision,
                        replayable,
                    };
                    refused(ApiRefusal::ApiKeyRevoked, Some(revoked_at))
                }
            },
            RotateOutcome::RateLimited {
                retry_after,
                interval,
            } => {
                let too_early = ApiRefusal::RateLimited {
                    retry_after,
                    interval,
                };
                refused(too_early, None)
            }
            RotateOutcome::Unknown => refused(ApiRefusal::InvalidApiKey, None),
        }
    }

    fn opened(&self, replayed: Replayed) -> Option<OpenedReplay> {
        let key = self.requester.pair.as_ref()?.open(&replayed)?;
        Some(OpenedReplay {
            key,
            created_at: replayed.created_at,
        })
    }

    /// The attempt in flight came to nothing.
    pub(crate) fn failed(&mut self, fault: StoreFault, now: u64) -> Progress {
        let failure = match fault.nothing_changed() {
            true => FailedAttempt::NothingChanged,
            false => FailedAttempt::Unclear,
        };
        if let Some(refusal) = self.attempts_so_far.failed(failure) {
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
        self.attempt = AttemptState::Due(now + pause);
        self.tick(now + pause)
    }

    /// Time passed: ends a rotation whose patience is over between attempts, and
    /// an attempt on which the host's word is overdue.
    pub(crate) fn tick(&mut self, now: u64) -> Progress {
        match self.attempt {
            AttemptState::Asked(_, lost_at) if now >= lost_at => {
                self.failed(StoreFault::NoAnswer, now)
            }
            AttemptState::Due(_) if !self.has_time(now) => Progress::Refused {
                refusal: self.attempts_so_far.out_of_time(),
                revoked_at: None,
            },
            _ => Progress::Pending,
        }
    }

    /// The client left. A rotation that was never sent is over; one that was
    /// goes on, because its outcome tells that the old key is dead.
    pub(crate) fn client_left(&mut self) -> Progress {
        self.request = None;
        match self.attempt {
            AttemptState::Due(_) => Progress::Dropped,
            AttemptState::Asked(..) => Progress::Pending,
        }
    }

    fn has_time(&self, now: u64) -> bool {
        now + LEAST_TIMEOUT_MS <= self.began + PATIENCE_MS
    }
}

#[cfg(test)]
mod tests;
