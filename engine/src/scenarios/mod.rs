//! Scenarios of the engine as a whole: a worker, its requests, and what the
//! store answers, event by event.

mod contract;
mod floods;
mod held;
mod last_uses;
mod lease;
mod losses;
mod rotation;
mod secrets;
mod streams;

use std::collections::{BTreeMap, BTreeSet};

use rekey_protocol::{ChecksumSecrets, FEED_PATH, RotateRequest};
use serde_json::{Value, json};

use crate::testing::Memory;
use crate::{
    CallId, CallOutcome, Config, Counter, Effect, Engine, Env, Gauge, LogLevel, RequestHead,
    RequestId, StoreRequest,
};

const SECRET: &str = "0123456789abcdef";
const CONFIG: &str = r#"{"store":{"cluster":"store"},"public_paths":["/status"]}"#;
const REGENERATE: &str = "/v1/user/api-key/regenerate";

/// What a request came to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    Upstream(Option<String>),
    Reply(u16, String),
}

impl End {
    /// Status and `error.code`.
    fn refusal(&self) -> (u16, String) {
        match self {
            End::Upstream(user) => panic!("went on as {user:?}"),
            End::Reply(status, body) => {
                let body: Value = serde_json::from_str(body).unwrap();
                (
                    *status,
                    body["error"]["code"]
                        .as_str()
                        .unwrap_or_default()
                        .to_owned(),
                )
            }
        }
    }
}

struct TestHead<'a> {
    method: &'a str,
    path: &'a str,
    headers: Vec<(&'a str, String)>,
}

impl RequestHead for TestHead<'_> {
    fn path(&self) -> Vec<u8> {
        self.path.into()
    }
    fn method(&self) -> Vec<u8> {
        self.method.into()
    }
    fn header(&self, name: &str) -> Option<Vec<u8>> {
        let found = self.headers.iter().find(|(header, _)| *header == name);
        found.map(|(_, value)| value.clone().into_bytes())
    }
    fn body_follows(&self) -> bool {
        self.header("content-length").is_some()
    }
    fn client_address(&self) -> Option<String> {
        Some("192.0.2.1:4711".into())
    }
}

/// One worker on shared data, in the hands of a test.
struct Worker {
    engine: Engine,
    memory: Memory,
    now: u64,
    last_request: u32,
    ends: BTreeMap<RequestId, End>,
    headers: BTreeMap<RequestId, Vec<(&'static str, String)>>,
    calls: Vec<(CallId, StoreRequest)>,
    /// Polls of the change feed, apart from the calls of requests.
    polls: Vec<(CallId, StoreRequest)>,
    counts: BTreeMap<Counter, u32>,
    gauges: BTreeMap<Gauge, u64>,
    log: Vec<(LogLevel, String)>,
    rings: u32,
    resets: BTreeSet<RequestId>,
    /// The doorbells of others that were rung.
    rung: Vec<String>,
    /// Whether the root hears its bell only when it ticks.
    bell_is_lost: bool,
}

impl Worker {
    fn new() -> Self {
        Self::with(CONFIG)
    }

    fn with(config: &str) -> Self {
        let config = Config::load(config.as_bytes(), Some(SECRET), None).unwrap();
        Self {
            engine: Engine::new(config),
            memory: Memory::default(),
            now: 5_000,
            last_request: 0,
            ends: BTreeMap::new(),
            headers: BTreeMap::new(),
            calls: Vec::new(),
            polls: Vec::new(),
            counts: BTreeMap::new(),
            gauges: BTreeMap::new(),
            log: Vec::new(),
            rings: 0,
            resets: BTreeSet::new(),
            rung: Vec::new(),
            bell_is_lost: false,
        }
    }

