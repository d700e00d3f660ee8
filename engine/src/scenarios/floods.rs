//! Floods of keys that nobody has, and what is done with revoked ones: what they
//! cost the store, and whom they must not hold up.

use rekey_protocol::{Digest, REFUSED_MOST};

use super::lease::{LEASE_MS, LIFE, NEXT_LIFE, active_at, head, revoked_at};
use super::*;

/// Accepts keys without a checksum, and asks about few unseen keys.
const SMALL: &str = r#"{"store":{"cluster":"store"},"checksum":"off","cache_slots":1,"unknown_keys_per_second":10}"#;
/// What may be asked at once.
const BURST: usize = 50;

/// A key that looks like one, without a checksum.
fn made_up(number: u32) -> String {
    format!("sb_live_{number:032}")
}

fn unknown_at(life: u8, revision: u64) -> Value {
    json!({"error": {"code": "unknown_key", "message": ""}, "head": head(life, revision)})
}

fn trusting(config: &str) -> Worker {
    let mut worker = Worker::with(config);
    worker.pass(100);
    worker.granted(10, 0);
    worker
}

impl Worker {
    /// The poll is answered up to this revision; the last import was at that one.
    fn granted(&mut self, revision: u64, keys_imported_at: u64) {
        self.fed(
            json!({"changes": [], "cursor": head(LIFE, revision), "granted_ms": LEASE_MS,
            "reset": self.poll().cursor.is_none(), "keys_imported_at": keys_imported_at}),
        );
    }

    /// Answers all calls in flight, in the order in which they were sent.
    fn answer_all(&mut self, status: u16, body: &Value) {
        let body = body.to_string();
        for (call, _) in std::mem::take(&mut self.calls) {
            let outcome = CallOutcome::Answer {
                status,
                marked: true,
                body: body.as_bytes(),
            };
            self.event(|engine, env| engine.on_call_done(call, outcome, env));
        }
    }

    /// The keys from the first number on, as many as cause a call each.
    fn flood(&mut self, first: u32) -> usize {
        let before = self.calls.len();
        for number in first.. {
            let calls = self.calls.len();
            let request = self.get(&made_up(number));
            if self.calls.len() == calls {
                assert_eq!(
                    self.refused(request),
                    (503, "key_store_unavailable".into()),
                    "I7: never a 401"
                );
                break;
            }
        }
        self.calls.len() - before
    }

    fn is_served(&self, request: RequestId) -> bool {
        matches!(self.ends.get(&request), Some(End::Upstream(_)))
    }
}

#[test]
fn a_flood_of_unknown_keys_asks_within_the_budget() {
    let mut worker = trusting(SMALL);
    let mut calls = worker.flood(0);
    assert_eq!(calls, BURST);
    for second in 1..=10 {
        worker.answer_all(404, &unknown_at(LIFE, 10));
        worker.now += 1_000;
        calls += worker.flood(second * 1_000);
    }
    assert_eq!(calls, BURST + 10 * 10);
    assert_eq!(worker.counts[&Counter::MissOverBudget], 11);
    let (_, last) = worker.headers.last_key_value().unwrap();
    assert!(last.contains(&("retry-after", "1".to_owned())), "{last:?}");
}

#[test]
fn workers_share_the_budget() {
    let (mut one, mut other) = (trusting(SMALL), Worker::with(SMALL));
    assert_eq!(one.flood(0), BURST);
    other.memory = one.memory;
    assert_eq!(other.flood(1_000), 0);
}

#[test]
fn a_cold_start_is_limited_by_what_is_under_way_alone() {
    let mut worker = trusting(SMALL);
    for number in 0..100 * BURST as u32 {
        let request = worker.get(&made_up(number));
        worker.answer_all(200, &active_at(LIFE, 10));
        assert!(worker.is_served(request), "{number}");
    }
    // A store that knows a key as revoked knows it.
    for number in 0..100 * BURST as u32 {
        let request = worker.get(&made_up(1_000_000 + number));
        worker.answer_all(200, &revoked_at(LIFE, 10));
        assert_eq!(worker.refused(request).0, 401, "{number}");
    }
}

