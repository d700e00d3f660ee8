//! Cached trust: what a gateway under a lease answers by itself, and when it
//! must not (G1 to G12).

use rekey_protocol::{Digest, FeedRequest};

use super::*;

pub const LIFE: u8 = 1;
pub const NEXT_LIFE: u8 = 2;
pub const LEASE_MS: u64 = 3_000;

pub fn head(life: u8, revision: u64) -> Value {
    json!({"incarnation": format!("{life:02x}").repeat(16), "revision": revision})
}

/// The store's "active", read at this point of its history.
pub fn active_at(life: u8, revision: u64) -> Value {
    json!({"state": "active", "user": "u_1", "revision": 3, "rotation_allowed_in": 0,
        "head": head(life, revision)})
}

pub fn revoked_at(life: u8, revision: u64) -> Value {
    json!({"state": "revoked", "user": "u_1", "revision": revision, "rotation_allowed_in": 0,
        "head": head(life, revision)})
}

pub fn change(key: &str, revision: u64) -> Value {
    json!({"digest": Digest::of(key.as_bytes()), "revision": revision})
}

impl Worker {
    /// A worker under a lease, in a generation that began at revision 10.
    pub fn trusting() -> Self {
        Self::trusting_with(CONFIG)
    }

    /// The same under this configuration.
    pub fn trusting_with(config: &str) -> Self {
        let mut worker = Self::with(config);
        worker.pass(100);
        worker.fed(
            json!({"changes": [], "cursor": head(LIFE, 10), "granted_ms": LEASE_MS, "reset": true}),
        );
        worker
    }

    /// The poll under way.
    pub fn poll(&self) -> FeedRequest {
        assert_eq!(self.polls.len(), 1);
        serde_json::from_slice(&self.polls[0].1.body).unwrap()
    }

    /// Answers it.
    pub fn fed(&mut self, mut answer: Value) {
        let number = self.poll().poll;
        answer["poll"] = number.into();
        let body = answer.to_string();
        self.fed_with(CallOutcome::Answer {
            status: 200,
            marked: true,
            body: body.as_bytes(),
        });
    }

    pub fn fed_with(&mut self, outcome: CallOutcome<'_>) {
        let (call, _) = self.polls.remove(0);
        self.event(|engine, env| engine.on_call_done(call, outcome, env));
    }

    pub fn fed_changes(&mut self, changes: &[Value], revision: u64) {
        self.fed(
            json!({"changes": changes, "cursor": head(LIFE, revision), "granted_ms": LEASE_MS}),
        );
    }

    /// Has a key in the table, read at this revision.
    fn warm(&mut self, key: &str, revision: u64) {
        let request = self.get(key);
        self.answer(200, active_at(LIFE, revision));
        assert!(matches!(self.ends[&request], End::Upstream(_)));
    }

    /// What a request with this key comes to without a call; none: it asks.
    fn at_once(&mut self, key: &str) -> Option<End> {
        let calls = self.calls.len();
        let request = self.get(key);
        assert_eq!(self.calls.len() > calls, !self.ends.contains_key(&request));
        self.calls.truncate(calls);
        let end = self.ends.get(&request).cloned();
        if end.is_none() {
            // It gives up; its call's answer would find nobody.
            self.leave(request);
            self.forget_calls();
        }
        end
    }

    /// The calls under way are lost.
    fn forget_calls(&mut self) {
        for (call, _) in std::mem::take(&mut self.calls) {
            self.event(|engine, env| engine.on_call_done(call, CallOutcome::Lost, env));
        }
    }
}

fn yes() -> Option<End> {
    Some(End::Upstream(Some("u_1".into())))
}

#[test]
fn a_warm_key_costs_no_call() {
    let mut worker = Worker::trusting();
    worker.warm(&key(1), 10);
    for _ in 0..5 {
        assert_eq!(worker.at_once(&key(1)), yes());
    }
    assert_eq!(worker.counts[&Counter::CacheHit], 5);
    assert_eq!(worker.counts[&Counter::CacheMiss], 1);
}

