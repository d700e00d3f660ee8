//! Lost answers: who repeats a request with its `Idempotency-Key` gets the same
//! new key (X2 to X5), and nobody else does.

use super::*;
use crate::rotation::PATIENCE_MS;

const OURS: &str = "3f2c9a52-6c1e-4a43-9c39-0f3f0f6b8b11";
const ANOTHER: &str = "00000000-1111-2222-3333-444444444444";

impl Worker {
    fn repeatable(&mut self, key: &str, idempotency_key: &str) -> RequestId {
        let header = ("idempotency-key", idempotency_key.to_owned());
        self.request("POST", REGENERATE, vec![bearer(key), header])
    }

    /// The body of the one rotate call under way.
    fn asked(&self) -> RotateRequest {
        let (_, sent) = self.calls.last().unwrap();
        assert_eq!(sent.path, "/v1/keys/rotate");
        serde_json::from_slice(&sent.body).unwrap()
    }

    /// A rotation with our Idempotency-Key, that committed and whose answer is
    /// lost: what the store keeps of it.
    fn lost_answer(&mut self, key: &str) -> RotateRequest {
        let request = self.repeatable(key, OURS);
        self.answer(200, active("u_1", 0));
        let sent = self.asked();
        self.leave(request);
        self.outcome(CallOutcome::Lost);
        sent
    }

    fn header(&self, request: RequestId, name: &str) -> Option<&str> {
        let mut headers = self.headers.get(&request)?.iter();
        let (_, value) = headers.find(|(found, _)| *found == name)?;
        Some(value)
    }

    fn new_key(&self, request: RequestId) -> String {
        let End::Reply(200, body) = &self.ends[&request] else {
            panic!("{:?}", self.ends[&request]);
        };
        let body: Value = serde_json::from_str(body).unwrap();
        body["data"]["api_key"].as_str().unwrap().to_owned()
    }
}

/// The store's answer to whoever proved to be the client of that rotation.
fn replayed(made: &RotateRequest) -> Value {
    json!({"outcome": "revoked", "revision": 10, "replayable": true, "replayed": {
        "rotation_id": made.rotation_id, "new_digest": made.new_digest,
        "created_at": "2025-01-31T16:00:00Z", "sealed": made.replay.as_ref().unwrap().sealed}})
}

fn replayable() -> Value {
    let mut answer = revoked();
    answer["replayable"] = json!(true);
    answer
}

#[test]
fn x3_a_lost_answer_is_given_again_by_any_gateway() {
    let made = Worker::new().lost_answer(&key(1));
    // Another gateway, which has never heard of it and draws other keys.
    let mut worker = Worker::new();
    worker.memory.skip_random(50);
    let request = worker.repeatable(&key(1), OURS);
    worker.answer(200, replayable());
    let asked = worker.asked();
    assert_ne!(asked.rotation_id, made.rotation_id);
    assert_ne!(asked.new_digest, made.new_digest);
    let proof = |asked: &RotateRequest| asked.replay.as_ref().unwrap().proof;
    assert_eq!(proof(&asked), proof(&made));
    worker.answer(200, replayed(&made));
    let new = worker.new_key(request);
    assert_eq!(rekey_protocol::Digest::of(new.as_bytes()), made.new_digest);
    assert_eq!(worker.header(request, "idempotent-replayed"), Some("true"));
    assert_eq!(worker.header(request, "cache-control"), Some("no-store"));
    assert_eq!(worker.counts[&Counter::Replayed], 1);
    assert!(!worker.counts.contains_key(&Counter::Rotated));
}

#[test]
fn x3_the_loser_of_a_race_under_one_idempotency_key_gets_the_winners_key() {
    let made = Worker::new().lost_answer(&key(1));
    let mut worker = Worker::new();
    worker.memory.skip_random(50);
    let request = worker.repeatable(&key(1), OURS);
    worker.answer(200, active("u_1", 0));
    worker.answer(200, replayed(&made));
    let new = worker.new_key(request);
    assert_eq!(rekey_protocol::Digest::of(new.as_bytes()), made.new_digest);
}

