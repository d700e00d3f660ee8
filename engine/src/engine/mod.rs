//! The engine: takes events, decides, and yields effects.

mod arriving;
mod cache_miss;
mod open_requests;
mod resolving;
mod rotating;

use rekey_protocol::Digest;

use crate::cache::negative::NegativeCache;
use crate::cache::slots::{Tombstone, View};
use crate::config::Config;
use crate::feed::feeder::Feeder;
use crate::feed::last_uses::LastUseTracker;
use crate::feed::revoked_uses::RevokedUseCounts;
use crate::host::env::{Env, RequestHead};
use crate::host::metrics::{self, Counter};
use crate::host::outbox::{Effect, MOST_TURNS, Outbox, RequestId, TurnLimit};
use crate::request::endpoint;
use crate::request::held::Held;
use crate::request::refusal::ApiRefusal;
use crate::rotation::issuing::Issuing;
use crate::rotation::lifecycle::{NextAttempt, Progress, Rotation};
use crate::rotation::queue::Queue;
use crate::shared::SharedState;
use crate::shared::leader::WorkerNonce;
use crate::shared::workers::WorkerNumber;
use crate::store::calls::{self, CallId, CallOutcome, StoreFault};
use crate::store::health::StoreHealth;
use crate::store::lookups::{ClusterChoice, Lookups};
use crate::streams::open_requests::Streams;

/// Whether there can be a key that the store was asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Existence {
    /// The store knows no such key, and no import has come between.
    Denied,
    /// The store knows it, or cannot be asked, or what it said is too old.
    Possible,
}

/// The decisions of one worker under one configuration. See the crate's head
/// for how it is driven.
pub struct Engine {
    config: Config,
    shared: SharedState,
    nonce: Option<WorkerNonce>,
    number: WorkerNumber,
    feeder: Feeder,
    lookups: Lookups,
    negative_cache: NegativeCache,
    revoked_uses: RevokedUseCounts,
    last_uses: LastUseTracker,
    rotations: Vec<Rotation>,
    queue: Queue,
    issuing: Issuing,
    streams: Streams,
    held: Held,
    health: StoreHealth,
    /// Where rotations go another way than lookups.
    rotation_health: Option<StoreHealth>,
    out: Outbox,
}

impl Engine {
    /// An engine without any state.
    pub fn new(config: Config) -> Self {
        let shared = SharedState::new(&config);
        Self {
            nonce: None,
            number: WorkerNumber::default(),
            feeder: Feeder::new(&config),
            lookups: Lookups::default(),
            negative_cache: NegativeCache::default(),
            revoked_uses: RevokedUseCounts::default(),
            last_uses: LastUseTracker::new(config.cache_slots),
            rotations: Vec::new(),
            queue: Queue::default(),
            issuing: Issuing::new(shared.advice.clone(), &config),
            streams: Streams::new(config.max_streams),
            held: Held::default(),
            health: StoreHealth::of(format!("key store (cluster {})", config.store.cluster)),
            rotation_health: config.store.rotation_cluster.as_ref().map(|cluster| {
                StoreHealth::of(format!("key store for rotations (cluster {cluster})"))
            }),
            out: Outbox::default(),
            shared,
            config,
        }
    }

    /// The configuration that the engine was made with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Requests and rotations in flight.
    pub fn in_flight(&self) -> usize {
        self.lookups.waiting() + self.rotations.len() + self.queue.len() + self.held.len()
    }

    /// Requests that were let through and are not over; none where they are not
    /// ended with their keys.
    pub fn open_requests(&self) -> usize {
        self.streams.entered()
    }

