//! Any sequence of events at the two workers of a gateway: requests, ticks,
//! answers of a store that says anything, hosts that refuse, workers that are
//! replaced. Whatever happens, each request is answered once, nobody is let
//! through whom the store did not name or who could not be ended with the key,
//! and in the end nothing is left.

use std::collections::{BTreeMap, BTreeSet};

use arbitrary::{Result, Unstructured};
use rekey_engine::fuzzing::MOST_TURNS;
use rekey_engine::testing::Memory;
use rekey_engine::{CallId, CallOutcome, Config, Effect, Engine, RequestId, StoreRequest};
use rekey_protocol::contract::REGENERATE_PATH;
use rekey_protocol::{
    ApiKey, Digest, FEED_PATH, FeedRequest, KEY_PREFIX, RESOLVE_PATH, ResolveRequest,
    ResolveResponse, ResolvedState, RotateRequest, RotateResponse,
};
use rekey_store::rules::answers;

use crate::gateway::head::{CONFIGS, Head, SECRET, bearer, check_log, check_reply, issued};
use crate::holds;

mod store;

/// Workers of the gateway.
const WORKERS: usize = 2;
/// Clients' keys.
const KEYS: u8 = 3;
/// Beside those of a request's head, one with hardly any room for open requests.
const NARROW: &str = r#"{"store":{"cluster":"store"},"max_streams":2}"#;
/// Events of one story: what comes after them is the same again.
const MOST_EVENTS: usize = 120;
/// Longer than anything is waited for, in milliseconds.
const END_MS: u64 = 60_000;
const STEP_MS: u64 = 3_000;
const IDEMPOTENCY_KEYS: [&str; 2] = ["a-key-of-22-characters", "another-one-of-23-chars"];

/// Runs a story of events.
pub fn engine(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let configs = [CONFIGS[0], CONFIGS[1], NARROW];
    let Ok(config) = input.choose(&configs) else {
        return;
    };
    let mut gateway = Gateway::new(config);
    for _ in 0..MOST_EVENTS {
        if input.is_empty() || gateway.event(&mut input).is_err() {
            break;
        }
    }
    gateway.end();
}

struct Worker {
    engine: Engine,
    /// Requests that were neither answered nor given up.
    open: BTreeSet<RequestId>,
    /// Those that were let through, and are not over.
    through: BTreeSet<RequestId>,
    /// Calls whose end the host has not reported.
    calls: Vec<(CallId, StoreRequest)>,
}

struct Gateway {
    config: Config,
    workers: Vec<Worker>,
    memory: Memory,
    /// What each request bears.
    keys: BTreeMap<RequestId, ApiKey>,
    last_request: u32,
    /// Keys that the store has called active, and for whom.
    named: BTreeSet<(Digest, String)>,
    /// Keys that the store has called the new one of a rotation.
    made: BTreeSet<Digest>,
    /// Whether the host has ever refused something.
    refused: bool,
    /// The last reply and its reason.
    told: Option<(RequestId, &'static str)>,
}

impl Gateway {
    fn new(json: &str) -> Self {
        let config = Config::load(json.as_bytes(), Some(SECRET), None).unwrap();
        let mut gateway = Self {
            workers: (0..WORKERS).map(|_| Worker::new(&config)).collect(),
            config,
            memory: Memory::default(),
            keys: BTreeMap::new(),
            last_request: 0,
            named: BTreeSet::new(),
            made: BTreeSet::new(),
            refused: false,
            told: None,
        };
        gateway.memory.now = 1_000;
        gateway
    }

    fn event(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let at = input.choose_index(WORKERS)?;
        match input.int_in_range(0..=12)? {
            0..=3 => self.request(at, input)?,
            4 => {
                let worker = &mut self.workers[at];
                let waits = input.arbitrary::<bool>()?;
                let from = if waits {
                    &mut worker.open
                } else {
                    &mut worker.through
                };
                if let Some(request) = from.pop_first() {
                    worker.engine.on_request_done(request);
                    self.perform(at, true);
                }
            }
            5 => self.root(at),
            6 => {
                self.memory.now += u64::from(input.arbitrary::<u16>()?) % 5_000;
                self.tick(at);
            }
            7 => {
                self.refused = true;
                self.memory.refuse_writes = input.ratio(1, 4)?;
                self.memory.entropy_fails = input.ratio(1, 4)?;
                self.memory.lose_races = u32::from(input.int_in_range::<u8>(0..=9)?);
            }
            // A new configuration, or a trap: what waited there is gone.
            8 => self.workers[at] = Worker::new(&self.config),
            _ => self.outcome(at, input)?,
        }
        Ok(())
    }

