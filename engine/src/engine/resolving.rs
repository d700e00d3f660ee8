//! Requests that waited for the store's word on their key: who may have it,
//! and what follows from it.

use rekey_protocol::{Digest, Head};

use super::{Engine, Existence};
use crate::cache::control::Control;
use crate::cache::slots::{ActiveKey, Merged, RevokedAt, Tombstone, View};
use crate::host::env::Env;
use crate::host::metrics::Counter;
use crate::host::outbox::RequestId;
use crate::limits::token_bucket::BucketToken;
use crate::request::refusal::ApiRefusal;
use crate::rotation::lifecycle::KeyToReplace;
use crate::store::calls::{ResolveOutcome, StoreFault};
use crate::store::lookups::{AnswerRead, Answered, Purpose, SentCall, Waiter};

impl Engine {
    /// What the store said of a key that requests wait to know of.
    pub(super) fn resolved(
        &mut self,
        answered: Answered,
        outcome: Result<ResolveOutcome, StoreFault>,
        env: &mut Env<'_>,
    ) -> Existence {
        let Answered {
            digest,
            sent,
            token,
            waiters,
        } = answered;
        let class = token.as_ref().map(BucketToken::class);
        self.settle(&digest, token, &outcome, env);
        match outcome {
            // I7: a failure of the store is a 503, never a 401. A request that came after
            // the call was sent, perhaps just before it timed out, gets another call.
            Err(_) => {
                let (own, late) = waiters
                    .into_iter()
                    .partition(|waiter| sent.is_after(&waiter.arrival));
                self.refuse_all(own, ApiRefusal::KeyStoreUnavailable);
                self.ask_once_more(digest, class, late, env);
            }
            Ok(ResolveOutcome::Unknown { head }) => {
                let existence = self.unknown(digest, sent, head, env);
                let read = AnswerRead {
                    revision: head.map_or(0, |head| head.revision),
                    is_cached: existence == Existence::Denied,
                };
                // The waiter rule holds of a "no", too (G7): it may be of before an
                // import that a later request has waited for.
                let may_serve = |waiter: &Waiter| sent.may_serve(&waiter.arrival, read);
                let (told, late) = waiters.into_iter().partition(may_serve);
                self.refuse_all(told, ApiRefusal::InvalidApiKey);
                self.ask_once_more(digest, class, late, env);
                return existence;
            }
            Ok(ResolveOutcome::Revoked {
                revision,
                replayable,
                head,
            }) => {
                self.end_if_foreign(head, sent, env);
                let revoked_at = RevokedAt {
                    revision,
                    replayable,
                };
                self.revoked(digest, waiters, revoked_at, head, env);
            }
            Ok(ResolveOutcome::Active {
                user,
                rotation_allowed_in,
                rotation_interval,
                head,
            }) => {
                self.end_if_foreign(head, sent, env);
                let active = ActiveKey {
                    user,
                    revision: head.revision,
                    not_before: not_before(rotation_allowed_in, env.now.monotonic),
                    interval: rotation_interval,
                };
                self.active(digest, sent, waiters, active, head, env);
            }
        }
        Existence::Possible
    }

    /// The store said "revoked".
    fn revoked(
        &mut self,
        digest: Digest,
        waiters: Vec<Waiter>,
        revoked_at: RevokedAt,
        head: Head,
        env: &mut Env<'_>,
    ) {
        let tombstone = Tombstone::new(revoked_at, env.now.monotonic);
        match self.bury(&digest, tombstone, head.revision, env) {
            ApiRefusal::ApiKeyRevoked => self.turn_away(waiters, digest, tombstone, env),
            unwritten => self.refuse_all(waiters, unwritten),
        }
    }

