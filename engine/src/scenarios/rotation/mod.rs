//! The rules of rotation, event by event: which key is shown, and what is said when it
//! cannot be.

mod replay;
mod turns;

use rekey_protocol::{Digest, RotateRequest};
use serde_json::{Value, json};

use super::*;
use crate::rotation::lifecycle::PATIENCE_MS;

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
fn the_hour_is_refused_before_anything_is_made() {
    let mut worker = Worker::new();
    let request = worker.regenerate(&key(1));
    worker.answer(200, active("u_1", 2400));
    assert_eq!(worker.refused(request), (429, "rate_limited".into()));
    assert_eq!((worker.calls.len(), worker.engine.in_flight()), (0, 0));
    // The store may still find so itself, when two race.
    let (request, _) = worker.rotating(&key(2));
    worker.answer(200, json!({"outcome": "rate_limited", "retry_after": 3600}));
    assert_eq!(worker.refused(request), (429, "rate_limited".into()));
}

/// Where the operator has set another interval than the documented hour, who is
/// too early is told of that one, by whatever way the gateway knows of it.
#[test]
fn another_interval_is_called_by_its_name() {
    let mut worker = Worker::trusting();
    let text = |worker: &Worker, request: RequestId| {
        let End::Reply(429, body) = &worker.ends[&request] else {
            panic!("no 429")
        };
        let body: Value = serde_json::from_str(body).unwrap();
        body["error"]["message"].as_str().unwrap().to_owned()
    };
    let documented = "You can only regenerate your API key once per hour. Please try again later.";
    let here = "You can only regenerate your API key once every 10 minutes. Please try again \
        later. A leaked key can be revoked at any time: Revoke now, in the dashboard.";
    for (interval, said) in [
        (None, documented),
        (Some(3600), documented),
        (Some(600), here),
    ] {
        let known = key(u8::try_from(interval.unwrap_or(1) % 199).unwrap());
        let mut answer = lease::active_at(lease::LIFE, 10);
        answer["rotation_allowed_in"] = 77.into();
        let mut decided = json!({"outcome": "rate_limited", "retry_after": 77});
        if let Some(seconds) = interval {
            answer["rotation_interval"] = seconds.into();
            decided["rotation_interval"] = seconds.into();
        }
        let asked = worker.regenerate(&known);
        worker.answer(200, answer);
        let cached = worker.regenerate(&known);
        assert!(worker.calls.is_empty(), "the table knows");
        // The lease is over, and so is the wait: the store finds another one.
        worker.now += 77_000;
        let raced = worker.regenerate(&known);
        worker.answer(200, lease::active_at(lease::LIFE, 10));
        worker.answer(200, decided);
        for request in [asked, cached, raced] {
            assert_eq!(text(&worker, request), said);
        }
        worker = Worker::trusting();
    }
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
fn x1_a_lost_answer_is_asked_for_again_and_gives_the_same_key() {
    let mut worker = Worker::new();
    let (request, first) = worker.rotating(&key(1));
    worker.outcome(unmarked(503));
    assert!(!worker.ends.contains_key(&request));
    worker.pass(100);
    let second: RotateRequest = serde_json::from_slice(&worker.calls[0].1.body).unwrap();
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
    assert_eq!(worker.engine.in_flight(), 0);
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
    for number in 0..1024 {
        worker.rotating(&numbered_key(number));
        worker.calls.clear();
    }
    let request = worker.regenerate(&numbered_key(1024));
    worker.answer(200, active("u_1", 0));
    assert_eq!(
        worker.refused(request),
        (503, "key_store_unavailable".into())
    );
    assert_eq!(worker.engine.in_flight(), 1024);
}