    fn request(&mut self, at: usize, input: &mut Unstructured<'_>) -> Result<()> {
        let key = issued(input.int_in_range(1..=KEYS)?);
        let mut head = Head {
            path: b"/v1/scrape".to_vec(),
            method: b"GET".to_vec(),
            ..Head::default()
        };
        head.headers.insert("authorization", bearer(&key));
        let kind = input.int_in_range(0..=5)?;
        if kind > 1 {
            head.path = REGENERATE_PATH.into();
            head.method = b"POST".to_vec();
        }
        if kind > 2 {
            let chosen: &str = input.choose(&IDEMPOTENCY_KEYS)?;
            head.headers.insert("idempotency-key", chosen.into());
        }
        self.send(at, &key, &head);
        Ok(())
    }

    fn root(&mut self, at: usize) {
        self.workers[at].engine.on_root(&mut self.memory.env());
        self.perform(at, true);
    }

    fn tick(&mut self, at: usize) {
        self.workers[at].engine.on_tick(&mut self.memory.env());
        self.perform(at, true);
    }

    /// The host reports the end of one of the calls.
    fn outcome(&mut self, at: usize, input: &mut Unstructured<'_>) -> Result<()> {
        if self.workers[at].calls.is_empty() {
            return Ok(());
        }
        let place = input.choose_index(self.workers[at].calls.len())?;
        let (call, request) = self.workers[at].calls.swap_remove(place);
        let answer = match input.int_in_range(0..=9)? {
            0 => {
                self.done(at, call, CallOutcome::Lost);
                return Ok(());
            }
            1 => {
                self.done(at, call, CallOutcome::NotSent);
                return Ok(());
            }
            _ => store::answer(&request, input)?,
        };
        let is_marked = !input.ratio(1, 20)?;
        if is_marked && answer.status == 200 {
            self.note(&request, &answer.body);
        }
        let outcome = CallOutcome::Answer {
            status: answer.status,
            marked: is_marked,
            body: &answer.body,
        };
        self.done(at, call, outcome);
        Ok(())
    }

    fn done(&mut self, at: usize, call: CallId, outcome: CallOutcome<'_>) {
        let worker = &mut self.workers[at];
        worker
            .engine
            .on_call_done(call, outcome, &mut self.memory.env());
        self.perform(at, true);
    }

    /// Keeps in mind what the store said.
    fn note(&mut self, request: &StoreRequest, body: &[u8]) {
        if request.path == RESOLVE_PATH {
            let asked: ResolveRequest = serde_json::from_slice(&request.body).unwrap();
            match serde_json::from_slice::<ResolveResponse>(body) {
                Ok(answer) if answer.state == ResolvedState::Active => {
                    self.named.insert((asked.digest, answer.user.to_string()));
                }
                _ => {}
            }
        } else if request.path != FEED_PATH {
            self.made.extend(match serde_json::from_slice(body) {
                Ok(RotateResponse::Rotated { new_digest, .. }) => Some(new_digest),
                Ok(RotateResponse::Revoked { replayed, .. }) => {
                    replayed.map(|replayed| replayed.new_digest)
                }
                _ => None,
            });
        }
    }

    /// Carries out what the engine wants done, and looks at it.
    fn perform(&mut self, at: usize, is_root: bool) {
        let worker = &mut self.workers[at];
        let mut ended = Vec::new();
        while let Some(effect) = worker.engine.poll_effect() {
            match effect {
                Effect::Continue { request, user } => {
                    assert!(worker.open.remove(&request), "{request:?} was over");
                    let user = user.expect("none of the paths is public").to_string();
                    let bears = self.keys[&request].digest();
                    assert!(self.named.contains(&(bears, user)), "nobody named it");
                    worker.through.insert(request);
                }
                Effect::Reply { request, reply } => {
                    assert!(worker.open.remove(&request), "{request:?} was over");
                    // S11: a key that the store has not made is nobody's.
                    let key = check_reply(&reply);
                    assert!(key.is_none_or(|key| self.made.contains(&key)));
                    self.told = Some((request, reply.details));
                }
                Effect::Reset { request } => {
                    assert!(is_root, "the root's");
                    assert!(worker.through.remove(&request), "{request:?} was over");
                    ended.push(request);
                }
                Effect::Call { call, request } => {
                    assert!(is_root, "the answer would be dropped");
                    check_call(&request);
                    worker.calls.push((call, request));
                }
                Effect::Log(level, text) => check_log(level, &text),
                _ => {}
            }
        }
        // The host ends them when the event is over, and says so.
        for request in ended {
            worker.engine.on_request_done(request);
        }
        // What is let through is registered: else it could not be ended. What is
        // registered besides is let through in one of the next events.
        let through = worker.through.len();
        let registered = worker.engine.open_requests();
        assert!((through..=through + worker.open.len()).contains(&registered));
        let most = usize::try_from(self.config.max_streams).unwrap();
        assert!(through <= most, "{through} are open");
    }