    /// The store said "active".
    pub(super) fn active(
        &mut self,
        digest: Digest,
        sent: SentCall,
        waiters: Vec<Waiter>,
        active: ActiveKey,
        head: Head,
        env: &mut Env<'_>,
    ) {
        // G5: cached, and shared, only in the generation that it was sent in, and
        // of the incarnation that this generation follows.
        let control = self.shared.control.read(env);
        let now = control.map(|control| control.generation);
        let control = control.filter(|control| control.may_cache(sent.generation, head));
        let generation = control.map(|control| control.generation);
        let merged = generation.and_then(|generation| {
            let filled = self
                .shared
                .keys
                .fill(env.sources, generation, &digest, &active);
            filled.ok()
        });
        let (active, is_cached) = match merged {
            // G6: decided from what the slot says now.
            Some(Merged::Revoked(tombstone)) => {
                return self.turn_away(waiters, digest, tombstone, env);
            }
            Some(Merged::TooOld) => {
                self.out.count(Counter::CacheTooOld);
                return self.ask_again(digest, waiters);
            }
            Some(Merged::Active(active)) => {
                self.out.count(Counter::CacheFilled);
                (active, true)
            }
            // What cannot be cached is no reason to overlook a tombstone. The log was
            // perhaps read when it was written, so that nobody would end the stream.
            None => match now.map(|now| self.shared.keys.look(env.sources, now, &digest)) {
                Some(View::Revoked(tombstone)) => {
                    return self.turn_away(waiters, digest, tombstone, env);
                }
                _ => (active, false),
            },
        };
        let covered_in = generation.filter(|_| is_cached);
        let covered_in = covered_in.map(|generation| generation.number);
        let read = AnswerRead {
            revision: active.revision,
            is_cached,
        };
        let (served, others): (Vec<_>, Vec<_>) = waiters
            .into_iter()
            .partition(|waiter| sent.may_serve(&waiter.arrival, read));
        for waiter in served {
            let Waiter {
                request, purpose, ..
            } = waiter;
            self.accept(request, digest, covered_in, purpose, active.clone(), env);
        }
        self.ask_again(digest, others);
    }

    /// The key is good; `covered_in` is the generation in which the table says so,
    /// if one does.
    pub(super) fn accept(
        &mut self,
        request: RequestId,
        digest: Digest,
        covered_in: Option<u64>,
        purpose: Purpose,
        active: ActiveKey,
        env: &mut Env<'_>,
    ) {
        let wait_ms = active.not_before.saturating_sub(env.now.monotonic);
        match purpose {
            Purpose::Authenticate => match self.streams.open(request, digest, covered_in) {
                Ok(()) => self.out.go_on(request, Some(active.user)),
                Err(refusal) => self.out.refuse(request, refusal),
            },
            // G11: by an active record, under the lease, or by the store's own word.
            Purpose::Regenerate(_) if wait_ms > 0 => {
                let retry_after = wait_ms.div_ceil(1000).clamp(1, 3600);
                let too_early = ApiRefusal::RateLimited {
                    retry_after,
                    interval: active.interval,
                };
                self.out.refuse(request, too_early);
            }
            Purpose::Regenerate(requester) => {
                self.begin_rotation(request, KeyToReplace::active(digest), requester, env);
            }
        }
    }

    pub(super) fn ask_again(&mut self, digest: Digest, waiters: Vec<Waiter>) {
        let call = self.out.new_call();
        for waiter in waiters {
            if let Some(request) = self.lookups.ask_again(digest, waiter, call) {
                self.out.refuse(request, ApiRefusal::KeyStoreUnavailable);
            }
        }
    }

    /// The key is dead.
    fn turn_away(
        &mut self,
        waiters: Vec<Waiter>,
        digest: Digest,
        tombstone: Tombstone,
        env: &mut Env<'_>,
    ) {
        for waiter in waiters {
            self.refuse_or_replay(waiter.request, digest, tombstone, waiter.purpose, env);
        }
    }

    pub(super) fn refuse_all(&mut self, waiters: Vec<Waiter>, refusal: ApiRefusal) {
        for waiter in waiters {
            self.out.refuse(waiter.request, refusal);
        }
    }

    /// An answer of another incarnation than the cache's ends lease and
    /// generation before it is used (G5). A late answer to a call of an earlier
    /// generation says nothing about this one.
    pub(super) fn end_if_foreign(&mut self, head: Head, sent: SentCall, env: &mut Env<'_>) {
        let ended = self
            .shared
            .control
            .update(env.sources, |control: &Control| {
                let is_of_now = sent.generation == Some(control.generation.number);
                control
                    .after_answer_of(head.incarnation)
                    .filter(|_| is_of_now)
            });
        if ended.is_some() {
            self.out.count(Counter::GenerationEnded);
        }
    }
}

/// The monotonic time before which the user may not rotate; 0 if it may at once.
fn not_before(rotation_allowed_in: u64, now: u64) -> u64 {
    // At once is at any time: another worker's event may be a moment older than this
    // one, and would still see a wait.
    match rotation_allowed_in.min(3600) * 1000 {
        0 => 0,
        wait_ms => now + wait_ms,
    }
}
