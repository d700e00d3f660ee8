//! The HTTP contract, event by event.

use rekey_protocol::Digest;
use serde_json::{Value, json};

use super::*;

#[test]
fn a_valid_key_goes_on_with_its_user() {
    let mut worker = Worker::new();
    let request = worker.get(&key(1));
    let (call, sent) = worker.calls.last().cloned().unwrap();
    assert_eq!(
        (sent.cluster.as_str(), sent.path),
        ("store", "/v1/keys/resolve")
    );
    assert_eq!(sent.timeout_ms, 1000);
    let body: Value = serde_json::from_slice(&sent.body).unwrap();
    assert_eq!(body, json!({"digest": Digest::of(key(1).as_bytes())}));
    worker.answer(200, active("u_1", 0));
    assert_eq!(worker.ends[&request], End::Upstream(Some("u_1".into())));
    // An answer that comes twice finds nobody.
    worker.calls.push((call, sent));
    worker.answer(200, active("u_1", 0));
    assert_eq!(worker.engine.in_flight(), 0);
}

#[test]
fn a_public_path_needs_no_key_and_bears_no_user() {
    let mut worker = Worker::new();
    let request = worker.request("GET", "/status", vec![bearer(&key(1))]);
    assert_eq!(worker.ends[&request], End::Upstream(None));
    assert!(worker.calls.is_empty());
}

#[test]
fn nothing_goes_on_that_the_next_hop_takes_another_header_off() {
    let mut worker = Worker::new();
    for path in ["/status", "/v1/scrape", REGENERATE] {
        let connection = ("connection", "Upgrade, x-rekey-user".to_owned());
        let request = worker.request("GET", path, vec![bearer(&key(1)), connection]);
        let refused = (400, "invalid_connection_header".to_owned());
        assert_eq!(worker.refused(request), refused, "{path}");
    }
    assert!(worker.calls.is_empty());
    let upgrade = ("connection", "keep-alive, Upgrade".to_owned());
    let request = worker.request("GET", "/status", vec![upgrade]);
    assert_eq!(worker.ends[&request], End::Upstream(None));
}

#[test]
fn a_bad_key_is_refused_without_a_call() {
    let mut worker = Worker::new();
    let request = worker.get("sb_live_nonsense");
    assert_eq!(worker.refused(request), (401, "invalid_api_key".into()));
    let request = worker.request("GET", "/", vec![]);
    assert_eq!(worker.refused(request), (401, "missing_api_key".into()));
    assert!(worker.calls.is_empty());
}

#[test]
fn where_no_key_is_given_the_refusal_says_what_came() {
    let mut worker = Worker::new();
    let mut told = |path: &str, headers: Vec<(&str, String)>| {
        let request = worker.request("GET", path, headers);
        let bare = ("www-authenticate", r#"Bearer realm="api""#.to_owned());
        assert!(worker.headers[&request].contains(&bare));
        assert_eq!(worker.refused(request), (401, "missing_api_key".into()));
        let End::Reply(_, body) = &worker.ends[&request] else {
            panic!("no answer")
        };
        let body: Value = serde_json::from_str(body).unwrap();
        body["error"]["message"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        told("/", vec![]),
        "No API key was given. Send it as: Authorization: Bearer YOUR_API_KEY"
    );
    assert_eq!(
        told("/", vec![("authorization", "Basic dTpw".to_owned())]),
        "No API key was given. Authorization has the scheme Basic, not Bearer. Send it as: \
         Authorization: Bearer YOUR_API_KEY"
    );
    assert_eq!(
        told("/", vec![("x-api-key", key(1))]),
        "No API key was given. The header x-api-key is not read. Send it as: Authorization: \
         Bearer YOUR_API_KEY"
    );
    let in_query = format!("/v1/scrape?api_key={}", key(1));
    assert_eq!(
        told(&in_query, vec![]),
        "No API key was given. The query parameter api_key is not read. If that was your API \
         key, it may have been logged on its way: regenerate it. Send it as: Authorization: \
         Bearer YOUR_API_KEY"
    );
}

/// What decides on a good request is all that costs it a call to the host.
#[test]
fn other_places_for_a_key_are_looked_at_only_where_it_is_missing() {
    struct Counted<'a>(TestHead<'a>, std::cell::Cell<u32>);
    impl RequestHead for Counted<'_> {
        fn path(&self) -> Vec<u8> {
            self.0.path()
        }
        fn method(&self) -> Vec<u8> {
            self.0.method()
        }
        fn header(&self, name: &str) -> Option<Vec<u8>> {
            self.1.set(self.1.get() + 1);
            self.0.header(name)
        }
        fn body_follows(&self) -> bool {
            self.0.body_follows()
        }
        fn client_address(&self) -> Option<String> {
            None
        }
    }
    // `Connection` and `Authorization` are always asked for.
    for (authorization, expected) in [
        (bearer(&key(1)), 2),
        (bearer("nonsense"), 2),
        (("authorization", "Basic dTpw".to_owned()), 2),
        (("cookie", "token=x".to_owned()), 7),
    ] {
        let head = TestHead {
            method: "GET",
            path: "/v1/scrape",
            headers: vec![authorization],
        };
        let counted = Counted(head, std::cell::Cell::new(0));
        let mut worker = Worker::new();
        worker.event(|engine, env| engine.on_request_headers(RequestId(9), &counted, env));
        assert_eq!(counted.1.get(), expected);
    }
}