    fn event(&mut self, event: impl FnOnce(&mut Engine, &mut Env<'_>)) {
        event(&mut self.engine, &mut self.memory.at(self.now));
        let rings = self.rings;
        self.perform();
        if self.rings > rings && !self.bell_is_lost {
            self.ring();
        }
    }

    fn perform(&mut self) {
        while let Some(effect) = self.engine.poll_effect() {
            match effect {
                Effect::Continue { request, user } => {
                    let end = End::Upstream(user.map(|user| user.to_string()));
                    self.end(request, end);
                }
                Effect::Reply { request, reply } => {
                    let body = String::from_utf8(reply.body.to_vec()).unwrap();
                    self.headers.insert(request, reply.headers);
                    self.end(request, End::Reply(reply.status, body));
                }
                Effect::Call { call, request } if request.path == FEED_PATH => {
                    self.polls.push((call, request));
                }
                Effect::Call { call, request } => self.calls.push((call, request)),
                Effect::Reset { request } => {
                    assert!(self.resets.insert(request), "{request:?} was reset twice");
                }
                Effect::RingRoot => self.rings += 1,
                Effect::RingDoorbell(name) => self.rung.push(name),
                Effect::OwnDoorbell(_) => {}
                Effect::Count(counter) => *self.counts.entry(counter).or_default() += 1,
                Effect::Show(gauge, value) => {
                    self.gauges.insert(gauge, value);
                }
                Effect::Log(level, text) => self.log.push((level, text)),
            }
        }
    }

    fn end(&mut self, request: RequestId, end: End) {
        assert!(
            self.ends.insert(request, end).is_none(),
            "{request:?} ended twice"
        );
    }

    fn request(&mut self, method: &str, path: &str, headers: Vec<(&str, String)>) -> RequestId {
        self.last_request += 1;
        let id = RequestId(self.last_request);
        let head = TestHead {
            method,
            path,
            headers,
        };
        self.event(|engine, env| engine.on_request_headers(id, &head, env));
        id
    }

    fn get(&mut self, key: &str) -> RequestId {
        self.request("GET", "/v1/scrape", vec![bearer(key)])
    }

    fn regenerate(&mut self, key: &str) -> RequestId {
        self.request("POST", REGENERATE, vec![bearer(key)])
    }

    /// The one call in flight.
    fn call(&mut self) -> (CallId, StoreRequest) {
        assert_eq!(self.calls.len(), 1);
        self.calls.remove(0)
    }

    fn answer(&mut self, status: u16, body: Value) {
        let body = body.to_string();
        self.outcome(CallOutcome::Answer {
            status,
            marked: true,
            body: body.as_bytes(),
        });
    }

    /// The store answers this call, one of several.
    fn end_call(&mut self, call: CallId, status: u16, body: &Value) {
        let body = body.to_string();
        let outcome = CallOutcome::Answer {
            status,
            marked: true,
            body: body.as_bytes(),
        };
        self.event(|engine, env| engine.on_call_done(call, outcome, env));
    }

    fn outcome(&mut self, outcome: CallOutcome<'_>) {
        let (call, _) = self.call();
        self.event(|engine, env| engine.on_call_done(call, outcome, env));
    }

    fn ring(&mut self) {
        self.event(|engine, env| engine.on_root(env));
    }

    fn pass(&mut self, milliseconds: u64) {
        self.now += milliseconds;
        self.event(|engine, env| engine.on_tick(env));
    }

    fn refused(&self, request: RequestId) -> (u16, String) {
        self.ends[&request].refusal()
    }

    fn leave(&mut self, request: RequestId) {
        self.event(|engine, _| engine.on_request_done(request));
    }

    /// A rotation whose rotate call is in flight, and that call's body.
    fn rotating(&mut self, key: &str) -> (RequestId, RotateRequest) {
        let request = self.regenerate(key);
        self.answer(200, active("u_1", 0));
        let (_, sent) = self.calls.last().unwrap();
        assert_eq!(sent.path, "/v1/keys/rotate");
        (request, serde_json::from_slice(&sent.body).unwrap())
    }
}

fn bearer(key: &str) -> (&'static str, String) {
    ("authorization", format!("Bearer {key}"))
}

fn key(seed: u8) -> String {
    let secrets = ChecksumSecrets::parse(SECRET).unwrap();
    secrets.issue(&[seed; 64]).unwrap().expose().to_owned()
}

/// One of more keys than there are seeds.
fn numbered_key(number: u16) -> String {
    let mut random = [7; 64];
    let [high, low] = number.to_be_bytes();
    random[..4].copy_from_slice(&[high / 16, high % 16, low / 16, low % 16]);
    let secrets = ChecksumSecrets::parse(SECRET).unwrap();
    secrets.issue(&random).unwrap().expose().to_owned()
}

fn active(user: &str, rotation_allowed_in: u64) -> Value {
    json!({"state": "active", "user": user, "revision": 3, "rotation_allowed_in": rotation_allowed_in,
        "head": {"incarnation": "0".repeat(32), "revision": 9}})
}

fn revoked() -> Value {
    json!({"state": "revoked", "user": "u_1", "revision": 7, "rotation_allowed_in": 0,
        "head": {"incarnation": "0".repeat(32), "revision": 9}})
}

fn rotated(sent: &RotateRequest) -> Value {
    json!({"outcome": "rotated", "created_at": "2025-01-31T16:00:00Z", "revision": 10,
        "new_digest": sent.new_digest, "user": "u_1"})
}

fn unmarked(status: u16) -> CallOutcome<'static> {
    CallOutcome::Answer {
        status,
        marked: false,
        body: b"upstream connect error",
    }
}
