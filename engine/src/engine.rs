//! The engine: takes events, decides, and yields effects.

use rekey_protocol::{ApiKey, Client, Digest, Head, RANDOM_BYTES, RotationId};
use zeroize::Zeroizing;

use crate::claims::Nonce;
use crate::config::Config;
use crate::control::{Cell, Control};
use crate::credentials;
use crate::endpoint;
use crate::env::{EntropyError, Env, RequestHead};
use crate::feeder::Feeder;
use crate::health::Health;
use crate::lookups::{Answered, Lookups, Purpose, Sent, Waiter};
use crate::metrics::{self, Counter};
use crate::namespace;
use crate::outbox::{Effect, LogLevel, Outbox, RequestId};
use crate::refusal::Refusal;
use crate::reply::Reply;
use crate::rotation::{Progress, Rotation};
use crate::route::{self, Route};
use crate::slots::{Active, Merged, Table, View};
use crate::store_call::{self, CallId, CallOutcome, Resolved, StoreFault};
use crate::workers::Number;

/// Rotations under way in one worker (I8). More are told to come back.
const MOST_ROTATIONS: usize = 1024;
/// Draws of random bytes for one key; even the second is never needed.
const KEY_DRAWS: usize = 4;

/// The decisions of one worker under one configuration. See the crate's head
/// for how it is driven.
pub struct Engine {
    config: Config,
    namespace: String,
    control: Cell,
    table: Table,
    nonce: Option<Nonce>,
    number: Number,
    feeder: Feeder,
    lookups: Lookups,
    rotations: Vec<Rotation>,
    health: Health,
    out: Outbox,
}

impl Engine {
    /// An engine without any state.
    pub fn new(config: Config) -> Self {
        let namespace = namespace::of(&config);
        Self {
            control: Cell::new(&namespace),
            table: Table::new(&namespace, config.cache_slots),
            nonce: None,
            number: Number::default(),
            feeder: Feeder::new(&config, &namespace),
            lookups: Lookups::default(),
            rotations: Vec::new(),
            health: Health::of(format!("key store (cluster {})", config.store.cluster)),
            out: Outbox::default(),
            namespace,
            config,
        }
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Requests and rotations under way.
    pub fn under_way(&self) -> usize {
        self.lookups.waiting() + self.rotations.len()
    }

    /// The next thing to do; to be asked until there is none.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.out.pop()
    }

    /// The headers of a request came. It is decided at once (a `Continue` or
    /// `Reply` is among the effects) or waits for a call.
    pub fn on_request_headers(
        &mut self,
        request: RequestId,
        head: &dyn RequestHead,
        env: &mut Env<'_>,
    ) {
        let purpose = match route::classify(&head.path(), &self.config.public_paths) {
            Route::Public => return self.out.go_on(request, None),
            Route::Protected => Purpose::Authenticate,
            Route::Regenerate => match endpoint::check(head) {
                Ok(client) => Purpose::Regenerate(client),
                Err(refusal) => return self.out.refuse(request, refusal),
            },
        };
        let authorization = head.header("authorization").map(Zeroizing::new);
        let digest = match credentials::read_key(
            authorization.as_ref().map(|value| value.as_slice()),
            self.config.checksum,
            &self.config.secrets,
        ) {
            Ok(key) => key.digest(),
            Err(refusal) => return self.out.refuse(request, refusal),
        };
        // A gRPC call is a POST of another kind: the gateway turns our answers to
        // it into headers, and a new key is not to be put into one.
        if matches!(purpose, Purpose::Regenerate(_)) && endpoint::is_grpc(head) {
            return self.out.refuse(request, Refusal::MethodNotAllowed);
        }
        self.decide(request, digest, purpose, env);
    }

