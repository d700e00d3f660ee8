//! Requests that waited for the store's word on their key: who may have it,
//! and what follows from it.

use rekey_protocol::{Digest, Head};

use super::Engine;
use crate::budget::Token;
use crate::control::Control;
use crate::env::Env;
use crate::lookups::{Answered, Purpose, Sent, Waiter};
use crate::metrics::Counter;
use crate::outbox::RequestId;
use crate::refusal::Refusal;
use crate::rotation::OldKey;
use crate::slots::{Active, Merged, Tombstone, View};
use crate::store_call::{Resolved, StoreFault};

impl Engine {
    /// What the store said of a key that requests wait to know of. Returns whether
    /// that was that it knows no such key, and is so still.
    pub(super) fn resolved(
        &mut self,
        answered: Answered,
        outcome: Result<Resolved, StoreFault>,
        env: &mut Env<'_>,
    ) -> bool {
        let Answered {
            digest,
            sent,
            token,
            waiters,
        } = answered;
        let kind = token.as_ref().map(Token::kind);
        self.settle(&digest, token, &outcome, env);
        match outcome {
            // I7: a failure of the store is a 503, never a 401. Who came after the
            // call was sent, perhaps just before it timed out, gets one of its own.
            Err(_) => {
                let (own, late) = waiters
                    .into_iter()
                    .partition(|waiter| sent.is_after(&waiter.arrival));
                self.refuse_all(own, Refusal::KeyStoreUnavailable);
                self.ask_once_more(digest, kind, late, env);
            }
            // The waiter rule holds of a "no", too (G7): it may be of before an import
            // that a later request has waited for.
            Ok(Resolved::Unknown { head }) => {
                let is_of_now = self.unknown(digest, sent, head, env);
                let revision = head.map_or(0, |head| head.revision);
                let (told, late) = waiters
                    .into_iter()
                    .partition(|waiter| sent.may_serve(&waiter.arrival, revision, is_of_now));
                self.refuse_all(told, Refusal::InvalidApiKey);
                self.ask_once_more(digest, kind, late, env);
                return is_of_now;
            }
            Ok(Resolved::Revoked {
                revision,
                replayable,
                head,
            }) => {
                self.end_if_foreign(head, sent, env);
                let tombstone = Tombstone::new(revision, replayable, env.now.monotonic);
                match self.bury(&digest, tombstone, head.revision, env) {
                    Refusal::ApiKeyRevoked => self.turn_away(waiters, digest, tombstone, env),
                    unwritten => self.refuse_all(waiters, unwritten),
                }
            }
            Ok(Resolved::Active {
                user,
                rotation_allowed_in,
                rotation_interval,
                head,
            }) => {
                self.end_if_foreign(head, sent, env);
                // At once is at any time: another worker's event may be a moment older
                // than this one, and would still see a wait.
                let not_before = match rotation_allowed_in.min(3600) * 1000 {
                    0 => 0,
                    wait_ms => env.now.monotonic + wait_ms,
                };
                let active = Active {
                    user,
                    revision: head.revision,
                    not_before,
                    interval: rotation_interval,
                };
                self.active(digest, sent, waiters, (active, head), env);
            }
        }
        false
    }

    /// The store said "active".
    pub(super) fn active(
        &mut self,
        digest: Digest,
        sent: Sent,
        waiters: Vec<Waiter>,
        (active, head): (Active, Head),
        env: &mut Env<'_>,
    ) {
        // G5: cached, and shared, only in the generation that it was sent in, and
        // of the life of the store that this generation follows.
        let control = self.control.read(env);
        let now = control.map(|control| control.generation);
        let control = control.filter(|control| {
            let life = control.applied.map(|applied| applied.incarnation);
            sent.generation == Some(control.generation.number) && life == Some(head.incarnation)
        });
        let generation = control.map(|control| control.generation);
        let merged = generation.and_then(|generation| {
            let filled = self.table.fill(env.sources, generation, &digest, &active);
            filled.ok()
        });
        let (active, is_cached) = match merged {
            // G6: decided from what the slot says now.
            Some(Merged::Revoked(tombstone)) => {
                return self.turn_away(waiters, digest, tombstone, env);
            }
            Some(Merged::TooOld) => {
                self.out.count(Counter::CacheTooOld);
                return self.ask_anew(digest, waiters);
            }
            Some(Merged::Active(active)) => {
                self.out.count(Counter::CacheFilled);
                (active, true)
            }
            // What cannot be cached is no reason to overlook a tombstone. The log was
            // perhaps read when it was written, so that nobody would end the stream.
            None => match now.map(|now| self.table.look(env.sources, now, &digest)) {
                Some(View::Revoked(tombstone)) => {
                    return self.turn_away(waiters, digest, tombstone, env);
                }
                _ => (active, false),
            },
        };
        let covered_in = generation.filter(|_| is_cached);
        let covered_in = covered_in.map(|generation| generation.number);
        let (served, others): (Vec<_>, Vec<_>) = waiters
            .into_iter()
            .partition(|waiter| sent.may_serve(&waiter.arrival, active.revision, is_cached));
        for waiter in served {
            let key = (digest, covered_in);
            self.accept(waiter.request, key, waiter.purpose, active.clone(), env);
        }
        self.ask_anew(digest, others);
    }

    /// The key is good; `covered_in` is the generation in which the table says so,
    /// if one does.
    pub(super) fn accept(
        &mut self,
        request: RequestId,
        (digest, covered_in): (Digest, Option<u64>),
        purpose: Purpose,
        active: Active,
        env: &mut Env<'_>,
    ) {
        let wait_ms = active.not_before.saturating_sub(env.now.monotonic);
        match purpose {
            Purpose::Authenticate => match self.streams.open(request, digest, covered_in) {
                Ok(()) => self.out.go_on(request, Some(active.user)),
                Err(refusal) => self.out.refuse(request, refusal),
            },
            // G11: the store says so, just now or by a record under the lease.
            Purpose::Regenerate(_) if wait_ms > 0 => {
                let retry_after = wait_ms.div_ceil(1000).clamp(1, 3600);
                let too_early = Refusal::RateLimited {
                    retry_after,
                    interval: active.interval,
                };
                self.out.refuse(request, too_early);
            }
            Purpose::Regenerate(wish) => {
                let was_dead = false;
                self.begin_rotation(request, OldKey { digest, was_dead }, wish, env);
            }
        }
    }

    pub(super) fn ask_anew(&mut self, digest: Digest, waiters: Vec<Waiter>) {
        let call = self.out.new_call();
        for waiter in waiters {
            if let Some(request) = self.lookups.ask_anew(digest, waiter, call) {
                self.out.refuse(request, Refusal::KeyStoreUnavailable);
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
            self.refuse_or_replay(waiter.request, (digest, tombstone), waiter.purpose, env);
        }
    }

    pub(super) fn refuse_all(&mut self, waiters: Vec<Waiter>, refusal: Refusal) {
        for waiter in waiters {
            self.out.refuse(waiter.request, refusal);
        }
    }

    /// An answer of another life of the store than the cache's ends lease and
    /// generation before it is used (G5). A late answer to a call of an earlier
    /// generation says nothing about this one.
    pub(super) fn end_if_foreign(&mut self, head: Head, sent: Sent, env: &mut Env<'_>) {
        let ended = self.control.update(env.sources, |control: &Control| {
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
