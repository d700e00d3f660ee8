//! The one file that knows the shape of the engine's interface: the world's
//! events into the engine's, its effects into the world's.

use rekey_engine::{
    CallId, CallOutcome, Config, Effect, Engine, Env, RequestHead, RequestId, Sources,
};

pub use rekey_engine::Moment;

use crate::fleet::people::errands::Errand;
use crate::fleet::plan::Settings;

/// The checksum's secret of the whole fleet.
pub const SECRET: &str = "0123456789abcdef";
/// The endpoint.
pub const REGENERATE: &str = "/v1/user/api-key/regenerate";

/// The header that says that a 200 repeats an earlier one.
const REPLAYED: &str = "idempotent-replayed";

/// What a worker is told.
#[derive(Debug, Clone)]
pub enum Happening {
    /// Time passed.
    Tick,
    /// The doorbell rang.
    Root,
    /// The headers of a request came.
    Headers {
        /// Which.
        request: u32,
        /// The key, in plain text.
        key: String,
        /// What for, if it is for the endpoint.
        errand: Option<Errand>,
    },
    /// A request is over.
    Done(u32),
    /// A call came to an end.
    Call(u64, Outcome),
}

/// What came of a call.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// It was not sent.
    NotSent,
    /// Nothing came back.
    Lost,
    /// The store answered: status and body.
    Answer(u16, Vec<u8>),
}

/// An answer of the gateway's own.
pub struct Reply {
    /// Status.
    pub status: u16,
    /// JSON.
    pub body: Vec<u8>,
    /// Whether it says that it repeats an earlier one.
    pub is_replayed: bool,
}

/// What a worker wants done.
pub enum Act {
    /// The request goes to the upstream, in the name of this user.
    Upstream(u32, String),
    /// The request is answered.
    Reply(u32, Reply),
    /// A call to the store.
    Call {
        /// To be named with its outcome.
        call: u64,
        /// The path.
        path: &'static str,
        /// JSON.
        body: Vec<u8>,
        /// In milliseconds.
        timeout_ms: u32,
    },
    /// The root wants to be woken.
    Ring,
    /// The doorbell of this name is this worker's from now on.
    Own(String),
    /// The owner of the doorbell of this name is to be woken.
    RingOther(String),
    /// The request, which went to the upstream, is to be ended.
    Reset(u32),
}

/// One worker's engine.
pub struct Port(Engine);

struct Head<'a> {
    key: &'a str,
    errand: Option<&'a Errand>,
}

impl RequestHead for Head<'_> {
    fn path(&self) -> Vec<u8> {
        if self.errand.is_some() {
            REGENERATE
        } else {
            "/v1/things"
        }
        .into()
    }

    fn method(&self) -> Vec<u8> {
        let is_post = self.errand.is_some();
        if is_post { "POST" } else { "GET" }.into()
    }

    fn header(&self, name: &str) -> Option<Vec<u8>> {
        let value = match name {
            "authorization" => format!("Bearer {}", self.key),
            "idempotency-key" => self.errand?.idempotency_key()?.to_owned(),
            _ => return None,
        };
        Some(value.into_bytes())
    }

    fn body_follows(&self) -> bool {
        false
    }
    fn client_address(&self) -> Option<String> {
        None
    }
}

impl Port {
    /// An engine under these settings.
    pub fn new(settings: Settings) -> anyhow::Result<Self> {
        let json = format!(
            r#"{{"store":{{"cluster":"store"}},"lease_ms":{},"cache_slots":{}}}"#,
            settings.lease_ms, settings.cache_slots
        );
        let config = Config::load(json.as_bytes(), Some(SECRET), None)?;
        Ok(Self(Engine::new(config)))
    }

    /// Tells it what happened.
    pub fn handle(&mut self, what: &Happening, now: Moment, sources: &mut dyn Sources) {
        let env = &mut Env { now, sources };
        match what {
            Happening::Tick => self.0.on_tick(env),
            Happening::Root => self.0.on_root(env),
            Happening::Headers {
                request,
                key,
                errand,
            } => {
                let errand = errand.as_ref();
                let head = Head { key, errand };
                self.0.on_request_headers(RequestId(*request), &head, env);
            }
            Happening::Done(request) => {
                self.0.on_request_done(RequestId(*request));
            }
            Happening::Call(call, outcome) => {
                let outcome = match outcome {
                    Outcome::NotSent => CallOutcome::NotSent,
                    Outcome::Lost => CallOutcome::Lost,
                    Outcome::Answer(status, body) => CallOutcome::Answer {
                        status: *status,
                        marked: true,
                        body,
                    },
                };
                self.0.on_call_done(CallId(*call), outcome, env);
            }
        }
    }

    /// The next thing that it wants done.
    pub fn next_act(&mut self) -> Option<Act> {
        loop {
            return Some(match self.0.poll_effect()? {
                Effect::Continue { request, user } => Act::Upstream(
                    request.0,
                    user.map(|user| user.as_str().to_owned())
                        .unwrap_or_default(),
                ),
                Effect::Reply { request, reply } => {
                    let reply = Reply {
                        status: reply.status,
                        body: reply.body.to_vec(),
                        is_replayed: reply.headers.iter().any(|(name, _)| *name == REPLAYED),
                    };
                    Act::Reply(request.0, reply)
                }
                Effect::Call { call, request } => Act::Call {
                    call: call.0,
                    path: request.path,
                    body: request.body,
                    timeout_ms: request.timeout_ms,
                },
                Effect::RingRoot => Act::Ring,
                Effect::OwnDoorbell(name) => Act::Own(name),
                Effect::RingDoorbell(name) => Act::RingOther(name),
                Effect::Reset { request } => Act::Reset(request.0),
                _ => continue,
            });
        }
    }
}
