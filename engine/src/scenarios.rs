//! Scenarios of the engine as a whole: a worker, its requests, and what the
//! store answers, event by event.

use std::collections::BTreeMap;

use rekey_protocol::{ChecksumSecrets, Digest, RotateRequest};
use serde_json::{Value, json};

use crate::env::testing::Memory;
use crate::rotation::PATIENCE_MS;
use crate::{
    CallId, CallOutcome, CallOwner, Config, Counter, Effect, Engine, Env, LogLevel, RequestHead,
    RequestId, StoreRequest,
};

const SECRET: &str = "0123456789abcdef";
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

struct Head<'a> {
    method: &'a str,
    path: &'a str,
    headers: Vec<(&'a str, String)>,
}

impl RequestHead for Head<'_> {
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
    calls: Vec<(CallId, CallOwner, StoreRequest)>,
    counts: BTreeMap<Counter, u32>,
    log: Vec<(LogLevel, String)>,
    rings: u32,
}

impl Worker {
    fn new() -> Self {
        Self::with(r#"{"store":{"cluster":"store"},"public_paths":["/status"]}"#)
    }

    fn with(config: &str) -> Self {
        let config = Config::load(config.as_bytes(), Some(SECRET), None).unwrap();
        Self {
            engine: Engine::new(config),
            memory: Memory::default(),
            now: 5_000,
            last_request: 0,
            ends: BTreeMap::new(),
            calls: Vec::new(),
            counts: BTreeMap::new(),
            log: Vec::new(),
            rings: 0,
        }
    }

    fn event(&mut self, event: impl FnOnce(&mut Engine, &mut Env<'_>)) {
        let mut env = Env {
            now: self.now,
            sources: &mut self.memory,
        };
        event(&mut self.engine, &mut env);
        while let Some(effect) = self.engine.poll_effect() {
            match effect {
                Effect::Continue { request, user } => {
                    let end = End::Upstream(user.map(|user| user.to_string()));
                    self.end(request, end);
                }
                Effect::Reply { request, reply } => {
                    let body = String::from_utf8(reply.body.to_vec()).unwrap();
                    self.end(request, End::Reply(reply.status, body));
                }
                Effect::Call {
                    call,
                    owner,
                    request,
                } => self.calls.push((call, owner, request)),
                Effect::RingRoot => self.rings += 1,
                Effect::OwnDoorbell(_) => {}
                Effect::Count(counter) => *self.counts.entry(counter).or_default() += 1,
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
        let head = Head {
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

    /// The one call under way.
    fn call(&mut self) -> (CallId, CallOwner, StoreRequest) {
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

    fn outcome(&mut self, outcome: CallOutcome<'_>) {
        let (call, owner, _) = self.call();
        self.event(|engine, env| engine.on_call_done(call, owner, outcome, env));
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

    fn leave(&mut self, request: RequestId) -> Option<CallId> {
        let mut orphan = None;
        self.event(|engine, _| orphan = engine.on_request_done(request));
        orphan
    }

    /// A rotation whose rotate call is under way, and that call's body.
    fn rotating(&mut self, key: &str) -> (RequestId, RotateRequest) {
        let request = self.regenerate(key);
        self.answer(200, active("u_1", 0));
        assert!(self.rings > 0, "the root has to be rung");
        self.ring();
        let (_, owner, sent) = self.calls.last().unwrap();
        assert_eq!((*owner, sent.path), (CallOwner::Root, "/v1/keys/rotate"));
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

fn active(user: &str, rotation_allowed_in: u64) -> Value {
    json!({"state": "active", "user": user, "revision": 3, "rotation_allowed_in": rotation_allowed_in,
        "head": {"incarnation": "00", "revision": 9}})
}

fn revoked() -> Value {
    json!({"state": "revoked", "user": "u_1", "revision": 7, "rotation_allowed_in": 0,
        "head": {"incarnation": "00", "revision": 9}})
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

#[test]
fn a_valid_key_goes_on_with_its_user() {
    let mut worker = Worker::new();
    let request = worker.get(&key(1));
    let (call, owner, sent) = worker.calls.last().cloned().unwrap();
    assert_eq!(
        (owner, sent.path),
        (CallOwner::Request(request), "/v1/keys/resolve")
    );
    assert_eq!(sent.timeout_ms, 1000);
    let body: Value = serde_json::from_slice(&sent.body).unwrap();
    assert_eq!(body, json!({"digest": Digest::of(key(1).as_bytes())}));
    worker.answer(200, active("u_1", 0));
    assert_eq!(worker.ends[&request], End::Upstream(Some("u_1".into())));
    // An answer that comes twice finds nobody.
    worker.calls.push((call, owner, sent));
    worker.answer(200, active("u_1", 0));
    assert_eq!(worker.engine.under_way(), 0);
}

#[test]
fn a_public_path_needs_no_key_and_bears_no_user() {
    let mut worker = Worker::new();
    let request = worker.request("GET", "/status", vec![bearer(&key(1))]);
    assert_eq!(worker.ends[&request], End::Upstream(None));
    assert!(worker.calls.is_empty());
}

#[test]
fn a_bad_key_is_refused_without_a_call() {
    let mut worker = Worker::new();
    let request = worker.get("sb_live_nonsense");
    assert_eq!(worker.refused(request), (401, "invalid_api_key".into()));
    let request = worker.request("GET", "/", vec![]);
    assert_eq!(worker.refused(request), (401, "missing_api_key".into()));
    assert!(worker.calls.is_empty());
}

#[test]
fn the_endpoint_checks_method_then_idempotency_key_then_key() {
    let mut worker = Worker::new();
    let short = || ("idempotency-key", "short".to_owned());
    for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "post"] {
        let request = worker.request(method, REGENERATE, vec![short()]);
        assert_eq!(worker.refused(request), (405, "method_not_allowed".into()));
    }
    let request = worker.request("POST", REGENERATE, vec![short()]);
    assert_eq!(
        worker.refused(request),
        (400, "invalid_idempotency_key".into())
    );
    let request = worker.request("POST", REGENERATE, vec![]);
    assert_eq!(worker.refused(request), (401, "missing_api_key".into()));
    assert!(worker.calls.is_empty());
}

#[test]
fn a_rotation_shows_the_key_that_the_store_made_active() {
    let mut worker = Worker::new();
    let (request, sent) = worker.rotating(&key(1));
    assert_eq!(sent.old_digest, Digest::of(key(1).as_bytes()));
    assert_eq!(sent.client.address.as_deref(), Some("192.0.2.1:4711"));
    worker.answer(200, rotated(&sent));
    let End::Reply(200, body) = &worker.ends[&request] else {
        panic!("no 200")
    };
    let body: Value = serde_json::from_str(body).unwrap();
    let new = body["data"]["api_key"].as_str().unwrap();
    assert_eq!(Digest::of(new.as_bytes()), sent.new_digest);
    assert_eq!(sent.hint, new[36..]);
    // The old key is dead here at once, without a call.
    let again = worker.get(&key(1));
    assert_eq!(worker.refused(again), (401, "api_key_revoked".into()));
    assert!(worker.calls.is_empty());
    assert_eq!(worker.counts[&Counter::TombstoneHit], 1);
}

#[test]
fn a_revoked_answer_is_remembered() {
    let mut worker = Worker::new();
    for ask in [Worker::get, Worker::regenerate] {
        let request = ask(&mut worker, &key(1));
        if !worker.calls.is_empty() {
            worker.answer(200, revoked());
        }
        assert_eq!(worker.refused(request), (401, "api_key_revoked".into()));
    }
    assert_eq!(worker.counts[&Counter::TombstoneHit], 1);
}

#[test]
fn other_workers_of_the_process_see_the_tombstone() {
    let (mut one, mut other) = (Worker::new(), Worker::new());
    let (_, sent) = one.rotating(&key(1));
    one.answer(200, rotated(&sent));
    other.memory = one.memory;
    let request = other.get(&key(1));
    assert_eq!(other.refused(request), (401, "api_key_revoked".into()));
}

#[test]
fn g10_other_settings_do_not_share_tombstones() {
    let mut one = Worker::new();
    let (_, sent) = one.rotating(&key(1));
    one.answer(200, rotated(&sent));
    let mut other = Worker::with(r#"{"store":{"cluster":"another"}}"#);
    other.memory = one.memory;
    other.get(&key(1));
    assert_eq!(other.calls.len(), 1);
}

#[test]
fn the_hour_is_refused_before_anything_is_made() {
    let mut worker = Worker::new();
    let request = worker.regenerate(&key(1));
    worker.answer(200, active("u_1", 2400));
    assert_eq!(worker.refused(request), (429, "rate_limited".into()));
    assert_eq!((worker.rings, worker.engine.under_way()), (0, 0));
    // The store may still find so itself, when two race.
    let (request, _) = worker.rotating(&key(2));
    worker.answer(200, json!({"outcome": "rate_limited", "retry_after": 3600}));
    assert_eq!(worker.refused(request), (429, "rate_limited".into()));
}

#[test]
fn who_loses_the_race_learns_that_the_key_is_revoked() {
    let mut worker = Worker::new();
    let (request, _) = worker.rotating(&key(1));
    worker.answer(200, json!({"outcome": "revoked", "revision": 8}));
    assert_eq!(worker.refused(request), (401, "api_key_revoked".into()));
    let again = worker.get(&key(1));
    assert_eq!(worker.refused(again), (401, "api_key_revoked".into()));
}

#[test]
fn i7_a_store_that_cannot_be_asked_is_a_503_and_is_not_remembered() {
    let garbage = CallOutcome::Answer {
        status: 200,
        marked: true,
        body: b"<html>",
    };
    let internal = CallOutcome::Answer {
        status: 500,
        marked: true,
        body: br#"{"error":{"code":"internal","message":""}}"#,
    };
    for outcome in [
        CallOutcome::NotSent,
        CallOutcome::Lost,
        unmarked(404),
        unmarked(503),
        garbage,
        internal,
    ] {
        for endpoint in [false, true] {
            let mut worker = Worker::new();
            let ask = if endpoint {
                Worker::regenerate
            } else {
                Worker::get
            };
            let request = ask(&mut worker, &key(1));
            worker.outcome(outcome);
            assert_eq!(
                worker.refused(request),
                (503, "key_store_unavailable".into())
            );
            let request = worker.get(&key(1));
            worker.answer(200, active("u_1", 0));
            assert_eq!(worker.ends[&request], End::Upstream(Some("u_1".into())));
        }
    }
}

#[test]
fn an_unknown_key_is_a_401_and_is_not_remembered() {
    let mut worker = Worker::new();
    let request = worker.get(&key(1));
    worker.answer(
        404,
        json!({"error": {"code": "unknown_key", "message": ""}}),
    );
    assert_eq!(worker.refused(request), (401, "invalid_api_key".into()));
    worker.get(&key(1));
    assert_eq!(worker.calls.len(), 1);
}

#[test]
fn x1_a_lost_answer_is_asked_for_again_and_gives_the_same_key() {
    let mut worker = Worker::new();
    let (request, first) = worker.rotating(&key(1));
    worker.outcome(unmarked(503));
    assert!(!worker.ends.contains_key(&request));
    worker.pass(100);
    let second: RotateRequest = serde_json::from_slice(&worker.calls[0].2.body).unwrap();
    assert_eq!(
        (first.rotation_id, first.new_digest),
        (second.rotation_id, second.new_digest)
    );
    assert_eq!(second.attempt, 2);
    worker.answer(200, rotated(&second));
    assert!(matches!(worker.ends[&request], End::Reply(200, _)));
    assert_eq!(worker.counts[&Counter::RotationRetried], 1);
}

#[test]
fn x1_the_two_503s() {
    let mut worker = Worker::new();
    let (request, _) = worker.rotating(&key(1));
    worker.outcome(CallOutcome::NotSent);
    assert_eq!(
        worker.refused(request),
        (503, "key_store_unavailable".into())
    );

    let (request, _) = worker.rotating(&key(2));
    let deadline = worker.now + PATIENCE_MS + 1_000;
    worker.outcome(CallOutcome::Lost);
    while !worker.ends.contains_key(&request) {
        assert!(worker.now < deadline, "no end");
        worker.pass(100);
        if !worker.calls.is_empty() {
            // That this attempt did not leave says nothing of the first.
            worker.outcome(CallOutcome::NotSent);
        }
    }
    assert_eq!(
        worker.refused(request),
        (503, "rotation_unconfirmed".into())
    );
    assert_eq!(worker.engine.under_way(), 0);
}

#[test]
fn a_client_that_leaves_stops_what_was_not_sent() {
    let mut worker = Worker::new();
    let request = worker.regenerate(&key(1));
    assert_eq!(worker.leave(request), Some(worker.calls[0].0));
    worker.answer(200, active("u_1", 0));
    worker.ring();
    assert!(worker.calls.is_empty() && worker.ends.is_empty());

    let request = worker.regenerate(&key(1));
    worker.answer(200, active("u_1", 0));
    worker.leave(request);
    worker.ring();
    assert!(worker.calls.is_empty() && worker.ends.is_empty());
    assert_eq!(worker.engine.under_way(), 0);
}

#[test]
fn a_client_that_leaves_does_not_lose_the_rotation() {
    let mut worker = Worker::new();
    let (request, sent) = worker.rotating(&key(1));
    worker.leave(request);
    assert_eq!(worker.counts[&Counter::RotationAbandoned], 1);
    worker.answer(200, rotated(&sent));
    assert!(worker.ends.is_empty(), "nobody to answer");
    let again = worker.get(&key(1));
    assert_eq!(worker.refused(again), (401, "api_key_revoked".into()));
}

#[test]
fn without_entropy_no_key_is_made() {
    let mut worker = Worker::new();
    let request = worker.regenerate(&key(1));
    worker.memory.entropy_fails = true;
    worker.answer(200, active("u_1", 0));
    assert_eq!(
        worker.refused(request),
        (503, "key_store_unavailable".into())
    );
}

#[test]
fn i8_rotations_under_way_are_bounded() {
    let mut worker = Worker::new();
    for _ in 0..1024 {
        worker.regenerate(&key(1));
        worker.answer(200, active("u_1", 0));
    }
    let request = worker.regenerate(&key(1));
    worker.answer(200, active("u_1", 0));
    assert_eq!(
        worker.refused(request),
        (503, "key_store_unavailable".into())
    );
    assert_eq!(worker.engine.under_way(), 1024);
}

#[test]
fn the_stores_health_is_logged_once_a_change_and_without_secrets() {
    let mut worker = Worker::new();
    for _ in 0..10 {
        worker.get(&key(1));
        worker.outcome(unmarked(503));
        worker.now += 2_000;
    }
    worker.get(&key(1));
    worker.answer(
        401,
        json!({"error": {"code": "unauthorized", "message": ""}}),
    );
    worker.now += 2_000;
    worker.get(&key(1));
    worker.answer(200, active("u_1", 0));
    let levels: Vec<_> = worker.log.iter().map(|(level, _)| *level).collect();
    assert_eq!(levels, [LogLevel::Warn, LogLevel::Error, LogLevel::Info]);
    for (_, line) in &worker.log {
        assert!(
            !line.contains("sb_live_") && !line.contains(SECRET),
            "{line}"
        );
    }
}
