//! I6: whatever a client presents, no text of it leaves the engine but the new
//! key in its one answer: not into shared data, which every worker and every
//! plugin of the same VM id can read, not into a call, a log line or a name.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use rekey_engine::testing::Memory;
use rekey_engine::{
    CallId, CallOutcome, Config, Effect, Engine, Env, RequestHead, RequestId, StoreRequest,
};
use rekey_protocol::{ChecksumSecrets, Digest, FEED_PATH, RANDOM_BYTES, RotateRequest};
use serde_json::{Value, json};

const SECRET: &str = "0123456789-checksum-secret";
const TOKEN: &str = "0123456789-gateway-token";
const IDEMPOTENCY_KEY: &str = "0123456789-idempotency-key";

/// Everything that the engine let out, by where it went.
#[derive(Default)]
struct Outside {
    /// What went into shared data.
    memory: Memory,
    /// Names of queues.
    names: Vec<u8>,
    calls: Vec<u8>,
    logs: Vec<u8>,
    refusals: Vec<u8>,
    /// The body of the one 200.
    rotated: Vec<u8>,
}

/// A request that bears everything a client may have to hide.
struct Head<'a> {
    method: &'a str,
    key: &'a str,
}

impl RequestHead for Head<'_> {
    fn path(&self) -> Vec<u8> {
        b"/v1/user/api-key/regenerate".to_vec()
    }
    fn method(&self) -> Vec<u8> {
        self.method.into()
    }
    fn header(&self, name: &str) -> Option<Vec<u8>> {
        match name {
            "authorization" => Some(format!("Bearer {}", self.key).into()),
            "idempotency-key" => Some(IDEMPOTENCY_KEY.into()),
            _ => None,
        }
    }
    fn body_follows(&self) -> bool {
        false
    }
    fn client_address(&self) -> Option<String> {
        Some("192.0.2.1:4711".into())
    }
}

/// One worker, and what came out of it.
struct Worker {
    engine: Engine,
    outside: Outside,
    now: u64,
    requests: u32,
    is_rung: bool,
    calls: Vec<(CallId, StoreRequest)>,
}

impl Worker {
    fn new() -> Self {
        let json = br#"{"store":{"cluster":"store"}}"#;
        let config = Config::load(json, Some(SECRET), Some(TOKEN)).unwrap();
        Self {
            engine: Engine::new(config),
            outside: Outside::default(),
            now: 5_000,
            requests: 0,
            is_rung: false,
            calls: Vec::new(),
        }
    }

