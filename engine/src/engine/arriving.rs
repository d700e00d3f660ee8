//! The arrival of a request: what it brings decides at once, or what is known of its
//! key, or the store is asked.

use rekey_protocol::Digest;
use rekey_protocol::contract::KEY_HEADER;
use zeroize::Zeroizing;

use super::Engine;
use crate::cache::slots::View;
use crate::config::ChecksumPolicy;
use crate::host::env::{Env, RequestHead};
use crate::host::metrics::Counter;
use crate::host::outbox::RequestId;
use crate::limits::token_bucket::KeyClass;
use crate::request::refusal::ApiRefusal;
use crate::request::route::{self, Route};
use crate::request::{connection, credentials, endpoint};
use crate::store::lookups::Purpose;

impl Engine {
    pub(super) fn receive(
        &mut self,
        request: RequestId,
        head: &dyn RequestHead,
        env: &mut Env<'_>,
    ) {
        if let Err(refusal) = connection::check(head) {
            return self.out.refuse(request, refusal);
        }
        let asked = match route::classify(&head.path(), &self.config.public_paths) {
            Route::Public => return self.out.go_on(request, None),
            Route::Protected => None,
            Route::Regenerate => match endpoint::check(head) {
                Ok(asked) => Some(asked),
                Err(refusal) => return self.out.refuse(request, refusal),
            },
        };
        let authorization = head.header(KEY_HEADER).map(Zeroizing::new);
        // There may be good keys with a checksum of another secret: the store knows.
        let policy = match self.issuing.is_behind() {
            true => ChecksumPolicy::Off,
            false => self.config.checksum,
        };
        let key = match credentials::read_key(
            authorization.as_ref().map(|value| value.as_slice()),
            policy,
            &self.config.secrets,
        ) {
            Ok(key) => key,
            Err(ApiRefusal::MissingApiKey(presented)) => {
                let presented = presented.or_elsewhere(head);
                return self
                    .out
                    .refuse(request, ApiRefusal::MissingApiKey(presented));
            }
            Err(refusal) => return self.out.refuse(request, refusal),
        };
        // A gRPC call is a POST of another kind: the gateway turns our answers to
        // it into headers, and a new key is not to be put into one.
        if asked.is_some() && endpoint::is_grpc(head) {
            return self.out.refuse(request, ApiRefusal::MethodNotAllowed);
        }
        let is_checked = policy == ChecksumPolicy::Required || self.config.secrets.verify(&key);
        let digest = key.digest();
        let purpose = match asked {
            None => Purpose::Authenticate,
            Some(asked) => Purpose::Regenerate(Box::new(self.requester(key, asked))),
        };
        let class = if is_checked {
            KeyClass::Checked
        } else {
            KeyClass::Unchecked
        };
        self.decide(request, digest, class, purpose, env);
    }

    /// From what the gateway knows, or by asking the store.
    fn decide(
        &mut self,
        request: RequestId,
        digest: Digest,
        class: KeyClass,
        purpose: Purpose,
        env: &mut Env<'_>,
    ) {
        // G4: control first, then the slot.
        let control = self.shared.control.read(env);
        let known = control.as_ref().map_or(View::Absent, |control| {
            self.shared
                .keys
                .look(env.sources, control.generation, &digest)
        });
        let is_trusted = control.is_some_and(|control| control.trusts(env.now));
        match known {
            View::Revoked(tombstone) => {
                self.out.count(Counter::TombstoneHit);
                return self.refuse_or_replay(request, digest, tombstone, purpose, env);
            }
            View::Active(active) if is_trusted => {
                self.out.count(Counter::CacheHit);
                self.note_last_use(digest, env.now);
                let covered_in = control.map(|control| control.generation.number);
                return self.accept(request, digest, covered_in, purpose, active, env);
            }
            // I7: without a lease no cached yes, and no cached no.
            View::Active(_) | View::Absent => {}
        }
        let trusted = control.as_ref().filter(|_| is_trusted);
        if trusted.is_some_and(|control| self.negative_cache.has(&digest, control)) {
            self.out.count(Counter::UnknownHit);
            return self.out.refuse(request, ApiRefusal::InvalidApiKey);
        }
        self.out.count(Counter::CacheMiss);
        let arrival = self.lookups.arrival(control.as_ref(), env.now);
        self.ask(request, digest, class, purpose, arrival, env);
    }
}
