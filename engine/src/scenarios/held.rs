//! Refusals of requests whose bodies are on their way.

use super::*;

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
    assert_eq!(worker.engine.under_way(), refused.len());
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
    assert_eq!(worker.engine.under_way(), refused.len());
    worker.now += 100;
    worker.event(|engine, env| engine.on_tick(env));
    let codes = refused.iter().map(|request| worker.refused(*request).0);
    assert_eq!(Vec::from_iter(codes), [401, 401, 401, 401, 405]);
    assert!(!worker.ends.contains_key(&gone));
    assert_eq!(worker.engine.under_way(), 0);
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

/// I8.
#[test]
fn i8_only_so_many_refusals_wait() {
    let mut worker = Worker::new();
    let length = || ("content-length", "5".to_owned());
    for _ in 0..1_024 {
        worker.request("POST", "/v1/scrape", vec![length()]);
    }
    assert!(worker.ends.is_empty());
    let more = worker.request("POST", "/v1/scrape", vec![length()]);
    assert_eq!(worker.refused(more).0, 401);
    worker.now += 200;
    worker.event(|engine, env| engine.on_tick(env));
    assert_eq!(worker.ends.len(), 1_025);
}