#[test]
fn x5_a_tombstone_is_not_final_while_the_rotation_may_be_answered_again() {
    let mut worker = Worker::new();
    let made = worker.lost_answer(&key(1));
    worker.get(&key(1));
    worker.answer(200, replayable());
    // The tombstone is there now: no call for who does not ask for a replay.
    let plain = worker.get(&key(1));
    let bare = worker.regenerate(&key(1));
    for request in [plain, bare] {
        assert_eq!(worker.refused(request), (401, "api_key_revoked".into()));
    }
    assert!(worker.calls.is_empty());
    let request = worker.repeatable(&key(1), OURS);
    worker.answer(200, replayed(&made));
    assert_eq!(worker.header(request, "idempotent-replayed"), Some("true"));
    // And once more, for that answer may get lost as well.
    let again = worker.repeatable(&key(1), OURS);
    worker.answer(200, replayed(&made));
    assert_eq!(worker.new_key(request), worker.new_key(again));
    // In the end it is final.
    worker.pass(600_000);
    worker.polls.clear();
    let late = worker.repeatable(&key(1), OURS);
    assert_eq!(worker.refused(late), (401, "api_key_revoked".into()));
    assert!(worker.calls.is_empty());
}

#[test]
fn x5_a_tombstone_without_a_record_is_final_at_once() {
    let mut worker = Worker::new();
    worker.get(&key(1));
    worker.answer(200, revoked());
    let request = worker.repeatable(&key(1), OURS);
    assert_eq!(worker.refused(request), (401, "api_key_revoked".into()));
    assert!(worker.calls.is_empty());
}

#[test]
fn a_thief_with_the_old_key_alone_gets_nothing() {
    let made = Worker::new().lost_answer(&key(1));
    let mut worker = Worker::new();
    worker.memory.skip_random(50);
    let request = worker.repeatable(&key(1), ANOTHER);
    worker.answer(200, replayable());
    assert_ne!(
        worker.asked().replay.unwrap().proof,
        made.replay.as_ref().unwrap().proof
    );
    // Even if the store handed the record out.
    worker.answer(200, replayed(&made));
    assert_eq!(worker.refused(request), (401, "api_key_revoked".into()));
    assert_eq!(worker.header(request, "idempotent-replayed"), None);
}

#[test]
fn without_the_header_nothing_is_sealed_and_nothing_asked_for() {
    let mut worker = Worker::new();
    let (_, sent) = worker.rotating(&key(1));
    assert_eq!(sent.replay, None);
    worker.answer(
        200,
        json!({"outcome": "revoked", "revision": 10, "replayable": true}),
    );
    let request = worker.regenerate(&key(1));
    assert_eq!(worker.refused(request), (401, "api_key_revoked".into()));
    assert!(worker.calls.is_empty());
}

#[test]
fn x4_nothing_is_sealed_for_a_key_that_can_be_guessed() {
    let mut worker = Worker::with(r#"{"store":{"cluster":"store"},"checksum":"off"}"#);
    worker.repeatable("sb_live_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", OURS);
    worker.answer(200, active("u_1", 0));
    assert_eq!(worker.asked().replay, None);
    worker.calls.clear();
    worker.repeatable(&key(1), OURS);
    worker.answer(200, active("u_1", 0));
    assert!(worker.asked().replay.is_some());
}

#[test]
fn x2_all_attempts_of_one_rotation_carry_the_same_record() {
    let mut worker = Worker::new();
    worker.repeatable(&key(1), OURS);
    worker.answer(200, active("u_1", 0));
    let first = worker.asked();
    worker.outcome(CallOutcome::Lost);
    worker.pass(100);
    let second = worker.asked();
    assert_eq!((first.attempt, second.attempt), (1, 2));
    assert_eq!(first.replay, second.replay);
}

#[test]
fn x1_a_replay_that_came_to_nothing_says_to_ask_again() {
    let mut worker = Worker::new();
    worker.get(&key(1));
    worker.answer(200, replayable());
    let request = worker.repeatable(&key(1), OURS);
    worker.outcome(CallOutcome::NotSent);
    assert_eq!(
        worker.refused(request),
        (503, "rotation_unconfirmed".into())
    );
    let request = worker.repeatable(&key(1), OURS);
    worker.outcome(CallOutcome::Lost);
    for _ in 0..PATIENCE_MS / 500 {
        worker.pass(500);
        worker.polls.clear();
        while !worker.calls.is_empty() {
            worker.outcome(CallOutcome::Lost);
        }
    }
    assert_eq!(
        worker.refused(request),
        (503, "rotation_unconfirmed".into())
    );
}

#[test]
fn g12_the_new_key_is_looked_up_by_its_first_request() {
    let mut worker = Worker::trusting();
    let (request, sent) = worker.rotating(&key(1));
    worker.answer(200, rotated(&sent));
    assert!(worker.calls.is_empty(), "nobody asks about it yet");
    worker.get(&worker.new_key(request));
    let (_, asked) = worker.call();
    assert_eq!(asked.path, "/v1/keys/resolve", "it is not trusted yet");
}