    /// From what the gateway knows, or by asking the store.
    fn decide(&mut self, request: RequestId, digest: Digest, purpose: Purpose, env: &mut Env<'_>) {
        // G4: control first, then the slot.
        let control = self.control.read(env);
        let known = control.as_ref().map_or(View::Absent, |control| {
            self.table.look(env.sources, control.generation, &digest)
        });
        let is_trusted = control.is_some_and(|control| control.trusts(env.now));
        match known {
            View::Revoked => {
                self.out.count(Counter::TombstoneHit);
                return self.out.refuse(request, Refusal::ApiKeyRevoked);
            }
            View::Active(active) if is_trusted => {
                self.out.count(Counter::CacheHit);
                return self.accept(request, digest, purpose, active, env);
            }
            // I7: without a lease no cached yes.
            View::Active(_) | View::Absent => self.out.count(Counter::CacheMiss),
        }
        let arrival = self.lookups.arrival(control.as_ref(), env.now);
        let call = self.out.new_call();
        if self.lookups.join(digest, request, purpose, arrival, call) {
            self.ring(env);
        }
    }

    /// The request is over, whoever ended it.
    pub fn on_request_done(&mut self, request: RequestId) {
        self.lookups.leave(request);
        let place = self
            .rotations
            .iter()
            .position(|rotation| rotation.request == Some(request));
        let Some(mut rotation) = place.map(|place| self.rotations.swap_remove(place)) else {
            return;
        };
        self.out.count(Counter::RotationAbandoned);
        if let Progress::Pending = rotation.client_left() {
            self.rotations.push(rotation);
        }
    }

    /// A call was answered, or is known to be lost or unsent. A call that
    /// nobody waits for any more is ignored.
    pub fn on_call_done(&mut self, call: CallId, outcome: CallOutcome<'_>, env: &mut Env<'_>) {
        if let Some(nonce) = self.nonce.filter(|_| self.feeder.asked(call)) {
            let (control, table) = (&self.control, &self.table);
            return self
                .feeder
                .answered(outcome, nonce, control, table, env, &mut self.out);
        }
        if let Some(answered) = self.lookups.answered(call) {
            let outcome = self.note(store_call::read_resolved(outcome), env);
            self.resolved(answered, outcome, env);
            return self.on_root(env);
        }
        let mut rotations = self.rotations.iter();
        if let Some(place) = rotations.position(|rotation| rotation.asked(call)) {
            let rotation = self.rotations.swap_remove(place);
            self.rotation_answered(rotation, outcome, env);
        }
    }

    /// The root was rung: sends what is due in the root's name.
    pub fn on_root(&mut self, env: &mut Env<'_>) {
        // G5: a call remembers the generation it was sent in.
        let control = self.control.read(env);
        let now = env.now.monotonic;
        let store = &self.config.store;
        let timeout = store.resolve_timeout_ms;
        let lost_at = now + u64::from(timeout) + store_call::LOST_AFTER_MS;
        for (call, digest) in self.lookups.send_due(control.as_ref(), lost_at) {
            self.out
                .call(call, store_call::resolve(&store.cluster, digest, timeout));
        }
        for mut rotation in std::mem::take(&mut self.rotations) {
            let call = self.out.new_call();
            if let Some((attempt, timeout)) = rotation.next_attempt(call, now) {
                if rotation.attempts() > 1 {
                    self.out.count(Counter::RotationRetried);
                }
                let cluster = &self.config.store.cluster;
                self.out
                    .call(call, store_call::rotate(cluster, &attempt, timeout));
            }
            let progress = rotation.tick(now);
            self.advance(rotation, progress, env);
        }
    }

    /// Time passed. To be called every 100 ms or so.
    pub fn on_tick(&mut self, env: &mut Env<'_>) {
        self.own_doorbell(env);
        if let Some(nonce) = self.nonce {
            self.feeder.tick(nonce, &self.control, env, &mut self.out);
        }
        for call in self.lookups.overdue(env.now.monotonic) {
            self.on_call_done(call, CallOutcome::Lost, env);
        }
        self.on_root(env);
        if let Some(control) = self.control.read(env) {
            metrics::show(&control, env.now, self.config.lease_ms, &mut self.out);
        }
    }