#[test]
fn g1_the_lease_runs_from_the_sending_of_the_poll() {
    let mut worker = Worker::new();
    worker.pass(100);
    let sent = worker.now;
    worker.now += 700;
    worker.fed(
        json!({"changes": [], "cursor": head(LIFE, 10), "granted_ms": LEASE_MS, "reset": true}),
    );
    worker.warm(&key(1), 10);
    worker.now = sent + LEASE_MS - 1;
    assert_eq!(worker.at_once(&key(1)), yes());
    worker.now = sent + LEASE_MS;
    assert_eq!(worker.at_once(&key(1)), None, "I7: no lease, no cached yes");
}

#[test]
fn without_a_lease_nothing_is_trusted_and_the_store_is_asked() {
    let mut worker = Worker::new();
    worker.warm(&key(1), 10);
    assert_eq!(worker.at_once(&key(1)), None);
}

#[test]
fn a_revocation_in_the_feed_refuses_at_once() {
    let mut worker = Worker::trusting();
    worker.warm(&key(1), 10);
    worker.fed_changes(&[change(&key(1), 11), change(&key(2), 12)], 12);
    for revoked in [key(1), key(2)] {
        let end = worker.at_once(&revoked).expect("refused at once");
        assert_eq!(end.refusal(), (401, "api_key_revoked".into()));
    }
    // And by the store's word, also after the lease (I1).
    worker.now += 10 * LEASE_MS;
    let end = worker.at_once(&key(1)).expect("refused at once");
    assert_eq!(end.refusal(), (401, "api_key_revoked".into()));
}

#[test]
fn g3_the_next_poll_acknowledges_what_is_written_down() {
    let mut worker = Worker::trusting();
    assert_eq!(worker.poll().cursor.unwrap().revision, 10);
    worker.fed_changes(&[change(&key(1), 11)], 11);
    assert_eq!(worker.poll().cursor.unwrap().revision, 11);
}

#[test]
fn g3_what_cannot_be_written_is_neither_acknowledged_nor_trusted() {
    let mut worker = Worker::trusting();
    worker.warm(&key(2), 10);
    worker.now += 2_000;
    worker.memory.refuse_slots = true;
    worker.fed_changes(&[change(&key(1), 11)], 11);
    assert!(worker.polls.is_empty());
    assert_eq!(worker.counts[&Counter::FeedUnwritten], 1);
    worker.pass(999);
    assert_eq!(worker.at_once(&key(2)), yes());
    worker.pass(1);
    assert_eq!(worker.at_once(&key(2)), None, "the lease was not extended");
    assert_eq!(worker.poll().cursor.unwrap().revision, 10);
}

#[test]
fn the_late_answer_of_a_revoked_key_is_not_cached() {
    let mut worker = Worker::trusting();
    let request = worker.get(&key(1));
    worker.fed_changes(&[change(&key(1), 11)], 11);
    worker.answer(200, active_at(LIFE, 10));
    // G6: decided by what the slot says now.
    assert_eq!(worker.refused(request), (401, "api_key_revoked".into()));
    assert!(worker.at_once(&key(1)).is_some());
}

#[test]
fn g5_an_answer_of_an_ended_generation_is_neither_cached_nor_shared() {
    let mut worker = Worker::trusting();
    let early = worker.get(&key(1));
    worker.fed(json!({"changes": [], "cursor": head(NEXT_LIFE, 50), "granted_ms": LEASE_MS, "reset": true}));
    let late = worker.get(&key(1));
    worker.answer(200, active_at(LIFE, 49));
    assert_eq!(worker.ends[&early], End::Upstream(Some("u_1".into())));
    assert!(!worker.ends.contains_key(&late), "it asks for itself");
    worker.answer(200, revoked_at(NEXT_LIFE, 50));
    assert_eq!(worker.refused(late), (401, "api_key_revoked".into()));
}