    /// The next thing to do; to be asked until there is none.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.out.pop()
    }

    /// The headers of a request came. It is decided at once (a `Continue` or
    /// `Reply` is among the effects) or waits: for a call, or refused, for its body.
    pub fn on_request_headers(
        &mut self,
        request: RequestId,
        head: &dyn RequestHead,
        env: &mut Env<'_>,
    ) {
        self.out.begin(TurnLimit::Only(request));
        self.receive(request, head, env);
        if endpoint::sends_a_body(head)
            && self.held.has_room()
            && let Some(reply) = self.out.take_reply(request)
        {
            self.held.hold(request, reply, env.now.monotonic);
        }
    }

    /// The request is over. Perhaps the host has ended it inside the end of another
    /// one, so this event turns to no request.
    pub fn on_request_done(&mut self, request: RequestId) {
        self.out.begin(TurnLimit::None);
        self.out.forget(request);
        self.streams.close(request);
        self.lookups.leave(request);
        self.held.leave(request);
        self.queue.leave(request);
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
        self.out.begin(TurnLimit::Most(MOST_TURNS));
        if let Some(nonce) = self.nonce.filter(|_| self.feeder.asked(call)) {
            let (shared, issuing) = (&self.shared, &mut self.issuing);
            self.feeder
                .answered(outcome, nonce, shared, issuing, env, &mut self.out);
            return self.tell_revoked(env);
        }
        if let Some(answered) = self.lookups.answered(call) {
            let outcome = self.note(calls::read_resolved(outcome), env);
            let digest = answered.digest;
            let existence = self.resolved(answered, outcome, env);
            self.stream_key_answered(&digest, existence, env);
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
        self.out.begin(TurnLimit::Most(MOST_TURNS));
        self.end_streams(env);
        self.take_turns(env);
        // G5: a call remembers the generation it was sent in.
        let control = self.shared.control.read(env);
        let now = env.now.monotonic;
        let store = &self.config.store;
        let timeout = store.resolve_timeout_ms;
        let lost_at = calls::lost_at(now, timeout);
        for due in self.lookups.send_due(control.as_ref(), lost_at) {
            // So that a crowd of other lookups is not in a rotation's way.
            let cluster = match due.way {
                ClusterChoice::Lookup => &store.cluster,
                ClusterChoice::Rotation => store.for_rotations(),
            };
            self.out
                .call(due.call, calls::resolve(cluster, due.digest, timeout));
        }
        for mut rotation in std::mem::take(&mut self.rotations) {
            let call = self.out.new_call();
            if let Some(attempt) = rotation.next_attempt(call, now) {
                if rotation.attempts() > 1 {
                    self.out.count(Counter::RotationRetried);
                }
                let cluster = self.config.store.for_rotations();
                let NextAttempt {
                    request,
                    timeout_ms,
                } = attempt;
                self.out
                    .call(call, calls::rotate(cluster, &request, timeout_ms));
            }
            let progress = rotation.tick(now);
            self.advance(rotation, progress, env);
        }
    }

    /// Time passed. To be called every 100 ms or so.
    pub fn on_tick(&mut self, env: &mut Env<'_>) {
        self.out.begin(TurnLimit::Most(MOST_TURNS));
        self.own_doorbell(env);
        self.held.send_due(env.now.monotonic, &mut self.out);
        self.revoked_uses
            .hand_over(&self.shared.revoked_uses, env.sources);
        self.issuing.tick(env.sources, &mut self.out);
        self.last_uses
            .hand_over(&self.shared.last_uses, env.sources);
        if let Some(nonce) = self.nonce {
            self.feeder.tick(nonce, &self.shared, env, &mut self.out);
        }
        for call in self.lookups.overdue(env.now.monotonic) {
            self.on_call_done(call, CallOutcome::Lost, env);
        }
        self.check_streams(env);
        self.on_root(env);
        if let Some(control) = self.shared.control.read(env) {
            metrics::show(&control, env.now, self.config.lease_ms, &mut self.out);
        }
    }

    /// Writes down that a key was revoked, as the store said when it stood at
    /// `read_at`. Returns what to tell who asked.
    fn bury(
        &mut self,
        digest: &Digest,
        tombstone: Tombstone,
        read_at: u64,
        env: &mut Env<'_>,
    ) -> ApiRefusal {
        let Some(control) = self.shared.control.read(env) else {
            return ApiRefusal::KeyStoreUnavailable;
        };
        // Of before the generation: perhaps of a history that was lost, in which
        // case the key lives. Nothing that was asked then is cached now (G5).
        if read_at < control.generation.began {
            return ApiRefusal::ApiKeyRevoked;
        }
        let (generation, sources) = (control.generation, &mut *env.sources);
        let known = self.shared.keys.look(sources, generation, digest);
        match self
            .shared
            .keys
            .bury(sources, generation, digest, tombstone)
        {
            Ok(()) => {
                self.out.count(Counter::TombstoneWritten);
                // Once in a generation: in an earlier one, of a history that was
                // lost, it may have been told, too, and the key was good again.
                if !matches!(known, View::Revoked(_)) {
                    self.tell_of(digest, env);
                }
                ApiRefusal::ApiKeyRevoked
            }
            // I1: what was refused without a trace, a late answer could let in.
            Err(_) => ApiRefusal::KeyStoreUnavailable,
        }
    }

    fn ring(&mut self, env: &mut Env<'_>) {
        self.own_doorbell(env);
        self.out.push(Effect::RingRoot);
    }

    fn own_doorbell(&mut self, env: &mut Env<'_>) {
        if self.nonce.is_none() {
            self.nonce = WorkerNonce::draw(env);
        }
        let Some(nonce) = self.nonce else { return };
        if let Some(number) = self.number.keep(nonce, &self.shared.roles, env) {
            let name = self.shared.doorbell(number);
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
        self.count_call(fault);
        self.health.note(fault, env.now.monotonic, &mut self.out);
        answer
    }

    /// The same of a rotation's call.
    fn note_rotation<T>(
        &mut self,
        answer: Result<T, StoreFault>,
        env: &mut Env<'_>,
    ) -> Result<T, StoreFault> {
        let fault = answer.as_ref().err().copied();
        self.count_call(fault);
        let health = self.rotation_health.as_mut().unwrap_or(&mut self.health);
        health.note(fault, env.now.monotonic, &mut self.out);
        answer
    }

    fn count_call(&mut self, fault: Option<StoreFault>) {
        self.out.count(match fault {
            None => Counter::StoreAnswered,
            Some(StoreFault::NotSent) => Counter::StoreNotSent,
            Some(_) => Counter::StoreFailed,
        });
    }
}