/// A slot that was read before the lease could be of a time when the lease did not
/// cover it.
#[test]
fn g4_a_request_reads_control_first_then_the_slot() {
    let mut worker = Worker::trusting();
    for _ in 0..2 {
        worker.memory.reads = Some(Vec::new());
        worker.get(&key(1));
        let reads = worker.memory.reads.take().unwrap();
        let place = |part: &str| reads.iter().position(|name| name.contains(part));
        assert_eq!(place(".control"), Some(0), "{reads:?}");
        assert_eq!(place(".slot."), Some(1), "{reads:?}");
        if !worker.calls.is_empty() {
            worker.answer(200, lease::active_at(lease::LIFE, 10));
        }
    }
}

#[test]
fn the_endpoint_checks_method_then_idempotency_key_then_key() {
    let mut worker = Worker::new();
    let short = || ("idempotency-key", "short".to_owned());
    for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "post"] {
        let request = worker.request(method, REGENERATE, vec![short()]);
        assert_eq!(worker.refused(request), (405, "method_not_allowed".into()));
    }
    let request = worker.request("POST", REGENERATE, vec![short()]);
    assert_eq!(
        worker.refused(request),
        (400, "invalid_idempotency_key".into())
    );
    let request = worker.request("POST", REGENERATE, vec![]);
    assert_eq!(worker.refused(request), (401, "missing_api_key".into()));
    assert!(worker.calls.is_empty());
}

#[test]
fn a_grpc_call_rotates_nothing() {
    let mut worker = Worker::new();
    let grpc = ("content-type", "application/grpc+proto".to_owned());
    let request = worker.request("POST", REGENERATE, vec![bearer(&key(1)), grpc]);
    assert_eq!(worker.refused(request), (405, "method_not_allowed".into()));
    assert!(worker.calls.is_empty());
}

#[test]
fn a_revoked_answer_is_remembered() {
    let mut worker = Worker::new();
    for ask in [Worker::get, Worker::regenerate] {
        let request = ask(&mut worker, &key(1));
        if !worker.calls.is_empty() {
            worker.answer(200, revoked());
        }
        assert_eq!(worker.refused(request), (401, "api_key_revoked".into()));
    }
    assert_eq!(worker.counts[&Counter::TombstoneHit], 1);
}

#[test]
fn other_workers_of_the_process_see_the_tombstone() {
    let (mut one, mut other) = (Worker::new(), Worker::new());
    let (_, sent) = one.rotating(&key(1));
    one.answer(200, rotated(&sent));
    other.memory = one.memory;
    let request = other.get(&key(1));
    assert_eq!(other.refused(request), (401, "api_key_revoked".into()));
}