#[test]
fn who_was_seen_before_is_asked_for_in_the_midst_of_a_flood() {
    let mut worker = trusting(SMALL);
    let users = 0..1_000;
    for user in users.clone() {
        worker.get(&made_up(user));
        worker.answer_all(200, &active_at(LIFE, 10));
    }
    assert_eq!(worker.flood(1_000_000), BURST);
    worker.answer_all(404, &unknown_at(LIFE, 10));
    // One slot holds four of them, so nearly all were evicted. Then there is no
    // lease, and then another life of the store.
    for lost in 0..3 {
        for user in users.clone() {
            let request = worker.get(&made_up(user));
            worker.answer_all(200, &active_at(LIFE + lost / 2, 10));
            assert!(worker.is_served(request), "{user}");
        }
        worker.flood(2_000_000 + 1_000 * u32::from(lost));
        worker.answer_all(404, &unknown_at(LIFE, 10));
        worker.now += 2 * LEASE_MS;
    }
}

#[test]
fn a_flood_without_checksum_leaves_new_keys_alone() {
    let mut worker = trusting(SMALL);
    assert_eq!(worker.flood(0), BURST);
    worker.answer_all(404, &unknown_at(LIFE, 10));
    // Just made by a rotation elsewhere: nobody here has seen it.
    let request = worker.get(&key(1));
    worker.answer_all(200, &active_at(LIFE, 10));
    assert!(worker.is_served(request));
}