    /// What the store said of a key that requests wait to know of.
    fn resolved(
        &mut self,
        answered: Answered,
        outcome: Result<Resolved, StoreFault>,
        env: &mut Env<'_>,
    ) {
        let Answered {
            digest,
            sent,
            waiters,
        } = answered;
        match outcome {
            // I7: a failure of the store is a 503, never a 401. Who came after the
            // call was sent, perhaps just before it timed out, gets one of its own.
            Err(_) => {
                let (own, late) = waiters
                    .into_iter()
                    .partition(|waiter| sent.is_after(&waiter.arrival));
                self.refuse_all(own, Refusal::KeyStoreUnavailable);
                self.ask_anew(digest, late);
            }
            Ok(Resolved::Unknown) => self.refuse_all(waiters, Refusal::InvalidApiKey),
            Ok(Resolved::Revoked { revision, head }) => {
                self.end_if_foreign(head, sent, env);
                let refusal = self.bury(&digest, revision, head.revision, env);
                self.refuse_all(waiters, refusal);
            }
            Ok(Resolved::Active {
                user,
                rotation_allowed_in,
                head,
            }) => {
                self.end_if_foreign(head, sent, env);
                let wait_ms = rotation_allowed_in.min(3600) * 1000;
                let active = Active {
                    user,
                    revision: head.revision,
                    not_before: env.now.monotonic + wait_ms,
                };
                self.active(digest, sent, waiters, (active, head), env);
            }
        }
    }

