//! What becomes of a request whose key the store does not vouch for.

use std::time::{Duration, Instant};

use rekey_testbed::FleetOptions;
use serde_json::{Value, json};

use super::super::support::client::{REGENERATE, SCRAPE, bearer};
use super::super::support::stand_ins::scripted_store::{Act, Then, active, error, honest, marked};
use super::super::support::store_view;
use super::{CERTAIN, Fault, UNCLEAR, USER, assert_unavailable, start};

/// Short, so that a silent store costs the test no time; long enough for one
/// that answers on a busy machine.
const RESOLVE_TIMEOUT_MS: u64 = 400;

fn options() -> FleetOptions {
    FleetOptions {
        plugin: json!({ "store": { "resolve_timeout_ms": RESOLVE_TIMEOUT_MS } }),
        ..FleetOptions::default()
    }
}

/// I6: the store learns digests, and the gateway's own token.
#[test]
fn the_store_is_asked_for_a_digest_and_gets_nothing_else_of_the_key() {
    let (fleet, store) = start(options(), honest(USER));
    let key = fleet.user().api_key;
    let mut headers = bearer(&key);
    headers.push(("idempotency-key", "0123456789-idempotency-key".to_owned()));
    let answer = fleet.client().send("POST", REGENERATE, &headers, "a body");
    let new_key = answer.new_key();

    let asked = store.take_asked();
    let [resolve, rotate] = &asked[..] else {
        panic!("{asked:?}");
    };
    let (old, new) = (store_view::digest(&key), store_view::digest(&new_key));
    assert_eq!(resolve.body, json!({ "digest": old }));
    assert_eq!(rotate.body["old_digest"], json!(old));
    assert_eq!(rotate.body["new_digest"], json!(new));
    assert_eq!(rotate.body["hint"], new_key[36..]);
    let token = format!("Bearer {}", fleet.secrets.store_token);
    for asked in &asked {
        assert_eq!(asked.header("authorization"), token);
        assert_eq!(asked.header("host"), "rekey-store");
        let all = format!("{asked:?}");
        for secret in [&key, &new_key, "0123456789-idempotency-key", "a body"] {
            assert!(!all.contains(secret), "{all}");
        }
    }
}

/// I7: a failure is a 503 and never a 401, and the next good word counts.
#[test]
fn a_resolve_that_comes_to_nothing_is_a_503_and_leaves_no_trace() {
    let (fleet, store) = start(options(), honest(USER));
    let client = fleet.client();
    let key = fleet.user().api_key;
    let faults = UNCLEAR.into_iter().chain(CERTAIN).chain([Fault::Silent]);
    for fault in faults {
        let case = format!("{fault:?}");
        store.follow(move |_| fault.act(&active(USER)));
        store.take_asked();
        assert_unavailable(&case, &client.get(SCRAPE, &key));
        assert_unavailable(&case, &client.regenerate(&key));
        let asked = store.take_asked();
        assert!(asked.iter().all(|asked| asked.is_resolve()), "{case}");
        assert!(asked.len() >= 2, "{case}: {asked:?}");

        store.follow(honest(USER));
        let served = client.get(SCRAPE, &key);
        assert_eq!(served.status, 200, "after {case}: {}", served.body);
        assert_eq!(served.json()["user"], USER, "after {case}");
    }
    fleet.assert_no_trap();
}

#[test]
fn a_silent_store_costs_no_more_than_the_configured_time() {
    let (fleet, _store) = start(options(), |_| Act::Keep(Then::Hang));
    let key = fleet.user().api_key;
    let began = Instant::now();
    assert_unavailable("silent", &fleet.client().get(SCRAPE, &key));
    let took = began.elapsed();
    // Envoy's timers count from the beginning of a turn of its event loop.
    let timeout = Duration::from_millis(RESOLVE_TIMEOUT_MS);
    assert!(took >= timeout * 9 / 10, "{took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    fleet.assert_no_trap();
}

/// The user goes into a header: one that could break it is no user.
#[test]
fn a_user_id_that_could_break_a_header_is_refused() {
    let (fleet, store) = start(options(), honest(USER));
    let key = fleet.user().api_key;
    for user in [
        json!("u_1\r\nx-admin: yes"),
        json!("u_1\u{0}"),
        json!("u_1 "),
        json!("u_1,u_2"),
        json!("ü"),
        json!(""),
        json!("u".repeat(65)),
        json!(null),
        json!(1),
    ] {
        let mut body = active(USER);
        body["user"] = user.clone();
        store.follow(move |_| Act::Send(marked(200, &body), Then::Live));
        assert_unavailable(&user.to_string(), &fleet.client().get(SCRAPE, &key));
    }
    fleet.assert_no_trap();
}

/// What the filter reads are its own fields, so a newer store may add some.
#[test]
fn an_answer_may_have_more_fields_than_are_known() {
    let mut body = active(USER);
    body["from_tomorrow"] = json!({"a": [1, 2, 3]});
    let answer = marked(200, &body);
    let script = move |_: &_| Act::Send(answer.clone(), Then::Live);
    let (fleet, _store) = start(options(), script);
    let key = fleet.user().api_key;
    assert_eq!(fleet.client().get(SCRAPE, &key).status, 200);
}

/// Only the store's own word makes a 401; "unknown" is no word for ever.
#[test]
fn a_no_of_the_stores_own_is_a_401() {
    let (fleet, store) = start(options(), honest(USER));
    let client = fleet.client();
    let key = fleet.user().api_key;
    let outcome = |status: u16, code: &str| (status, code.to_owned());
    let says = |status: u16, body: Value| {
        store.follow(move |_| Act::Send(marked(status, &body), Then::Live));
    };

    says(404, error("unknown_key"));
    let invalid = outcome(401, "invalid_api_key");
    assert_eq!(client.get(SCRAPE, &key).outcome(), invalid);
    assert_eq!(client.regenerate(&key).outcome(), invalid);
    store.follow(honest(USER));
    assert_eq!(client.get(SCRAPE, &key).status, 200);

    let mut limited = active(USER);
    limited["rotation_allowed_in"] = 77.into();
    says(200, limited);
    let answer = client.regenerate(&key);
    assert_eq!(answer.outcome(), outcome(429, "rate_limited"));
    assert_eq!(answer.header("retry-after"), "77");
    assert_eq!(answer.json()["error"]["retry_after"], 77);
    assert_eq!(client.get(SCRAPE, &key).status, 200);
    fleet.assert_no_trap();
}

/// I1: "revoked" can never become wrong, so it is believed for ever and saves
/// the call, on every worker.
#[test]
fn a_revoked_key_stays_revoked_whatever_the_store_says_later() {
    let (fleet, store) = start(options(), honest(USER));
    let client = fleet.client();
    let key = fleet.user().api_key;
    let mut body = active(USER);
    body["state"] = "revoked".into();
    store.follow(move |_| Act::Send(marked(200, &body), Then::Live));
    let revoked = (401, "api_key_revoked".to_owned());
    assert_eq!(client.get(SCRAPE, &key).outcome(), revoked);
    store.follow(honest(USER));
    store.take_asked();
    for _ in 0..20 {
        assert_eq!(client.get(SCRAPE, &key).outcome(), revoked);
        assert_eq!(client.regenerate(&key).outcome(), revoked);
    }
    assert_eq!(store.take_asked().len(), 0, "no call is spent on it");
    fleet.assert_no_trap();
}