    /// All calls are lost, and nobody leaves: then all have had an answer, and
    /// nothing of it all is left.
    fn end(mut self) {
        self.memory.refuse_writes = false;
        self.memory.entropy_fails = false;
        self.memory.lose_races = 0;
        for _ in 0..END_MS / STEP_MS {
            self.memory.now += STEP_MS;
            (0..WORKERS).for_each(|at| self.tick(at));
            let mut workers = self.workers.iter();
            if workers.all(|worker| worker.engine.in_flight() == 0) {
                break;
            }
        }
        // A worker turns to a few requests at a time, and rings itself in between.
        for _ in 0..=MOST_EVENTS / MOST_TURNS {
            (0..WORKERS).for_each(|at| self.root(at));
        }
        for worker in &self.workers {
            assert!(worker.open.is_empty(), "never answered: {:?}", worker.open);
            assert_eq!(worker.engine.in_flight(), 0, "left in flight");
        }
        if !self.refused {
            (0..WORKERS).for_each(|at| self.streams_have_ended(at));
        }
        for value in self.memory.values() {
            assert!(!holds(value, KEY_PREFIX.as_bytes()), "a key in shared data");
        }
    }
}

impl Gateway {
    /// Where the next request with a key is refused as revoked, those of that key
    /// that were let through before have been ended.
    fn streams_have_ended(&mut self, at: usize) {
        for request in self.workers[at].through.clone() {
            let key = self.keys[&request].clone();
            let probe = self.get(at, &key);
            let is_revoked = self.told == Some((probe, "rekey_api_key_revoked"));
            assert!(!is_revoked, "{request:?} outlives its key");
            let worker = &mut self.workers[at];
            worker.open.remove(&probe);
            worker.through.remove(&probe);
            worker.engine.on_request_done(probe);
            self.perform(at, true);
        }
    }

    /// A request with this key, and nothing else.
    fn get(&mut self, at: usize, key: &ApiKey) -> RequestId {
        let head = Head {
            path: b"/v1/scrape".to_vec(),
            method: b"GET".to_vec(),
            headers: BTreeMap::from([("authorization", bearer(key))]),
        };
        self.send(at, key, &head)
    }

    fn send(&mut self, at: usize, key: &ApiKey, head: &Head) -> RequestId {
        self.last_request += 1;
        let request = RequestId(self.last_request);
        self.keys.insert(request, key.clone());
        let worker = &mut self.workers[at];
        worker.open.insert(request);
        let mut env = self.memory.env();
        worker.engine.on_request_headers(request, head, &mut env);
        self.perform(at, false);
        request
    }
}

impl Worker {
    fn new(config: &Config) -> Self {
        Self {
            engine: Engine::new(config.clone()),
            open: BTreeSet::new(),
            through: BTreeSet::new(),
            calls: Vec::new(),
        }
    }
}

/// What is sent is what the store takes, and no secret.
fn check_call(call: &StoreRequest) {
    let body = call.body.as_slice();
    match call.path {
        RESOLVE_PATH => drop(serde_json::from_slice::<ResolveRequest>(body).unwrap()),
        FEED_PATH => drop(serde_json::from_slice::<FeedRequest>(body).unwrap()),
        _ => {
            let rotate: RotateRequest = serde_json::from_slice(body).unwrap();
            assert_eq!(answers::check_rotate(&rotate), Ok(()));
        }
    }
    for secret in IDEMPOTENCY_KEYS.into_iter().chain([KEY_PREFIX, SECRET]) {
        assert!(!holds(body, secret.as_bytes()), "a secret in a call");
    }
    // A lease is never counted from an answer that could come after it.
    let longest = 2 * u64::from(rekey_protocol::LEASE_CAP_MS);
    assert!(u64::from(call.timeout_ms) <= longest);
}
