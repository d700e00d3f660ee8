//! Streams that may have missed the revocation of their key: they are asked about, and
//! a store that does not answer ends none.

use rekey_protocol::Digest;

use super::super::lease::{LIFE, NEXT_LIFE, active_at, change, head, revoked_at};
use super::*;

#[test]
fn a_worker_that_was_away_for_long_asks_the_slots() {
    let mut feeder = Worker::trusting();
    let mut away = Worker::new();
    let (dead, alive) = feeder.beside(&mut away, |away| {
        away.pass(0);
        (away.stream(&key(1)), away.stream(&key(2)))
    });
    for revision in 11..16 {
        let mut changes: Vec<_> = (10..60).map(|seed| change(&key(seed), revision)).collect();
        if revision == 11 {
            changes.push(change(&key(1), revision));
        }
        feeder.fed_changes(&changes, revision);
    }
    feeder.beside(&mut away, |away| away.pass(100));
    feeder.beside(&mut away, |away| away.pass(100));
    assert!(!away.is_open(dead) && away.is_open(alive));
    assert!(away.calls.is_empty(), "the slots knew");
}

#[test]
fn g5_a_stream_let_in_while_nothing_could_be_cached_is_asked_about() {
    for (answer, is_open) in [
        (revoked_before(LIFE, 20), false),
        (active_at(LIFE, 20), true),
    ] {
        let mut worker = Worker::new();
        worker.pass(100);
        let stream = worker.stream(&key(1));
        worker.pass(100);
        assert!(
            worker.calls.is_empty(),
            "no generation could cover the answer"
        );
        // What was revoked before 20 has no trace here.
        worker.starts_over(LIFE, 20);
        worker.pass(100);
        assert_eq!(worker.counts[&Counter::StreamChecked], 1);
        worker.answer(200, answer);
        assert_eq!(worker.is_open(stream), is_open);
        worker.pass(5_000);
        assert!(worker.calls.is_empty(), "asked once");
    }
}

#[test]
fn a_generation_that_starts_over_has_all_keys_asked_about_a_few_at_a_time() {
    let mut worker = Worker::trusting();
    let streams: Vec<_> = (0..10).map(|seed| worker.stream(&key(seed))).collect();
    let second = worker.stream(&key(0));
    worker.starts_over(NEXT_LIFE, 50);
    worker.pass(100);
    let mut asked = 0;
    while !worker.calls.is_empty() {
        assert!(worker.calls.len() <= MOST_ASKED);
        let (call, request) = worker.calls.remove(0);
        let asked_of = String::from_utf8(request.body).unwrap();
        let is_first = asked_of.contains(&Digest::of(key(0).as_bytes()).to_hex());
        let answer = if is_first {
            revoked_before(NEXT_LIFE, 50)
        } else {
            active_at(NEXT_LIFE, 50)
        };
        worker.end_call(call, 200, &answer);
        asked += 1;
    }
    assert_eq!(asked, 10);
    assert_eq!(worker.resets, BTreeSet::from([streams[0], second]));
}

#[test]
fn what_another_worker_has_asked_need_not_be_asked_again() {
    let mut feeder = Worker::trusting();
    let mut other = Worker::new();
    let dying = feeder.beside(&mut other, |other| {
        other.pass(0);
        other.stream(&key(1))
    });
    let own = [feeder.stream(&key(1)), feeder.stream(&key(2))];
    feeder.starts_over(NEXT_LIFE, 50);
    feeder.pass(100);
    for _ in 0..2 {
        let (call, request) = feeder.calls.remove(0);
        let asked_of = String::from_utf8(request.body).unwrap();
        let is_first = asked_of.contains(&Digest::of(key(1).as_bytes()).to_hex());
        let answer = if is_first {
            revoked_at(NEXT_LIFE, 51)
        } else {
            active_at(NEXT_LIFE, 51)
        };
        feeder.end_call(call, 200, &answer);
    }
    assert!(!feeder.is_open(own[0]) && feeder.is_open(own[1]));
    feeder.beside(&mut other, |other| other.pass(100));
    assert!(!other.is_open(dying));
    assert!(other.calls.is_empty());
}

#[test]
fn a_key_that_the_store_does_not_know_any_more_is_dead() {
    let mut worker = Worker::trusting();
    let stream = worker.stream(&key(1));
    worker.starts_over(NEXT_LIFE, 50);
    worker.pass(100);
    worker.answer(
        404,
        json!({"error": {"code": "unknown_key", "message": "no such key"},
            "head": head(NEXT_LIFE, 50)}),
    );
    assert!(!worker.is_open(stream));
}

#[test]
fn i7_a_store_that_does_not_answer_ends_nothing_and_is_asked_again() {
    let mut worker = Worker::trusting();
    let stream = worker.stream(&key(1));
    worker.starts_over(NEXT_LIFE, 50);
    worker.pass(100);
    worker.outcome(CallOutcome::Lost);
    for _ in 0..9 {
        worker.pass(100);
        assert!(worker.calls.is_empty(), "not without a pause");
    }
    worker.pass(100);
    assert!(worker.is_open(stream));
    worker.answer(200, revoked_at(NEXT_LIFE, 51));
    assert!(!worker.is_open(stream));
}
