//! The head of one request, any bytes in any of its fields, at a gateway that
//! knows a key and may trust it: who comes through, and what the others are told.

use std::collections::BTreeMap;

use rekey_engine::fuzzing::{Route, classify};
use rekey_engine::testing::Memory;
use rekey_engine::{CallOutcome, Config, Effect, Engine, LogLevel, Reply, RequestHead, RequestId};
use rekey_protocol::{ApiKey, ChecksumSecrets, Digest, FEED_PATH, KEY_PREFIX};
use serde_json::{Value, json};

use crate::holds;

/// The configurations' secret.
pub(crate) const SECRET: &str = "a-secret-of-the-fuzzer";
/// What the engine is configured with.
pub(crate) const CONFIGS: [&str; 2] = [
    r#"{"store":{"cluster":"store"},"public_paths":["/status","/docs/"]}"#,
    r#"{"store":{"cluster":"store"},"checksum":"off"}"#,
];
/// The headers that are asked for.
const NAMES: [&str; 7] = [
    "authorization",
    "idempotency-key",
    "content-type",
    "x-request-id",
    "connection",
    "x-api-key",
    "sec-websocket-protocol",
];
/// All that `Connection` may name.
const NAMEABLE: [&str; 5] = ["upgrade", "keep-alive", "close", "te", "http2-settings"];
/// What may be done for one request.
const MOST_EFFECTS: usize = 12;

/// A request's head.
#[derive(Default)]
pub(crate) struct Head {
    pub path: Vec<u8>,
    pub method: Vec<u8>,
    pub headers: BTreeMap<&'static str, Vec<u8>>,
}

impl RequestHead for Head {
    fn path(&self) -> Vec<u8> {
        self.path.clone()
    }
    fn method(&self) -> Vec<u8> {
        self.method.clone()
    }
    fn header(&self, name: &str) -> Option<Vec<u8>> {
        self.headers.get(name).cloned()
    }
    fn body_follows(&self) -> bool {
        self.headers.contains_key("content-type")
    }
    fn client_address(&self) -> Option<String> {
        Some("192.0.2.1:4711".into())
    }
}

/// A key of ours.
pub(crate) fn issued(seed: u8) -> ApiKey {
    let secrets = ChecksumSecrets::parse(SECRET).unwrap();
    secrets.issue(&[seed % 200; 64]).unwrap()
}

/// Which configuration, then path, method and headers: lines, each a field.
pub fn head(data: &[u8]) {
    let Some((config, text)) = data.split_first() else {
        return;
    };
    let json = CONFIGS[usize::from(config % 2)];
    let mut lines = text.splitn(2 + NAMES.len(), |byte| *byte == b'\n');
    let mut head = Head {
        path: lines.next().unwrap_or_default().to_vec(),
        method: lines.next().unwrap_or_default().to_vec(),
        headers: BTreeMap::new(),
    };
    // An empty line is a header that is not there.
    let values = NAMES.into_iter().zip(lines);
    let values = values.filter(|(_, value)| !value.is_empty());
    head.headers
        .extend(values.map(|(name, value)| (name, value.to_vec())));
    decided(json, &head);
}

fn decided(json: &str, head: &Head) {
    let config = Config::load(json.as_bytes(), Some(SECRET), None).unwrap();
    let public_paths = config.public_paths.clone();
    let (mut engine, mut memory) = trusting(config);
    let request = RequestId(9);
    engine.on_request_headers(request, head, &mut memory.env());
    let route = classify(&head.path, &public_paths);
    let is_ours = head.bears(&issued(1));
    let is_stripped = head.names_another();
    let (mut effects, mut ends) = (0, 0);
    while let Some(effect) = engine.poll_effect() {
        effects += 1;
        match effect {
            Effect::Continue { request: of, user } => {
                ends += 1;
                assert!(of == request && route != Route::Regenerate);
                assert!(!is_stripped, "the next hop takes the user's id off");
                match user {
                    Some(user) => assert!(is_ours && user.as_str() == "u_1", "without a key"),
                    None => assert_eq!(route, Route::Public),
                }
            }
            Effect::Reply { request: of, reply } => {
                ends += 1;
                assert!(of == request && (is_stripped || route != Route::Public));
                // The store has not been asked, so nobody was given a key.
                assert!(reply.status != 200, "a key out of nothing");
                check_reply(&reply);
                let refused = [401, 405, 400].contains(&reply.status);
                assert!(refused, "{} without a call", reply.status);
                assert!(is_stripped || route == Route::Regenerate || !is_ours);
            }
            // Calls are the root's.
            Effect::Call { .. } => panic!("a call in the name of a request"),
            Effect::Log(level, text) => check_log(level, &text),
            _ => {}
        }
    }
    assert!(effects <= MOST_EFFECTS, "{effects} effects");
    assert_eq!(ends + engine.in_flight(), 1, "decided once, or waits");
    // A refusal that waits for the body is one all the same.
    memory.now += 200;
    engine.on_tick(&mut memory.env());
    while let Some(effect) = engine.poll_effect() {
        if let Effect::Reply { request: of, reply } = effect {
            assert!(of == request && ends == 0 && head.body_follows());
            assert!([401, 405, 400].contains(&reply.status));
            check_reply(&reply);
        }
    }
}

impl Head {
    /// Whether `Connection` names what is not the connection's own.
    fn names_another(&self) -> bool {
        let value = self.headers.get("connection").map(Vec::as_slice);
        let text = String::from_utf8_lossy(value.unwrap_or_default()).to_ascii_lowercase();
        let blank = [' ', '\t', '\n', '\r', '\u{c}'];
        let mut names = text.split(',').map(|name| name.trim_matches(blank));
        names.any(|name| !name.is_empty() && !NAMEABLE.contains(&name))
    }