    fn event(&mut self, event: impl FnOnce(&mut Engine, &mut Env<'_>)) {
        event(&mut self.engine, &mut self.outside.memory.at(self.now));
        while let Some(effect) = self.engine.poll_effect() {
            self.note(effect);
        }
        if std::mem::take(&mut self.is_rung) {
            self.ring();
        }
    }

    fn ring(&mut self) {
        self.event(|engine, env| engine.on_root(env));
    }

    fn note(&mut self, effect: Effect) {
        let outside = &mut self.outside;
        match effect {
            Effect::Call { call, request } => {
                outside.calls.extend(&request.body);
                outside.calls.extend(request.path.as_bytes());
                if request.path != FEED_PATH {
                    self.calls.push((call, request));
                }
            }
            Effect::Reply { reply, .. } => {
                let headers = reply.headers.iter();
                let headers: Vec<u8> = headers.flat_map(|(_, value)| value.bytes()).collect();
                outside.refusals.extend(headers);
                match reply.status {
                    200 => outside.rotated.extend(&*reply.body),
                    _ => outside.refusals.extend(&*reply.body),
                }
            }
            Effect::Log(_, text) => outside.logs.extend(text.as_bytes()),
            Effect::OwnDoorbell(name) => outside.names.extend(name.as_bytes()),
            Effect::RingRoot => self.is_rung = true,
            Effect::RingDoorbell(name) => outside.names.extend(name.as_bytes()),
            Effect::Reset { .. } => {}
            Effect::Continue { .. } | Effect::Count(_) | Effect::Show(..) => {}
        }
    }

    fn request(&mut self, method: &str, key: &str) {
        self.requests += 1;
        let id = RequestId(self.requests);
        let head = Head { method, key };
        self.event(|engine, env| engine.on_request_headers(id, &head, env));
    }

    /// Answers the call in flight.
    fn answer(&mut self, status: u16, marked: bool, body: &Value) {
        let (call, _) = self.calls.remove(0);
        let body = body.to_string();
        let outcome = CallOutcome::Answer {
            status,
            marked,
            body: body.as_bytes(),
        };
        self.event(|engine, env| engine.on_call_done(call, outcome, env));
    }

    fn pass(&mut self, milliseconds: u64) {
        self.now += milliseconds;
        self.event(|engine, env| engine.on_tick(env));
    }
}

fn key(seed: u8) -> String {
    let secrets = ChecksumSecrets::parse(SECRET).unwrap();
    secrets
        .issue(&[seed; RANDOM_BYTES])
        .unwrap()
        .expose()
        .to_owned()
}

fn active() -> Value {
    json!({"state": "active", "user": "u_1", "revision": 3, "rotation_allowed_in": 0,
        "head": {"incarnation": "0".repeat(32), "revision": 9}})
}

/// Whether the middle of a text is there: 16 characters are no accident.
fn holds(haystack: &[u8], text: &str) -> bool {
    let needle = &text.as_bytes()[8..24];
    haystack
        .windows(needle.len())
        .any(|window| window == needle)
}

/// Asks so that every kind of refusal is the answer.
fn refuse_in_every_way(worker: &mut Worker, keys: [&str; 5]) {
    let [rotated, forged, unknown, revoked, failed] = keys;
    worker.request("GET", rotated);
    worker.request("POST", forged);
    worker.request("POST", unknown);
    worker.answer(
        404,
        true,
        &json!({"error": {"code": "unknown_key", "message": "m"}}),
    );
    worker.request("POST", revoked);
    let mut body = active();
    body["state"] = "revoked".into();
    worker.answer(200, true, &body);
    worker.pass(60_000);
    worker.request("POST", failed);
    worker.answer(
        401,
        true,
        &json!({"error": {"code": "unauthorized", "message": "m"}}),
    );
}

#[test]
fn no_secret_leaves_the_engine() {
    let mut worker = Worker::new();
    let (rotated, unknown, revoked, failed) = (key(1), key(2), key(3), key(4));
    let forged = format!("sb_live_{}", "Z".repeat(32));

    // A rotation whose first attempt is lost, and the dead key again.
    worker.request("POST", &rotated);
    worker.answer(200, true, &active());
    worker.pass(100);
    worker.answer(502, false, &Value::Null);
    worker.pass(100);
    let sent: RotateRequest = serde_json::from_slice(&worker.calls[0].1.body).unwrap();
    let done = json!({"outcome": "rotated", "created_at": "2025-01-31T16:00:00Z",
        "revision": 10, "new_digest": sent.new_digest, "user": "u_1"});
    worker.answer(200, true, &done);
    // Its answer once more, and a record that is not this client's.
    let again = json!({"outcome": "revoked", "revision": 10, "replayable": true, "replayed": {
        "rotation_id": sent.rotation_id, "new_digest": sent.new_digest,
        "created_at": "2025-01-31T16:00:00Z",
        "sealed": sent.replay.as_ref().map(|replay| replay.sealed)}});
    let first = std::mem::take(&mut worker.outside.rotated);
    worker.request("POST", &rotated);
    worker.answer(200, true, &again);
    assert_eq!(worker.outside.rotated, first);
    worker.request("POST", &rotated);
    let mut foreign = again;
    foreign["replayed"]["rotation_id"] = "0".repeat(32).into();
    worker.answer(200, true, &foreign);
    refuse_in_every_way(
        &mut worker,
        [&rotated, &forged, &unknown, &revoked, &failed],
    );

    let outside = &worker.outside;
    let answer: Value = serde_json::from_slice(&outside.rotated).unwrap();
    let new = answer["data"]["api_key"].as_str().unwrap().to_owned();
    for secret in [&rotated, &unknown, &revoked, &failed, &forged, &new] {
        assert_hidden(outside, secret);
    }
    for secret in [SECRET, TOKEN, IDEMPOTENCY_KEY] {
        assert_hidden(outside, secret);
        assert!(!holds(&outside.rotated, secret));
    }
    // The searches do find what is there.
    assert!(holds(&outside.rotated, &new));
    let digest = Digest::of(rotated.as_bytes());
    assert!(holds(&outside.calls, &digest.to_hex()));
    let tombstone = outside.memory.written.windows(32);
    assert!(
        tombstone
            .into_iter()
            .any(|window| window == digest.as_bytes())
    );
    assert!(String::from_utf8_lossy(&outside.logs).contains("REKEY_STORE_TOKEN"));
    assert!(String::from_utf8_lossy(&outside.refusals).contains("api_key_revoked"));
}

fn assert_hidden(outside: &Outside, secret: &str) {
    for (place, text) in [
        ("shared data", &outside.memory.written),
        ("the name of a queue", &outside.names),
        ("a call", &outside.calls),
        ("a log line", &outside.logs),
        ("a refusal", &outside.refusals),
    ] {
        assert!(!holds(text, secret), "a secret in {place}");
    }
}
