//! The one file that knows the shape of the engine's interface: the world's
//! events into the engine's, its effects into the world's.

use rekey_engine::{
    CallId, CallOutcome, Config, Effect, Engine, Env, RequestHead, RequestId, Sources,
};

pub use rekey_engine::Moment;

use super::plan::Settings;

/// The checksum's secret of the whole fleet.
pub const SECRET: &str = "0123456789abcdef";
/// The endpoint.
pub const REGENERATE: &str = "/v1/user/api-key/regenerate";

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
        /// Whether it is for the endpoint.
        regenerate: bool,
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

/// What a worker wants done.
pub enum Act {
    /// The request goes to the upstream, in the name of this user.
    Upstream(u32, String),
    /// The request is answered: status and body.
    Reply(u32, u16, Vec<u8>),
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
}

/// One worker's engine.
pub struct Port(Engine);

struct Head<'a> {
    key: &'a str,
    regenerate: bool,
}

impl RequestHead for Head<'_> {
    fn path(&self) -> Vec<u8> {
        if self.regenerate {
            REGENERATE
        } else {
            "/v1/things"
        }
        .into()
    }

    fn method(&self) -> Vec<u8> {
        if self.regenerate { "POST" } else { "GET" }.into()
    }

    fn header(&self, name: &str) -> Option<Vec<u8>> {
        (name == "authorization").then(|| format!("Bearer {}", self.key).into_bytes())
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
                regenerate,
            } => {
                let head = Head {
                    key,
                    regenerate: *regenerate,
                };
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
                    Act::Reply(request.0, reply.status, reply.body.to_vec())
                }
                Effect::Call { call, request } => Act::Call {
                    call: call.0,
                    path: request.path,
                    body: request.body,
                    timeout_ms: request.timeout_ms,
                },
                Effect::RingRoot => Act::Ring,
                _ => continue,
            });
        }
    }
}
