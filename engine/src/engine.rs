//! The engine: takes events, decides, and yields effects.

use std::collections::{BTreeMap, VecDeque};

use rekey_protocol::{ApiKey, Client, Digest, RANDOM_BYTES, RotationId, UserId};
use zeroize::Zeroizing;

use crate::config::Config;
use crate::credentials;
use crate::env::{EntropyError, Env, RequestHead};
use crate::metrics::Counter;
use crate::refusal::Refusal;
use crate::reply::Reply;
use crate::rotation::{Progress, Rotation};
use crate::route::{self, Route};
use crate::store_call::{self, CallId, CallOutcome, CallOwner, Resolved, StoreFault, StoreRequest};
use crate::tombstones::{self, Tombstones};
use crate::workers::Claim;

/// Rotations under way in one worker (I8). More are told to come back.
const MOST_ROTATIONS: usize = 1024;
/// The store's health is logged no more often than this, in milliseconds.
const LOG_PAUSE_MS: u64 = 1_000;
/// The longest request id that goes to the audit log, in bytes.
const REQUEST_ID_MAX: usize = 128;
/// Draws of random bytes for one key; even the second is never needed.
const KEY_DRAWS: usize = 4;

/// Names a request between the engine and the adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(pub u32);

/// Something for the adapter to do, in the order given.
pub enum Effect {
    /// Let the request go on to the upstream.
    Continue {
        /// Which.
        request: RequestId,
        /// Whose it is; none on a public path.
        user: Option<UserId>,
    },
    /// Answer the request.
    Reply {
        /// Which.
        request: RequestId,
        /// With what.
        reply: Reply,
    },
    /// Send this to the store and report [`Engine::on_call_done`].
    Call {
        /// To be named in the report.
        call: CallId,
        /// In whose name it is sent.
        owner: CallOwner,
        /// What is sent.
        request: StoreRequest,
    },
    /// Call [`Engine::on_root`] from the root soon; the next tick serves too.
    RingRoot,
    /// From now on the root's doorbell is the queue of this name.
    OwnDoorbell(String),
    /// Count.
    Count(Counter),
    /// Tell the operator. Never holds a secret.
    Log(LogLevel, String),
}

/// How much a log line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// The operator has to do something.
    Error,
    /// Something is amiss that may pass.
    Warn,
    /// It passed.
    Info,
}

/// The decisions of one worker under one configuration. See the crate's head
/// for how it is driven.
pub struct Engine {
    config: Config,
    namespace: String,
    tombstones: Tombstones,
    claim: Claim,
    waiting: BTreeMap<RequestId, Waiting>,
    rotations: Vec<Rotation>,
    last_call: u64,
    effects: VecDeque<Effect>,
    health: Health,
}

/// A request that waits for the store's word on its key.
struct Waiting {
    call: CallId,
    digest: Digest,
    purpose: Purpose,
}

enum Purpose {
    Authenticate,
    Regenerate(Client),
}

/// What was last said of the store in the log.
#[derive(Default)]
struct Health {
    fault: Option<StoreFault>,
    logged: Option<u64>,
}

