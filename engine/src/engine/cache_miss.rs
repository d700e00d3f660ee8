//! Keys that are not in the table: whether the store is asked about them, what
//! that costs, and what its "unknown" is good for.

use rekey_protocol::{Digest, Head};

use super::{Engine, Existence};
use crate::cache::lease::Moment;
use crate::feed::last_uses::Noted;
use crate::feed::revoked_uses::Counted;
use crate::host::env::Env;
use crate::host::metrics::Counter;
use crate::host::outbox::RequestId;
use crate::limits::token_bucket::{BucketToken, KeyClass};
use crate::request::refusal::ApiRefusal;
use crate::store::calls::{ResolveOutcome, StoreFault};
use crate::store::lookups::{Arrival, Joined, Purpose, SentCall, Waiter};

impl Engine {
    /// Lets a request wait for the store's word on its key. A key that the store
    /// has not called good before, and that nobody is asking about, takes a token;
    /// if there is none, it cannot be decided just now (I7: no 401).
    pub(super) fn ask(
        &mut self,
        request: RequestId,
        digest: Digest,
        class: KeyClass,
        purpose: Purpose,
        arrival: Arrival,
        env: &mut Env<'_>,
    ) {
        let mut token = None;
        if !self.lookups.is_in_flight(&digest) {
            token = match self.admit(&digest, class, env) {
                Ok(token) => token,
                Err(refusal) => return self.out.refuse(request, refusal),
            };
        }
        let call = self.out.new_call();
        if self.lookups.join(digest, request, purpose, arrival, call) == Joined::NewCall {
            self.lookups.charge(&digest, token);
            self.ring(env);
        }
    }

    /// What a call about this key costs; a refusal if that is too much now.
    fn admit(
        &mut self,
        digest: &Digest,
        class: KeyClass,
        env: &mut Env<'_>,
    ) -> Result<Option<BucketToken>, ApiRefusal> {
        if self.shared.seen_keys.has(env.sources, digest) {
            self.out.count(Counter::MissSeen);
            return Ok(None);
        }
        self.out.count(Counter::MissUnseen);
        let token = self.take(class, env)?;
        Ok(Some(token))
    }

    /// A token, or what to tell who needs one.
    pub(super) fn take(
        &mut self,
        class: KeyClass,
        env: &mut Env<'_>,
    ) -> Result<BucketToken, ApiRefusal> {
        self.shared.buckets.take(class, env).ok_or_else(|| {
            self.out.count(Counter::MissOverBudget);
            ApiRefusal::KeyStoreUnavailable
        })
    }

    /// The store has answered about a key, or has not: who knows the key pays for
    /// nothing, and the key counts as seen from now on if it is good.
    pub(super) fn settle(
        &mut self,
        digest: &Digest,
        token: Option<BucketToken>,
        outcome: &Result<ResolveOutcome, StoreFault>,
        env: &mut Env<'_>,
    ) {
        let Some(token) = token else { return };
        match outcome {
            Ok(ResolveOutcome::Active { .. }) => {
                self.shared.buckets.give_back(token, env);
                self.shared.seen_keys.note(env.sources, digest);
            }
            Ok(ResolveOutcome::Revoked { .. }) => self.shared.buckets.give_back(token, env),
            Ok(ResolveOutcome::Unknown { .. }) | Err(_) => drop(token),
        }
    }

    /// The store does not know the key. Kept only as an "active" would be: in the
    /// generation that it was asked in, and of the incarnation that this
    /// generation follows (G5).
    pub(super) fn unknown(
        &mut self,
        digest: Digest,
        sent: SentCall,
        head: Option<Head>,
        env: &mut Env<'_>,
    ) -> Existence {
        self.out.count(Counter::UnknownAnswered);
        let Some(head) = head else {
            return Existence::Possible;
        };
        self.end_if_foreign(head, sent, env);
        let control = self.shared.control.read(env);
        let control = control.filter(|control| control.may_cache(sent.generation, head));
        let Some(control) = control else {
            return Existence::Possible;
        };
        let generation = control.generation.number;
        self.negative_cache.note(digest, generation, head.revision);
        match head.revision >= control.keys_imported_at {
            true => Existence::Denied,
            false => Existence::Possible,
        }
    }

    /// A call came to nothing, and these came after it was sent: another one costs
    /// what the first did.
    pub(super) fn ask_once_more(
        &mut self,
        digest: Digest,
        class: Option<KeyClass>,
        waiters: Vec<Waiter>,
        env: &mut Env<'_>,
    ) {
        if waiters.is_empty() {
            return;
        }
        match class.map(|class| self.take(class, env)).transpose() {
            Ok(token) => {
                self.ask_again(digest, waiters);
                self.lookups.charge(&digest, token);
            }
            Err(refusal) => self.refuse_all(waiters, refusal),
        }
    }

    /// A revoked key was used, and refused.
    pub(super) fn note_use(&mut self, digest: Digest) {
        if self.revoked_uses.count(digest) == Counted::NoRoom {
            self.out.count(Counter::UseUncounted);
        }
    }

    /// An active key was used, and the store not asked. Where it is asked, it
    /// notes the use by itself.
    pub(super) fn note_last_use(&mut self, digest: Digest, now: Moment) {
        if self.last_uses.note(digest, now) == Noted::InPlaceOfAnother {
            self.out.count(Counter::LastUseDropped);
        }
    }
}
