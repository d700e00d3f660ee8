//! Many requests with one key: one of them holds a call to the store, the others
//! wait for its end. And the ways to the store, which do not starve each other.

use super::*;
use crate::rotation::lifecycle::PATIENCE_MS;

const OURS: &str = "3f2c9a52-6c1e-4a43-9c39-0f3f0f6b8b11";
/// Lookups go one way, rotations another.
const APART: &str = r#"{"store":{"cluster":"store","rotation_cluster":"rotations"}}"#;

impl Worker {
    /// A worker that knows the key as the old one of a rotation which may still be
    /// answered again, and one whose lease outlasts these tests.
    fn with_old_key(config: &str) -> Self {
        let mut worker = Self::with(config);
        worker.get(&key(1));
        let mut answer = revoked();
        answer["replayable"] = json!(true);
        worker.answer(200, answer);
        worker
    }

    fn replay(&mut self, key: &str) -> RequestId {
        let header = ("idempotency-key", OURS.to_owned());
        self.request("POST", REGENERATE, vec![bearer(key), header])
    }

    /// Where the calls in flight went, and for what.
    fn ways(&self) -> Vec<(&str, &str)> {
        let calls = self.calls.iter();
        calls
            .map(|(_, call)| (call.cluster.as_str(), call.path))
            .collect()
    }

    fn first_sent(&self) -> RotateRequest {
        serde_json::from_slice(&self.calls[0].1.body).unwrap()
    }
}

fn not_replayed() -> Value {
    json!({"outcome": "revoked", "revision": 10, "replayable": true})
}

#[test]
fn of_many_replays_of_one_key_one_is_in_flight() {
    let mut worker = Worker::with_old_key(CONFIG);
    let requests: Vec<_> = (0..10).map(|_| worker.replay(&key(1))).collect();
    assert_eq!(worker.calls.len(), 1);
    assert_eq!(worker.engine.in_flight(), 10);
    // Each has its turn, in their order, with an id of its own.
    let mut ids = BTreeSet::new();
    for request in &requests {
        assert!(!worker.ends.contains_key(request));
        assert!(ids.insert(worker.first_sent().rotation_id.0));
        worker.answer(200, not_replayed());
        assert_eq!(worker.refused(*request), (401, "api_key_revoked".into()));
    }
    assert_eq!((worker.calls.len(), worker.engine.in_flight()), (0, 0));
    assert_eq!(worker.counts[&Counter::RotationQueued], 9);
}

#[test]
fn another_key_does_not_wait() {
    let mut worker = Worker::with_old_key(CONFIG);
    worker.replay(&key(1));
    worker.replay(&key(1));
    let other = worker.regenerate(&key(2));
    let (call, _) = worker.calls.pop().unwrap();
    worker.end_call(call, 200, &active("u_2", 0));
    let (call, sent) = worker.calls.pop().unwrap();
    let sent: RotateRequest = serde_json::from_slice(&sent.body).unwrap();
    worker.end_call(call, 200, &rotated(&sent));
    assert!(matches!(worker.ends[&other], End::Reply(200, _)));
    assert_eq!(worker.calls.len(), 1, "the replay is still held");
}

#[test]
fn a_race_for_one_key_holds_one_call_and_has_one_winner() {
    let mut worker = Worker::trusting();
    let racing: Vec<_> = (0..5).map(|_| worker.regenerate(&key(1))).collect();
    worker.answer(200, lease::active_at(lease::LIFE, 10));
    assert_eq!(worker.calls.len(), 1);
    let sent = worker.first_sent();
    worker.answer(200, rotated(&sent));
    assert!(matches!(worker.ends[&racing[0]], End::Reply(200, _)));
    // The tombstone is there: the others cost no call.
    for request in &racing[1..] {
        assert_eq!(worker.refused(*request), (401, "api_key_revoked".into()));
    }
    assert!(worker.calls.is_empty());
}

#[test]
fn who_asks_for_no_earlier_answer_does_not_wait_for_the_barrier() {
    let mut worker = Worker::trusting();
    let first = worker.regenerate(&key(1));
    worker.answer(200, lease::active_at(lease::LIFE, 10));
    let second = worker.regenerate(&key(1));
    assert_eq!(worker.calls.len(), 1);
    // The store has committed; its answer waits for a gateway that is away.
    worker.fed_changes(&[lease::change(&key(1), 11)], 11);
    worker.pass(100);
    assert_eq!(worker.refused(second), (401, "api_key_revoked".into()));
    assert!(!worker.ends.contains_key(&first));
}