impl Engine {
    /// An engine without any state.
    pub fn new(config: Config) -> Self {
        let namespace = tombstones::namespace(&config);
        Self {
            tombstones: Tombstones::new(namespace.clone(), config.cache_slots),
            config,
            namespace,
            claim: Claim::default(),
            waiting: BTreeMap::new(),
            rotations: Vec::new(),
            last_call: 0,
            effects: VecDeque::new(),
            health: Health::default(),
        }
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Requests and rotations under way.
    pub fn under_way(&self) -> usize {
        self.waiting.len() + self.rotations.len()
    }

    /// The next thing to do; to be asked until there is none.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
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
            Route::Public => return self.go_on(request, None),
            Route::Protected => Purpose::Authenticate,
            Route::Regenerate => match check_endpoint(head) {
                Ok(client) => Purpose::Regenerate(client),
                Err(refusal) => return self.refuse(request, refusal),
            },
        };
        let authorization = head.header("authorization").map(Zeroizing::new);
        let digest = match credentials::read_key(
            authorization.as_ref().map(|value| value.as_slice()),
            self.config.checksum,
            &self.config.secrets,
        ) {
            Ok(key) => key.digest(),
            Err(refusal) => return self.refuse(request, refusal),
        };
        // A gRPC call is a POST of another kind: the gateway turns our answers to
        // it into headers, and a new key is not to be put into one.
        if matches!(purpose, Purpose::Regenerate(_)) && is_grpc(head) {
            return self.refuse(request, Refusal::MethodNotAllowed);
        }
        if self.tombstones.contains(env.sources, &digest) {
            self.count(Counter::TombstoneHit);
            return self.refuse(request, Refusal::ApiKeyRevoked);
        }
        let call = self.new_call();
        self.waiting.insert(
            request,
            Waiting {
                call,
                digest,
                purpose,
            },
        );
        let resolve = store_call::resolve(digest, self.config.store.resolve_timeout_ms);
        let owner = CallOwner::Request(request);
        self.effects.push_back(Effect::Call {
            call,
            owner,
            request: resolve,
        });
    }

    /// The request is over, whoever ended it. Returns the call that nobody
    /// waits for any more, if there is one.
    pub fn on_request_done(&mut self, request: RequestId) -> Option<CallId> {
        let orphan = self.waiting.remove(&request).map(|waiting| waiting.call);
        let place = self
            .rotations
            .iter()
            .position(|rotation| rotation.request == Some(request));
        let Some(mut rotation) = place.map(|place| self.rotations.swap_remove(place)) else {
            return orphan;
        };
        self.count(Counter::RotationAbandoned);
        if let Progress::Pending = rotation.client_left() {
            self.rotations.push(rotation);
        }
        None
    }

    /// A call was answered, or is known to be lost or unsent. A call that
    /// nobody waits for any more is ignored.
    pub fn on_call_done(
        &mut self,
        call: CallId,
        owner: CallOwner,
        outcome: CallOutcome<'_>,
        env: &mut Env<'_>,
    ) {
        match owner {
            CallOwner::Request(request) => {
                let awaited = self
                    .waiting
                    .get(&request)
                    .is_some_and(|waiting| waiting.call == call);
                if let Some(waiting) = self.waiting.remove(&request).filter(|_| awaited) {
                    self.resolved(request, waiting, outcome, env);
                }
            }
            CallOwner::Root => {
                let place = self
                    .rotations
                    .iter()
                    .position(|rotation| rotation.asked(call));
                if let Some(place) = place {
                    let rotation = self.rotations.swap_remove(place);
                    self.rotation_answered(rotation, outcome, env);
                }
            }
        }
    }

    /// The root was rung: sends what is due in the root's name.
    pub fn on_root(&mut self, env: &mut Env<'_>) {
        for mut rotation in std::mem::take(&mut self.rotations) {
            let call = self.new_call();
            if let Some((attempt, timeout)) = rotation.next_attempt(call, env.now) {
                if rotation.attempts() > 1 {
                    self.count(Counter::RotationRetried);
                }
                let request = store_call::rotate(&attempt, timeout);
                self.effects.push_back(Effect::Call {
                    call,
                    owner: CallOwner::Root,
                    request,
                });
            }
            let progress = rotation.tick(env.now);
            self.advance(rotation, progress, env);
        }
    }

    /// Time passed. To be called every 100 ms or so.
    pub fn on_tick(&mut self, env: &mut Env<'_>) {
        self.own_doorbell(env);
        self.on_root(env);
    }

    /// What the store said of the key of a waiting request.
    fn resolved(
        &mut self,
        request: RequestId,
        waiting: Waiting,
        outcome: CallOutcome<'_>,
        env: &mut Env<'_>,
    ) {
        let Waiting {
            digest, purpose, ..
        } = waiting;
        match self.note(store_call::read_resolved(outcome), env.now) {
            // I7: a failure of the store is a 503, never a 401.
            Err(_) => self.refuse(request, Refusal::KeyStoreUnavailable),
            Ok(Resolved::Unknown) => self.refuse(request, Refusal::InvalidApiKey),
            Ok(Resolved::Revoked { revision }) => {
                self.bury(&digest, revision, env);
                self.refuse(request, Refusal::ApiKeyRevoked);
            }
            Ok(Resolved::Active {
                user,
                rotation_allowed_in,
            }) => match purpose {
                Purpose::Authenticate => self.go_on(request, Some(user)),
                Purpose::Regenerate(_) if rotation_allowed_in > 0 => {
                    let retry_after = rotation_allowed_in.min(3600);
                    self.refuse(request, Refusal::RateLimited { retry_after });
                }
                Purpose::Regenerate(client) => self.begin_rotation(request, digest, client, env),
            },
        }
    }

    fn rotation_answered(
        &mut self,
        mut rotation: Rotation,
        outcome: CallOutcome<'_>,
        env: &mut Env<'_>,
    ) {
        let progress = match self.note(store_call::read_decided(outcome), env.now) {
            Ok(decided) => rotation.decided(decided),
            Err(fault) => rotation.failed(fault, env.now),
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
            return self.refuse(request, Refusal::KeyStoreUnavailable);
        }
        match self.draw_key(env) {
            Ok((id, new)) => {
                self.rotations
                    .push(Rotation::new(request, id, old, new, client, env.now));
                self.own_doorbell(env);
                self.effects.push_back(Effect::RingRoot);
            }
            Err(error) => {
                self.log(LogLevel::Error, format!("cannot make a key: {error}"));
                self.refuse(request, Refusal::KeyStoreUnavailable);
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
                self.bury(&rotation.old_digest(), revision, env);
                if let Some(request) = rotation.request {
                    self.count(Counter::Rotated);
                    let reply = Reply::rotated(&key, &created_at);
                    self.effects.push_back(Effect::Reply { request, reply });
                }
            }
            Progress::Refused {
                refusal,
                revoked_at,
            } => {
                if let Some(revision) = revoked_at {
                    self.bury(&rotation.old_digest(), revision, env);
                }
                if let Some(request) = rotation.request {
                    self.refuse(request, refusal);
                }
            }
        }
    }

    /// Writes down that a key is revoked. If that fails the store is asked
    /// again next time, which is slower and no less right.
    fn bury(&mut self, digest: &Digest, revision: u64, env: &mut Env<'_>) {
        if self
            .tombstones
            .insert(env.sources, digest, revision)
            .is_ok()
        {
            self.count(Counter::TombstoneWritten);
        }
    }

    fn own_doorbell(&mut self, env: &mut Env<'_>) {
        if let Some(number) = self.claim.keep(&self.namespace, env) {
            let name = format!("{}doorbell.{number}", self.namespace);
            self.effects.push_back(Effect::OwnDoorbell(name));
        }
    }

    /// Counts a call's end and tells the operator when the store's health
    /// changes: once, not once a request.
    fn note<T>(&mut self, answer: Result<T, StoreFault>, now: u64) -> Result<T, StoreFault> {
        let fault = answer.as_ref().err().copied();
        self.count(match fault {
            None => Counter::StoreAnswered,
            Some(StoreFault::NotSent) => Counter::StoreNotSent,
            Some(_) => Counter::StoreFailed,
        });
        let quiet = self
            .health
            .logged
            .is_some_and(|at| now.saturating_sub(at) < LOG_PAUSE_MS);
        if fault != self.health.fault && !quiet {
            self.health = Health {
                fault,
                logged: Some(now),
            };
            let cluster = &self.config.store.cluster;
            let (level, text) = match fault {
                None => (
                    LogLevel::Info,
                    format!("key store (cluster {cluster}) answers again"),
                ),
                Some(fault) => {
                    let level = match fault {
                        StoreFault::Unauthorized => LogLevel::Error,
                        _ => LogLevel::Warn,
                    };
                    let why = fault.explain();
                    (
                        level,
                        format!("call to the key store (cluster {cluster}) failed: {why}"),
                    )
                }
            };
            self.log(level, text);
        }
        answer
    }

    fn go_on(&mut self, request: RequestId, user: Option<UserId>) {
        self.count(if user.is_some() {
            Counter::Allowed
        } else {
            Counter::Public
        });
        self.effects.push_back(Effect::Continue { request, user });
    }

    fn refuse(&mut self, request: RequestId, refusal: Refusal) {
        self.count(refusal.into());
        self.effects.push_back(Effect::Reply {
            request,
            reply: Reply::refused(refusal),
        });
    }

    fn count(&mut self, counter: Counter) {
        self.effects.push_back(Effect::Count(counter));
    }

    fn log(&mut self, level: LogLevel, text: String) {
        self.effects.push_back(Effect::Log(level, text));
    }

    fn new_call(&mut self) -> CallId {
        self.last_call += 1;
        CallId(self.last_call)
    }
}

/// As Envoy tells a gRPC call: by its content type.
fn is_grpc(head: &dyn RequestHead) -> bool {
    let content_type = head.header("content-type").unwrap_or_default();
    content_type.starts_with(b"application/grpc")
}

/// The checks of the endpoint that come before the key, in the contract's
/// order: method, then Idempotency-Key.
fn check_endpoint(head: &dyn RequestHead) -> Result<Client, Refusal> {
    if head.method() != b"POST" {
        return Err(Refusal::MethodNotAllowed);
    }
    credentials::check_idempotency_key(head.header("idempotency-key").as_deref())?;
    // A gateway may be told to keep the client's own, which can be anything: one
    // that made the rotate call too large for the store would cost the rotation.
    let request_id = head
        .header("x-request-id")
        .filter(|id| id.len() <= REQUEST_ID_MAX);
    Ok(Client {
        address: head.client_address(),
        request_id: request_id.and_then(|id| String::from_utf8(id).ok()),
    })
}