    /// The store said "active".
    fn active(
        &mut self,
        digest: Digest,
        sent: Sent,
        waiters: Vec<Waiter>,
        (active, head): (Active, Head),
        env: &mut Env<'_>,
    ) {
        // G5: cached, and shared, only in the generation that it was sent in, and
        // of the life of the store that this generation follows.
        let control = self.control.read(env).filter(|control| {
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
            Some(Merged::Revoked) => return self.refuse_all(waiters, Refusal::ApiKeyRevoked),
            Some(Merged::TooOld) => {
                self.out.count(Counter::CacheTooOld);
                return self.ask_anew(digest, waiters);
            }
            Some(Merged::Active(active)) => {
                self.out.count(Counter::CacheFilled);
                (active, true)
            }
            None => (active, false),
        };
        let (served, others): (Vec<_>, Vec<_>) = waiters
            .into_iter()
            .partition(|waiter| sent.may_serve(&waiter.arrival, active.revision, is_cached));
        for waiter in served {
            self.accept(waiter.request, digest, waiter.purpose, active.clone(), env);
        }
        self.ask_anew(digest, others);
    }

    /// The key is good.
    fn accept(
        &mut self,
        request: RequestId,
        digest: Digest,
        purpose: Purpose,
        active: Active,
        env: &mut Env<'_>,
    ) {
        let wait_ms = active.not_before.saturating_sub(env.now.monotonic);
        match purpose {
            Purpose::Authenticate => self.out.go_on(request, Some(active.user)),
            Purpose::Regenerate(_) if wait_ms > 0 => {
                let retry_after = wait_ms.div_ceil(1000).clamp(1, 3600);
                self.out
                    .refuse(request, Refusal::RateLimited { retry_after });
            }
            Purpose::Regenerate(client) => self.begin_rotation(request, digest, client, env),
        }
    }

    fn ask_anew(&mut self, digest: Digest, waiters: Vec<Waiter>) {
        let call = self.out.new_call();
        for waiter in waiters {
            if let Some(request) = self.lookups.ask_anew(digest, waiter, call) {
                self.out.refuse(request, Refusal::KeyStoreUnavailable);
            }
        }
    }

    fn refuse_all(&mut self, waiters: Vec<Waiter>, refusal: Refusal) {
        for waiter in waiters {
            self.out.refuse(waiter.request, refusal);
        }
    }

    /// An answer of another life of the store than the cache's ends lease and
    /// generation before it is used (G5). A late answer to a call of an earlier
    /// generation says nothing about this one.
    fn end_if_foreign(&mut self, head: Head, sent: Sent, env: &mut Env<'_>) {
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

    fn rotation_answered(
        &mut self,
        mut rotation: Rotation,
        outcome: CallOutcome<'_>,
        env: &mut Env<'_>,
    ) {
        let progress = match self.note(store_call::read_decided(outcome), env) {
            Ok(decided) => rotation.decided(decided),
            Err(fault) => rotation.failed(fault, env.now.monotonic),
        };
        self.advance(rotation, progress, env);
    }

    fn begin_rotation(
        &mut self,
        request: RequestId,
        old: Digest,
        client: Client,
        env: &mut Env<'_>,
    ) {
        if self.rotations.len() >= MOST_ROTATIONS {
            return self.out.refuse(request, Refusal::KeyStoreUnavailable);
        }
        match self.draw_key(env) {
            Ok((id, new)) => {
                let now = env.now.monotonic;
                self.rotations
                    .push(Rotation::new(request, id, old, new, client, now));
                self.ring(env);
            }
            Err(error) => {
                self.out
                    .log(LogLevel::Error, format!("cannot make a key: {error}"));
                self.out.refuse(request, Refusal::KeyStoreUnavailable);
            }
        }
    }

    fn draw_key(&self, env: &mut Env<'_>) -> Result<(RotationId, ApiKey), EntropyError> {
        let mut id = [0; 16];
        env.sources.fill_random(&mut id)?;
        let mut random = Zeroizing::new([0; RANDOM_BYTES]);
        for _ in 0..KEY_DRAWS {
            env.sources.fill_random(random.as_mut_slice())?;
            if let Some(key) = self.config.secrets.issue(&random) {
                return Ok((RotationId(id), key));
            }
        }
        Err(EntropyError)
    }

    /// Carries out what became of a rotation.
    fn advance(&mut self, rotation: Rotation, progress: Progress, env: &mut Env<'_>) {
        match progress {
            Progress::Pending => self.rotations.push(rotation),
            Progress::Dropped => {}
            Progress::Rotated {
                key,
                created_at,
                revision,
            } => {
                self.bury(&rotation.old_digest(), revision, revision, env);
                // G12: the new key is not cached on our own account.
                if let Some(request) = rotation.request {
                    self.out.count(Counter::Rotated);
                    let reply = Reply::rotated(&key, &created_at);
                    self.out.push(Effect::Reply { request, reply });
                }
            }
            Progress::Refused {
                refusal,
                revoked_at,
            } => {
                let buried = revoked_at
                    .map(|revision| self.bury(&rotation.old_digest(), revision, revision, env));
                // Unconfirmed stays unconfirmed.
                let is_revoked = refusal == Refusal::ApiKeyRevoked;
                let refusal = buried.filter(|_| is_revoked).unwrap_or(refusal);
                if let Some(request) = rotation.request {
                    self.out.refuse(request, refusal);
                }
            }
        }
    }

    /// Writes down that a key was revoked at `revision`, as the store said when it
    /// stood at `read_at`. Returns what to tell who asked.
    fn bury(&mut self, digest: &Digest, revision: u64, read_at: u64, env: &mut Env<'_>) -> Refusal {
        let Some(control) = self.control.read(env) else {
            return Refusal::KeyStoreUnavailable;
        };
        // Of before the generation: perhaps of a history that was lost, in which
        // case the key lives. Nothing that was asked then is cached now (G5).
        if read_at < control.generation.began {
            return Refusal::ApiKeyRevoked;
        }
        let (generation, sources) = (control.generation, &mut *env.sources);
        match self.table.bury(sources, generation, digest, revision) {
            Ok(()) => {
                self.out.count(Counter::TombstoneWritten);
                Refusal::ApiKeyRevoked
            }
            // I1: what was refused without a trace, a late answer could let in.
            Err(_) => Refusal::KeyStoreUnavailable,
        }
    }

    fn ring(&mut self, env: &mut Env<'_>) {
        self.own_doorbell(env);
        self.out.push(Effect::RingRoot);
    }

    fn own_doorbell(&mut self, env: &mut Env<'_>) {
        if self.nonce.is_none() {
            self.nonce = Nonce::draw(env);
        }
        let Some(nonce) = self.nonce else { return };
        if let Some(number) = self.number.keep(nonce, &self.namespace, env) {
            let name = format!("{}doorbell.{number}", self.namespace);
            self.out.push(Effect::OwnDoorbell(name));
        }
    }

    /// Counts a call's end, and tells the operator of a change.
    fn note<T>(
        &mut self,
        answer: Result<T, StoreFault>,
        env: &mut Env<'_>,
    ) -> Result<T, StoreFault> {
        let fault = answer.as_ref().err().copied();
        self.out.count(match fault {
            None => Counter::StoreAnswered,
            Some(StoreFault::NotSent) => Counter::StoreNotSent,
            Some(_) => Counter::StoreFailed,
        });
        self.health.note(fault, env.now.monotonic, &mut self.out);
        answer
    }
}