#[test]
fn g10_other_settings_do_not_share_tombstones() {
    let mut one = Worker::new();
    let (_, sent) = one.rotating(&key(1));
    one.answer(200, rotated(&sent));
    let mut other = Worker::with(r#"{"store":{"cluster":"another"}}"#);
    other.memory = one.memory;
    other.get(&key(1));
    assert_eq!(other.calls.len(), 1);
}

#[test]
fn i7_a_store_that_cannot_be_asked_is_a_503_and_is_not_remembered() {
    let garbage = CallOutcome::Answer {
        status: 200,
        marked: true,
        body: b"<html>",
    };
    let internal = CallOutcome::Answer {
        status: 500,
        marked: true,
        body: br#"{"error":{"code":"internal","message":""}}"#,
    };
    for outcome in [
        CallOutcome::NotSent,
        CallOutcome::Lost,
        unmarked(404),
        unmarked(503),
        garbage,
        internal,
    ] {
        for endpoint in [false, true] {
            let mut worker = Worker::new();
            let ask = if endpoint {
                Worker::regenerate
            } else {
                Worker::get
            };
            let request = ask(&mut worker, &key(1));
            worker.outcome(outcome);
            assert_eq!(
                worker.refused(request),
                (503, "key_store_unavailable".into())
            );
            let request = worker.get(&key(1));
            worker.answer(200, active("u_1", 0));
            assert_eq!(worker.ends[&request], End::Upstream(Some("u_1".into())));
        }
    }
}

#[test]
fn an_unknown_key_is_a_401_and_is_not_remembered() {
    let mut worker = Worker::new();
    let request = worker.get(&key(1));
    worker.answer(
        404,
        json!({"error": {"code": "unknown_key", "message": ""}}),
    );
    assert_eq!(worker.refused(request), (401, "invalid_api_key".into()));
    worker.get(&key(1));
    assert_eq!(worker.calls.len(), 1);
}

#[test]
fn a_client_that_leaves_stops_what_was_not_sent() {
    let mut worker = Worker::new();
    worker.bell_is_lost = true;
    let request = worker.regenerate(&key(1));
    worker.leave(request);
    worker.ring();
    assert!(worker.calls.is_empty() && worker.ends.is_empty());
    assert_eq!(worker.engine.in_flight(), 0);
    // One that was sent finds nobody to rotate for.
    let request = worker.regenerate(&key(1));
    worker.ring();
    worker.leave(request);
    worker.answer(200, active("u_1", 0));
    assert!(worker.calls.is_empty() && worker.ends.is_empty());
    assert_eq!(worker.engine.in_flight(), 0);
}

#[test]
fn what_a_lost_ring_should_have_sent_goes_with_the_next_tick() {
    let mut worker = Worker::new();
    worker.bell_is_lost = true;
    let request = worker.get(&key(1));
    assert!(worker.calls.is_empty() && worker.rings == 1);
    worker.pass(100);
    worker.answer(200, active("u_1", 0));
    assert_eq!(worker.ends[&request], End::Upstream(Some("u_1".into())));
}

#[test]
fn the_stores_health_is_logged_once_a_change_and_without_secrets() {
    let mut worker = Worker::new();
    for _ in 0..10 {
        worker.get(&key(1));
        worker.outcome(unmarked(503));
        worker.now += 2_000;
    }
    worker.get(&key(1));
    worker.answer(
        401,
        json!({"error": {"code": "unauthorized", "message": ""}}),
    );
    worker.now += 2_000;
    worker.get(&key(1));
    worker.answer(200, active("u_1", 0));
    let levels: Vec<_> = worker.log.iter().map(|(level, _)| *level).collect();
    assert_eq!(levels, [LogLevel::Warn, LogLevel::Error, LogLevel::Info]);
    for (_, line) in &worker.log {
        assert!(
            !line.contains("sb_live_") && !line.contains(SECRET),
            "{line}"
        );
    }
}