#[test]
fn g5_an_answer_of_another_life_of_the_store_ends_the_lease() {
    let mut worker = Worker::trusting();
    worker.warm(&key(1), 10);
    assert_eq!(worker.at_once(&key(1)), yes());
    let request = worker.get(&key(2));
    worker.answer(200, active_at(NEXT_LIFE, 99));
    assert_eq!(worker.ends[&request], End::Upstream(Some("u_1".into())));
    assert_eq!(worker.at_once(&key(1)), None);
    assert_eq!(worker.counts[&Counter::GenerationEnded], 1);
    // The poll under way is of the ended generation; the next still says what
    // this gateway knew (S8).
    let known = worker.poll().cursor;
    worker.fed_changes(&[], 12);
    worker.pass(100);
    assert!(known.is_some());
    assert_eq!(worker.poll().cursor, known);
}

#[test]
fn requests_share_one_call_under_the_lease() {
    let mut worker = Worker::trusting();
    let requests: Vec<_> = (0..10).map(|_| worker.get(&key(1))).collect();
    assert_eq!(worker.calls.len(), 1);
    worker.answer(200, active_at(LIFE, 10));
    for request in requests {
        assert_eq!(worker.ends[&request], End::Upstream(Some("u_1".into())));
    }
}

#[test]
fn g7_without_a_lease_an_earlier_call_does_not_serve() {
    let mut worker = Worker::new();
    let first = worker.get(&key(1));
    let others = [worker.get(&key(1)), worker.get(&key(1))];
    worker.answer(200, active_at(LIFE, 10));
    assert!(worker.ends.contains_key(&first));
    assert!(!others.iter().any(|other| worker.ends.contains_key(other)));
    worker.answer(200, revoked_at(LIFE, 11));
    for other in others {
        assert_eq!(worker.refused(other), (401, "api_key_revoked".into()));
    }
}

