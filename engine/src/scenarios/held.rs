//! Refusals of requests whose bodies are on their way.

use super::*;
use crate::host::outbox::MOST_TURNS;

/// Answered at once, a client that is still sending might not read the answer.
#[test]
fn a_refusal_waits_a_moment_for_the_body() {
    let mut worker = Worker::new();
    let length = || ("content-length", "5".to_owned());
    let mut refused = Vec::new();
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        let headers = vec![bearer("nonsense"), length()];
        refused.push(worker.request(method, "/v1/scrape", headers));
    }
    refused.push(worker.request("PUT", REGENERATE, vec![length()]));
    assert_eq!(worker.engine.in_flight(), refused.len());
    assert!(
        refused
            .iter()
            .all(|request| !worker.ends.contains_key(request))
    );
    // Its client has gone: nobody is told.
    let gone = worker.request("POST", "/v1/scrape", vec![length()]);
    worker.event(|engine, _| engine.on_request_done(gone));
    worker.now += 100;
    worker.event(|engine, env| engine.on_tick(env));
    assert_eq!(worker.engine.in_flight(), refused.len());
    worker.now += 100;
    worker.event(|engine, env| engine.on_tick(env));
    let codes = refused.iter().map(|request| worker.refused(*request).0);
    assert_eq!(Vec::from_iter(codes), [401, 401, 401, 401, 405]);
    assert!(!worker.ends.contains_key(&gone));
    assert_eq!(worker.engine.in_flight(), 0);
    // Without a body, or where no end of one is to come, there is nothing to wait
    // for; and with a good key nothing waits.
    for (method, headers) in [
        ("POST", vec![]),
        ("GET", vec![length()]),
        ("HEAD", vec![length()]),
        ("CONNECT", vec![length()]),
    ] {
        let request = worker.request(method, "/v1/scrape", headers);
        assert_eq!(worker.refused(request).0, 401, "{method}");
    }
}

/// I8: no flood of refused bodies fills the memory.
#[test]
fn i8_only_so_many_refusals_wait() {
    let mut worker = Worker::new();
    worker.bell_is_lost = true;
    let length = || ("content-length", "5".to_owned());
    for _ in 0..1_024 {
        worker.request("POST", "/v1/scrape", vec![length()]);
    }
    assert!(worker.ends.is_empty());
    let more = worker.request("POST", "/v1/scrape", vec![length()]);
    assert_eq!(worker.refused(more).0, 401);
    worker.now += 200;
    worker.event(|engine, env| engine.on_tick(env));
    // The host answers each inside the answer to the one before (I9).
    assert_eq!(worker.ends.len(), 1 + MOST_TURNS);
    for _ in 1..1_024 / MOST_TURNS {
        worker.event(|engine, env| engine.on_root(env));
    }
    assert_eq!(worker.ends.len(), 1_025);
}

/// Those who wait for one answer of the store are turned to a few at a time, too,
/// whatever it is; and the end of a request turns to no other.
#[test]
fn i9_only_so_many_requests_are_turned_to_in_one_event() {
    for outcome in [404, 200] {
        let mut worker = Worker::new();
        worker.bell_is_lost = true;
        let waiting: Vec<_> = (0..100).map(|_| worker.get(&key(1))).collect();
        worker.event(|engine, env| engine.on_root(env));
        let (call, _) = worker.call();
        let body = match outcome {
            200 => active("u_1", 0),
            _ => json!({"error": {"code": "unknown_key", "message": ""}}),
        };
        worker.end_call(call, outcome, &body);
        assert_eq!(worker.ends.len(), MOST_TURNS);
        let rings = worker.rings;
        worker.event(|engine, _| engine.on_request_done(waiting[0]));
        assert_eq!(worker.ends.len(), MOST_TURNS);
        assert_eq!(worker.rings, rings);
        // Another one comes in between, and is decided at once.
        let other = worker.request("GET", "/status", vec![]);
        assert_eq!(worker.ends[&other], End::Upstream(None));
        assert_eq!(worker.ends.len(), MOST_TURNS + 1);
        for _ in 0..3 {
            worker.event(|engine, env| engine.on_root(env));
        }
        assert_eq!(worker.ends.len(), 101);
    }
}