#[test]
fn if_the_first_one_came_to_nothing_the_next_one_is_sent() {
    let mut worker = Worker::trusting();
    let first = worker.regenerate(&key(1));
    let second = worker.regenerate(&key(1));
    worker.answer(200, lease::active_at(lease::LIFE, 10));
    worker.outcome(CallOutcome::NotSent);
    let unavailable = (503, "key_store_unavailable".into());
    assert_eq!(worker.refused(first), unavailable);
    let sent = worker.first_sent();
    worker.answer(200, rotated(&sent));
    assert!(matches!(worker.ends[&second], End::Reply(200, _)));
}

#[test]
fn whoever_leaves_lets_the_next_one_have_its_turn() {
    let mut worker = Worker::with_old_key(CONFIG);
    worker.bell_is_lost = true;
    let first = worker.replay(&key(1));
    let (second, third) = (worker.replay(&key(1)), worker.replay(&key(1)));
    worker.leave(second);
    // Never sent, so it is dropped with its client.
    worker.leave(first);
    worker.pass(100);
    assert_eq!(worker.calls.len(), 1);
    worker.answer(200, not_replayed());
    assert_eq!(worker.refused(third), (401, "api_key_revoked".into()));
    assert_eq!(
        worker.ends.len(),
        2,
        "and nobody else: the first was a look"
    );
}

/// A lost answer must not keep its client waiting, nor may clients that leave hold
/// more and more calls.
#[test]
fn a_rotation_whose_client_has_left_holds_up_nobody_but_the_third() {
    let mut worker = Worker::with_old_key(CONFIG);
    let first = worker.replay(&key(1));
    worker.leave(first);
    let second = worker.replay(&key(1));
    assert_eq!(worker.calls.len(), 2, "its answer may be lost");
    worker.leave(second);
    let third = worker.replay(&key(1));
    assert_eq!(worker.calls.len(), 2);
    worker.calls.remove(0);
    worker.answer(200, not_replayed());
    worker.answer(200, not_replayed());
    assert_eq!(worker.refused(third), (401, "api_key_revoked".into()));
}

#[test]
fn patience_is_over_in_the_queue_too() {
    let mut worker = Worker::with_old_key(CONFIG);
    let requests = [worker.replay(&key(1)), worker.replay(&key(1))];
    for _ in 0..=PATIENCE_MS / 500 {
        worker.pass(500);
        worker.polls.clear();
        while !worker.calls.is_empty() {
            worker.outcome(CallOutcome::Lost);
        }
    }
    for request in requests {
        let unconfirmed = (503, "rotation_unconfirmed".into());
        assert_eq!(worker.refused(request), unconfirmed);
    }
}

#[test]
fn a_key_has_its_share_of_the_queue() {
    let mut worker = Worker::trusting();
    let requests: Vec<_> = (0..300).map(|_| worker.regenerate(&key(1))).collect();
    worker.answer(200, lease::active_at(lease::LIFE, 10));
    worker.ring();
    let refused: Vec<_> = requests
        .iter()
        .filter(|request| worker.ends.contains_key(request))
        .map(|request| worker.refused(*request))
        .collect();
    assert_eq!(refused.len(), 300 - 1 - 256);
    assert!(refused.iter().all(|end| end.1 == "too_many_open_requests"));
}

#[test]
fn rotations_and_the_lookups_for_them_go_their_own_way() {
    let mut worker = Worker::with(APART);
    worker.get(&key(2));
    worker.regenerate(&key(1));
    let (lookup, rotation) = ("/v1/keys/resolve", "/v1/keys/rotate");
    assert_eq!(worker.ways(), [("store", lookup), ("rotations", lookup)]);
    let (call, _) = worker.calls.remove(1);
    worker.end_call(call, 200, &active("u_1", 0));
    assert_eq!(worker.ways(), [("store", lookup), ("rotations", rotation)]);
    // Without the setting all of it is as it was.
    let mut worker = Worker::with(CONFIG);
    worker.rotating(&key(1));
    assert_eq!(worker.ways(), [("store", rotation)]);
}

#[test]
fn each_way_has_its_own_health() {
    let mut worker = Worker::with(APART);
    worker.get(&key(3));
    worker.answer(200, active("u_3", 0));
    worker.regenerate(&key(1));
    worker.answer(200, active("u_1", 0));
    worker.outcome(CallOutcome::NotSent);
    worker.now += 2_000;
    worker.get(&key(2));
    worker.answer(200, active("u_2", 0));
    let said: Vec<_> = worker.log.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].contains("for rotations (cluster rotations)"),
        "{said:?}"
    );
}

/// The table is all workers', and their events overlap: one may read what another
/// has written a moment after its own began.
#[test]
fn a_key_that_may_be_rotated_at_once_may_be_so_in_an_event_that_is_older() {
    let mut worker = Worker::trusting();
    worker.get(&key(1));
    worker.answer(200, lease::active_at(lease::LIFE, 10));
    worker.now -= 3;
    let request = worker.regenerate(&key(1));
    assert!(!worker.ends.contains_key(&request), "no 429");
    assert_eq!(worker.calls.len(), 1);
}