#[test]
fn g11_the_hour_is_refused_at_the_edge() {
    let mut worker = Worker::trusting();
    let first = worker.get(&key(1));
    let mut answer = active_at(LIFE, 10);
    answer["rotation_allowed_in"] = 2.into();
    worker.answer(200, answer);
    assert!(matches!(worker.ends[&first], End::Upstream(_)));
    worker.now += 1_001;
    let early = worker.regenerate(&key(1));
    let End::Reply(429, body) = &worker.ends[&early] else {
        panic!("{:?}", worker.ends[&early])
    };
    assert!(body.contains(r#""retry_after":1"#), "{body}");
    // From the second on it is the store's to decide.
    worker.now += 999;
    worker.regenerate(&key(1));
    assert_eq!(worker.call().1.path, "/v1/keys/rotate");
}

#[test]
fn a_trusted_key_is_rotated_without_being_resolved() {
    let mut worker = Worker::trusting();
    worker.warm(&key(1), 10);
    let request = worker.regenerate(&key(1));
    let (_, sent) = worker.calls.last().unwrap();
    assert_eq!(sent.path, "/v1/keys/rotate");
    let sent = serde_json::from_slice(&sent.body).unwrap();
    worker.answer(200, rotated(&sent));
    assert!(matches!(worker.ends[&request], End::Reply(200, _)));
    assert!(worker.at_once(&key(1)).is_some(), "refused at once");
}

#[test]
fn x1_a_trusted_rotation_that_never_left_is_unavailable() {
    let mut worker = Worker::trusting();
    worker.warm(&key(1), 10);
    let request = worker.regenerate(&key(1));
    worker.outcome(CallOutcome::NotSent);
    let unsent = worker.refused(request);
    assert_eq!(unsent, (503, "key_store_unavailable".into()));
}

#[test]
fn an_answer_to_another_poll_is_not_taken_for_it() {
    let mut worker = Worker::trusting();
    let body = json!({"poll": worker.poll().poll + 1, "changes": [], "cursor": head(LIFE, 11),
        "granted_ms": LEASE_MS})
    .to_string();
    worker.fed_with(CallOutcome::Answer {
        status: 200,
        marked: true,
        body: body.as_bytes(),
    });
    assert_eq!(worker.counts[&Counter::FeedFailed], 1);
    worker.pass(1_000);
    assert_eq!(worker.poll().cursor.unwrap().revision, 10);
}

#[test]
fn the_feed_backs_off_comes_back_and_says_so_once() {
    let mut worker = Worker::new();
    let mut polls = 0;
    for _ in 0..100 {
        worker.pass(100);
        if !worker.polls.is_empty() {
            polls += 1;
            worker.fed_with(unmarked(503));
        }
    }
    assert!((5..20).contains(&polls), "in 10 s: {polls}");
    while worker.polls.is_empty() {
        worker.pass(100);
    }
    worker.fed(
        json!({"changes": [], "cursor": head(LIFE, 10), "granted_ms": LEASE_MS, "reset": true}),
    );
    let levels: Vec<_> = worker.log.iter().map(|(level, _)| *level).collect();
    assert_eq!(levels, [LogLevel::Warn, LogLevel::Info]);
}

#[test]
fn a_store_that_resets_for_ever_is_not_run_after() {
    let mut worker = Worker::new();
    worker.pass(100);
    let mut answers = 0;
    while !worker.polls.is_empty() {
        answers += 1;
        worker.fed(
            json!({"changes": [], "cursor": head(answers, 10), "granted_ms": 0, "reset": true}),
        );
    }
    assert_eq!(answers, 2);
}

#[test]
fn one_worker_feeds_and_another_takes_over() {
    let (mut one, mut other) = (Worker::new(), Worker::new());
    one.pass(100);
    other.memory = std::mem::take(&mut one.memory);
    other.now = one.now;
    for _ in 0..7 {
        other.pass(100);
        assert!(other.polls.is_empty(), "one has the role");
    }
    // It trapped; a tick later than its claim lasts, the other has it.
    other.pass(100);
    assert_eq!(other.polls.len(), 1);
    other.fed(
        json!({"changes": [], "cursor": head(LIFE, 10), "granted_ms": LEASE_MS, "reset": true}),
    );
    // G2: it had only been frozen, and wakes with an answer of its own.
    one.memory = std::mem::take(&mut other.memory);
    one.fed(json!({"changes": [], "cursor": head(LIFE, 9), "granted_ms": LEASE_MS, "reset": true}));
    assert!(one.polls.is_empty(), "what it was told is thrown away");
    other.memory = std::mem::take(&mut one.memory);
    assert_eq!(other.poll().cursor.unwrap().revision, 10);
    other.pass(100);
    assert_eq!(other.gauges[&Gauge::AppliedRevision], 10);
}

#[test]
fn the_gauges_say_how_the_lease_stands() {
    let mut worker = Worker::new();
    worker.pass(100);
    assert_eq!(worker.gauges[&Gauge::LeaseHeld], 0);
    worker.fed(
        json!({"changes": [], "cursor": head(LIFE, 10), "granted_ms": LEASE_MS, "reset": true}),
    );
    worker.pass(100);
    assert_eq!(worker.gauges[&Gauge::LeaseHeld], 1);
    assert_eq!(worker.gauges[&Gauge::LeaseRemaining], LEASE_MS - 100);
    assert_eq!(worker.gauges[&Gauge::FeedLag], 100);
    assert_eq!(worker.gauges[&Gauge::AppliedRevision], 10);
    worker.now += LEASE_MS;
    worker.pass(0);
    assert_eq!(worker.gauges[&Gauge::LeaseHeld], 0);
    assert_eq!(worker.gauges[&Gauge::LeaseRemaining], 0);
}
