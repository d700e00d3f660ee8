//! What is lost on the way costs no more than it must: words of the host, polls,
//! the feeder's role.

use rekey_protocol::poll_hold_ms;

use super::lease::{LEASE_MS, LIFE, NEXT_LIFE, active_at, head, revoked_at};
use super::*;

const HOLD_MS: u64 = poll_hold_ms(LEASE_MS as u32) as u64;

#[test]
fn a_call_without_a_word_of_the_host_ends_and_its_key_can_be_asked_for_again() {
    let mut worker = Worker::trusting();
    let request = worker.get(&key(1));
    let (lost, _) = worker.call();
    worker.pass(1_000 + 1_000 - 1);
    assert!(!worker.ends.contains_key(&request));
    worker.pass(1);
    let unavailable = (503, "key_store_unavailable".into());
    assert_eq!(worker.refused(request), unavailable);
    let again = worker.get(&key(1));
    worker.answer(200, active_at(LIFE, 10));
    assert!(matches!(worker.ends[&again], End::Upstream(_)));
    // The word that comes after all finds nobody.
    worker.event(|engine, env| engine.on_call_done(lost, CallOutcome::Lost, env));
    assert_eq!(worker.engine.in_flight(), 0);
}

#[test]
fn a_rotation_without_a_word_of_the_host_is_asked_for_again() {
    let mut worker = Worker::new();
    let (request, first) = worker.rotating(&key(1));
    worker.call();
    worker.pass(u64::from(crate::store::calls::ROTATE_TIMEOUT_MS) + 1_000);
    worker.pass(100);
    let (_, sent) = worker.calls.last().unwrap();
    let second: RotateRequest = serde_json::from_slice(&sent.body).unwrap();
    assert_eq!(second.rotation_id, first.rotation_id);
    worker.answer(200, rotated(&second));
    assert!(matches!(worker.ends[&request], End::Reply(200, _)));
}

#[test]
fn who_came_after_a_call_that_fails_gets_one_of_its_own() {
    let mut worker = Worker::trusting();
    let early = worker.get(&key(1));
    worker.now += 999;
    let late = worker.get(&key(1));
    worker.outcome(unmarked(504));
    let unavailable = (503, "key_store_unavailable".into());
    assert_eq!(worker.refused(early), unavailable);
    worker.answer(200, active_at(LIFE, 10));
    assert!(matches!(worker.ends[&late], End::Upstream(_)));
}

#[test]
fn a_poll_that_is_lost_does_not_cost_the_lease() {
    let mut worker = Worker::trusting();
    // The lease in hand is that of a poll which the store held for its time.
    worker.now += HOLD_MS;
    worker.fed_changes(&[], 10);
    let (_, poll) = worker.polls[0].clone();
    let answered_at = worker.now;
    while worker.now < answered_at + u64::from(poll.timeout_ms) {
        worker.pass(10);
        assert_eq!(worker.gauges[&Gauge::LeaseHeld], 1);
    }
    worker.fed_with(unmarked(504));
    while worker.polls.is_empty() {
        // A tick each 100 ms.
        worker.pass(100);
        assert_eq!(worker.gauges[&Gauge::LeaseHeld], 1);
    }
    worker.pass(HOLD_MS);
    assert_eq!(worker.gauges[&Gauge::LeaseHeld], 1);
    worker.fed_changes(&[], 10);
}

#[test]
fn a_feeder_that_lost_its_role_stops_asking() {
    let (mut one, mut other) = (Worker::trusting(), Worker::new());
    other.now = one.now;
    // It stalls until another has the role, and wakes with a good answer.
    other.memory = std::mem::take(&mut one.memory);
    other.pass(800);
    assert_eq!(other.polls.len(), 1);
    one.memory = std::mem::take(&mut other.memory);
    one.now = other.now;
    one.fed_changes(&[], 10);
    assert!(one.polls.is_empty());
    // What it was told counts all the same.
    one.pass(100);
    assert!(one.polls.is_empty());
    assert_eq!(one.gauges[&Gauge::AppliedRevision], 10);
}

#[test]
fn a_store_that_does_not_hold_polls_is_asked_once_a_tick() {
    let mut worker = Worker::trusting();
    worker.fed_changes(&[], 10);
    assert!(worker.polls.is_empty(), "at once, and nothing new");
    worker.pass(100);
    // News are acknowledged at once.
    worker.fed_changes(&[], 11);
    assert_eq!(worker.poll().cursor.unwrap().revision, 11);
    // So is what was held for its time.
    worker.now += HOLD_MS;
    worker.fed(json!({"changes": [], "cursor": head(LIFE, 11), "granted_ms": LEASE_MS}));
    assert_eq!(worker.polls.len(), 1);
}

#[test]
fn i1_what_cannot_be_written_down_is_not_refused_for_good() {
    let mut worker = Worker::trusting();
    worker.memory.refuse_slots = true;
    let request = worker.get(&key(1));
    worker.answer(200, revoked_at(LIFE, 11));
    let unavailable = (503, "key_store_unavailable".into());
    assert_eq!(worker.refused(request), unavailable);
}

#[test]
fn a_late_word_of_a_lost_history_locks_nobody_out() {
    let mut worker = Worker::trusting();
    let request = worker.get(&key(1));
    worker.fed(json!({"changes": [], "cursor": head(NEXT_LIFE, 50), "granted_ms": LEASE_MS, "reset": true}));
    worker.answer(200, revoked_at(LIFE, 49));
    assert_eq!(worker.refused(request), (401, "api_key_revoked".into()));
    // In the restored history the key lives.
    let request = worker.get(&key(1));
    worker.answer(200, active_at(NEXT_LIFE, 50));
    assert!(matches!(worker.ends[&request], End::Upstream(_)));
}