#[test]
fn where_the_checksum_leaked_it_is_within_the_budget_all_the_same() {
    let mut worker = trusting(r#"{"store":{"cluster":"store"},"unknown_keys_per_second":10}"#);
    let secrets = ChecksumSecrets::parse(SECRET).unwrap();
    for number in 0..100_u8 {
        let mut random = [0; 64];
        random[..1].copy_from_slice(&[number % 62]);
        random[1..2].copy_from_slice(&[number / 62]);
        worker.get(secrets.issue(&random).unwrap().expose());
    }
    assert_eq!(worker.calls.len(), BURST);
}

#[test]
fn who_joins_a_call_needs_no_token() {
    let mut worker = trusting(SMALL);
    let first = worker.get(&made_up(0));
    assert_eq!(worker.flood(1), BURST - 1);
    let second = worker.get(&made_up(0));
    assert_eq!(worker.calls.len(), BURST);
    worker.answer_all(200, &active_at(LIFE, 10));
    assert!(worker.is_served(first) && worker.is_served(second));
}

#[test]
fn to_ask_once_more_takes_a_token_too() {
    let mut worker = trusting(SMALL);
    let own = worker.get(&made_up(0));
    assert_eq!(worker.flood(1), BURST - 1);
    let late = worker.get(&made_up(0));
    let (call, _) = worker.calls.remove(0);
    worker.event(|engine, env| engine.on_call_done(call, CallOutcome::Lost, env));
    assert_eq!(worker.refused(own).0, 503);
    assert_eq!(worker.refused(late), (503, "key_store_unavailable".into()));
    assert_eq!(worker.calls.len(), BURST - 1);
}

#[test]
fn an_unknown_key_is_asked_for_once_under_a_lease() {
    let mut worker = trusting(SMALL);
    let request = worker.get(&made_up(0));
    worker.answer_all(404, &unknown_at(LIFE, 10));
    assert_eq!(worker.refused(request), (401, "invalid_api_key".into()));
    for ask in [Worker::get, Worker::regenerate] {
        let request = ask(&mut worker, &made_up(0));
        assert_eq!(worker.refused(request), (401, "invalid_api_key".into()));
    }
    assert!(worker.calls.is_empty());
    assert_eq!(worker.counts[&Counter::UnknownHit], 2);
    assert_eq!(worker.counts[&Counter::UnknownAnswered], 1);
    // I7: no lease, no cached no.
    worker.now += LEASE_MS;
    worker.get(&made_up(0));
    assert_eq!(worker.calls.len(), 1);
}

#[test]
fn a_store_that_does_not_say_when_is_asked_each_time() {
    let mut worker = trusting(SMALL);
    for _ in 0..3 {
        worker.get(&made_up(0));
        assert_eq!(worker.calls.len(), 1);
        worker.answer_all(
            404,
            &json!({"error": {"code": "unknown_key", "message": ""}}),
        );
    }
}

#[test]
fn an_import_ends_what_was_unknown_before() {
    let mut worker = trusting(SMALL);
    worker.get(&made_up(0));
    worker.answer_all(404, &unknown_at(LIFE, 10));
    worker.granted(20, 15);
    let request = worker.get(&made_up(0));
    worker.answer_all(200, &active_at(LIFE, 20));
    assert!(worker.is_served(request));
    // Others, asked for after it, count; also where the feed is told late.
    worker.get(&made_up(1));
    worker.answer_all(404, &unknown_at(LIFE, 20));
    worker.granted(21, 15);
    let again = worker.get(&made_up(1));
    assert_eq!(worker.refused(again).0, 401);
    assert!(worker.calls.is_empty());
}

#[test]
fn a_late_unknown_of_before_an_import_hides_nothing() {
    let mut worker = trusting(SMALL);
    // Read before the import, and on its way while the import is applied here.
    let request = worker.get(&made_up(0));
    worker.granted(20, 15);
    worker.answer_all(404, &unknown_at(LIFE, 14));
    assert_eq!(
        worker.refused(request).0,
        401,
        "it arrived before the import"
    );
    worker.get(&made_up(0));
    assert_eq!(worker.calls.len(), 1);
}

#[test]
fn g7_who_came_after_an_import_is_not_told_of_before_it() {
    let mut worker = trusting(SMALL);
    let early = worker.get(&made_up(0));
    worker.granted(20, 15);
    // The import's command may have returned by now.
    let late = worker.get(&made_up(0));
    worker.answer_all(404, &unknown_at(LIFE, 14));
    assert_eq!(worker.refused(early).0, 401);
    worker.answer_all(200, &active_at(LIFE, 20));
    assert!(worker.is_served(late));
}

#[test]
fn a_late_unknown_ends_no_stream_of_a_key_that_was_imported() {
    let mut worker = trusting(SMALL);
    let mut other = Worker::with(SMALL);
    let asking = worker.get(&made_up(0));
    // Another worker of the process has asked later.
    let serve = |other: &mut Worker| {
        other.pass(0);
        let stream = other.get(&made_up(0));
        other.answer_all(200, &active_at(LIFE, 15));
        assert!(other.is_served(stream));
    };
    worker.beside(&mut other, serve);
    let stream = worker.get(&made_up(0));
    assert!(worker.is_served(stream), "from the table");
    worker.answer_all(404, &unknown_at(LIFE, 14));
    assert!(worker.ends.contains_key(&asking) && worker.resets.is_empty());
}

#[test]
fn an_unknown_of_another_generation_or_life_hides_nothing() {
    let mut worker = trusting(SMALL);
    worker.get(&made_up(0));
    // A generation begins while the call is in flight.
    worker.fed(
        json!({"changes": [], "cursor": head(NEXT_LIFE, 5), "granted_ms": LEASE_MS,
        "reset": true}),
    );
    worker.answer_all(404, &unknown_at(LIFE, 10));
    worker.get(&made_up(0));
    assert_eq!(worker.calls.len(), 1);
    // Of a life that this cache does not follow: it ends the lease (G5).
    worker.answer_all(404, &unknown_at(LIFE + 2, 10));
    assert_eq!(worker.counts[&Counter::GenerationEnded], 1);
    worker.get(&made_up(0));
    assert_eq!(worker.calls.len(), 1);
}

#[test]
fn i7_a_failing_store_is_not_taken_for_an_unknown_key() {
    let mut worker = trusting(SMALL);
    worker.get(&made_up(0));
    worker.outcome(CallOutcome::Lost);
    let request = worker.get(&made_up(0));
    worker.answer_all(200, &active_at(LIFE, 10));
    assert!(worker.is_served(request));
}

#[test]
fn a_wrong_idempotency_key_is_a_use_of_a_revoked_key_too() {
    let mut worker = trusting(SMALL);
    let once = ("idempotency-key", "0123456789-0123456789".to_owned() + "-0");
    let request = worker.request("POST", REGENERATE, vec![bearer(&key(1)), once]);
    let mut revoked = revoked_at(LIFE, 10);
    revoked["replayable"] = json!(true);
    worker.answer_all(200, &revoked);
    let refused = json!({"outcome": "revoked", "revision": 10, "replayable": true});
    worker.answer_all(200, &refused);
    assert_eq!(worker.refused(request).1, "api_key_revoked");
    worker.pass(100);
    worker.granted(10, 0);
    let told = worker.poll().refused;
    assert_eq!((told.len(), told[0].count), (1, 1));
}

#[test]
fn uses_of_revoked_keys_are_told_until_a_poll_is_answered() {
    let mut worker = trusting(SMALL);
    worker.get(&key(1));
    worker.answer_all(200, &revoked_at(LIFE, 10));
    for _ in 0..4 {
        worker.get(&key(1));
    }
    // What is unknown, malformed or good is no use of a revoked key.
    worker.get("sb_live_nonsense");
    worker.get(&key(2));
    worker.answer_all(200, &active_at(LIFE, 10));
    assert!(worker.poll().refused.is_empty(), "it left before");
    worker.pass(100);
    worker.granted(10, 0);
    let told = worker.poll().refused;
    assert_eq!((told.len(), told[0].count), (1, 5));
    assert_eq!(told[0].digest, Digest::of(key(1).as_bytes()));
    // The answer does not come: they are told again, with what came meanwhile.
    worker.get(&key(1));
    worker.fed_with(CallOutcome::Lost);
    while worker.polls.is_empty() {
        worker.pass(100);
    }
    let told = worker.poll().refused;
    assert_eq!((told.len(), told[0].count), (1, 6));
    worker.granted(10, 0);
    worker.pass(100);
    assert!(worker.poll().refused.is_empty());
}

#[test]
fn i8_a_poll_tells_of_so_many_keys() {
    let mut worker = trusting(SMALL);
    for number in 0..300 {
        worker.get(&made_up(number));
        worker.answer_all(200, &revoked_at(LIFE, 10));
    }
    assert!(worker.counts[&Counter::UseUncounted] > 0);
    worker.pass(100);
    worker.granted(10, 0);
    assert_eq!(worker.poll().refused.len(), REFUSED_MOST);
}

#[test]
fn x5_replays_are_asked_for_within_a_budget_of_their_own() {
    let mut worker = trusting(SMALL);
    worker.flood(0);
    worker.answer_all(404, &unknown_at(LIFE, 10));
    let uuid = || ("idempotency-key", "0123456789-0123456789-0123".to_owned());
    worker.get(&key(1));
    let mut dead = revoked_at(LIFE, 10);
    dead["replayable"] = true.into();
    worker.answer_all(200, &dead);
    let mut ask = || worker.request("POST", REGENERATE, vec![bearer(&key(1)), uuid()]);
    let requests: Vec<_> = (0..=BURST).map(|_| ask()).collect();
    // One after the other, each of them paid for.
    assert_eq!(worker.calls.len(), 1);
    assert_eq!(worker.engine.in_flight(), BURST);
    assert_eq!(
        worker.refused(requests[BURST]),
        (503, "rotation_unconfirmed".into())
    );
}