    /// Whether the value of `Authorization` is this key's, as the contract has
    /// it (docs/clients.md).
    fn bears(&self, key: &ApiKey) -> bool {
        let value = self.headers.get("authorization").map(Vec::as_slice);
        let bare = value.unwrap_or_default().split_at_checked("bearer ".len());
        bare.is_some_and(|(scheme, rest)| {
            scheme.eq_ignore_ascii_case(b"bearer ")
                && rest.trim_ascii_start() == key.expose().as_bytes()
        })
    }
}

/// An engine with a lease, and the first key in its table.
fn trusting(config: Config) -> (Engine, Memory) {
    let (mut engine, mut memory) = (Engine::new(config), Memory::default());
    memory.now = 1_000;
    let head = Head {
        path: b"/".to_vec(),
        method: b"GET".to_vec(),
        headers: BTreeMap::from([("authorization", bearer(&issued(1)))]),
    };
    engine.on_tick(&mut memory.env());
    answer(&mut engine, &mut memory);
    let path = b"/v1/x".to_vec();
    engine.on_request_headers(RequestId(1), &Head { path, ..head }, &mut memory.env());
    engine.on_root(&mut memory.env());
    answer(&mut engine, &mut memory);
    let mut cached = false;
    while let Some(effect) = engine.poll_effect() {
        cached |= matches!(effect, Effect::Continue { .. });
    }
    assert!(cached, "the key that all of this is about");
    (engine, memory)
}

/// `Bearer` and a key.
pub(crate) fn bearer(key: &ApiKey) -> Vec<u8> {
    format!("Bearer {}", key.expose()).into_bytes()
}

/// Answers the one call among the effects: a poll with a lease, or a resolve
/// with "active".
fn answer(engine: &mut Engine, memory: &mut Memory) {
    let head = json!({"incarnation": "01".repeat(16), "revision": 9});
    let mut answers = Vec::new();
    while let Some(effect) = engine.poll_effect() {
        let Effect::Call { call, request } = effect else {
            continue;
        };
        let body = if request.path == FEED_PATH {
            let poll: Value = serde_json::from_slice(&request.body).unwrap();
            json!({"poll": poll["poll"], "changes": [], "cursor": head, "granted_ms": 3000,
                "reset": true})
        } else {
            json!({"state": "active", "user": "u_1", "revision": 3, "head": head,
                "rotation_allowed_in": 0})
        };
        answers.push((call, body.to_string()));
    }
    for (call, body) in answers {
        let outcome = CallOutcome::Answer {
            status: 200,
            marked: true,
            body: body.as_bytes(),
        };
        engine.on_call_done(call, outcome, &mut memory.env());
    }
}

/// An answer is one of the contract's, and tells nothing but what it must.
/// Returns the key that it hands out.
pub(crate) fn check_reply(reply: &Reply) -> Option<Digest> {
    let body: Value = serde_json::from_slice(&reply.body).expect("JSON");
    let header = |name: &str| {
        let mut found = reply.headers.iter().filter(|(header, _)| *header == name);
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} twice");
        value
    };
    assert_eq!(header("cache-control"), Some("no-store"));
    for (_, value) in &reply.headers {
        assert!(
            value.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
            "{value:?}"
        );
        assert!(!value.contains(KEY_PREFIX), "a key in a header");
    }
    let code = body["error"]["code"].as_str();
    let expected: &[Option<&str>] = match reply.status {
        200 => &[None],
        400 => &[
            Some("invalid_idempotency_key"),
            Some("invalid_connection_header"),
        ],
        401 => &[
            Some("missing_api_key"),
            Some("invalid_api_key"),
            Some("api_key_revoked"),
        ],
        405 => &[Some("method_not_allowed")],
        429 => &[Some("rate_limited"), Some("too_many_open_requests")],
        503 => &[
            Some("key_store_unavailable"),
            Some("rotation_unconfirmed"),
            Some("gateway_busy"),
        ],
        other => panic!("status {other}"),
    };
    assert!(expected.contains(&code), "{} {code:?}", reply.status);
    assert_eq!(header("www-authenticate").is_some(), reply.status == 401);
    assert_eq!(header("allow").is_some(), reply.status == 405);
    // Without one, a client that is to come back would do so at once.
    let comes_back = !matches!(code, Some("rotation_unconfirmed"));
    let is_told_when = header("retry-after").is_some();
    assert_eq!(
        is_told_when,
        [429, 503].contains(&reply.status) && comes_back
    );
    if let Some(seconds) = body["error"]["retry_after"].as_u64() {
        assert!((1..=3600).contains(&seconds) && reply.status == 429);
        assert_eq!(header("retry-after"), Some(seconds.to_string().as_str()));
    }
    let key = body["data"]["api_key"].as_str();
    assert_eq!(
        (key.is_some(), &body["success"]),
        (reply.status == 200, &key.is_some().into())
    );
    let without = match key {
        Some(key) => String::from_utf8_lossy(&reply.body).replacen(key, "", 1),
        None => String::from_utf8_lossy(&reply.body).into_owned(),
    };
    assert!(!without.contains(KEY_PREFIX), "a key that nobody is to see");
    key.map(|key| ApiKey::parse(key.as_bytes()).unwrap().digest())
}

/// A log line is one line, and holds no secret.
pub(crate) fn check_log(_: LogLevel, text: &str) {
    assert!(!text.contains(['\n', '\r']) && text.len() < 500, "{text:?}");
    for secret in [KEY_PREFIX, SECRET] {
        assert!(!holds(text.as_bytes(), secret.as_bytes()), "{text}");
    }
}
