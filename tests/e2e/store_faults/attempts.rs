//! What becomes of a rotation whose call came to nothing (X1, S11).

use std::collections::BTreeSet;

use rekey_testbed::FleetOptions;
use serde_json::{Value, json};

use super::super::support::client::SCRAPE;
use super::super::support::stand_ins::scripted_store::{
    Act, Asked, ScriptedStore, Then, active, error, honest, marked, rotated,
};
use super::{CERTAIN, Fault, UNCLEAR, USER, assert_unavailable, assert_unconfirmed, start};

/// Accepts every key; what it does about a rotation is the test's.
fn rotate_by(
    mut script: impl FnMut(&Asked) -> Act + Send + 'static,
) -> impl FnMut(&Asked) -> Act + Send + 'static {
    move |asked| {
        if asked.is_rotate() {
            script(asked)
        } else {
            Act::Send(marked(200, &active(USER)), Then::Live)
        }
    }
}

/// The rotations that the store was asked for.
fn rotations(store: &ScriptedStore) -> Vec<Asked> {
    let asked = store.take_asked().into_iter();
    asked.filter(Asked::is_rotate).collect()
}

fn distinct<'a>(asked: &'a [Asked], field: &str) -> BTreeSet<&'a str> {
    let field = asked.iter().map(|asked| asked.body[field].as_str());
    field.map(|field| field.expect("a text")).collect()
}

/// Of each attempt it is not known what it did, so it is asked for again under
/// the same id, with the same new key, and the first word that is clear counts.
#[test]
fn an_unclear_attempt_is_followed_by_another_under_the_same_id() {
    let (fleet, store) = start(FleetOptions::default(), honest(USER));
    let client = fleet.client();
    for fault in UNCLEAR {
        let case = format!("{fault:?}");
        let key = fleet.user().api_key;
        store.follow(rotate_by(move |asked| {
            let good = rotated(asked, USER);
            match asked.attempt() {
                1 => fault.act(&good),
                // That this one did nothing says nothing of the first.
                2 => Fault::Store(503, "unavailable").act(&good),
                _ => Act::Send(marked(200, &good), Then::Live),
            }
        }));
        let answer = client.regenerate(&key);
        let new_key = answer.new_key();
        let asked = rotations(&store);
        let attempts: Vec<_> = asked.iter().map(Asked::attempt).collect();
        assert_eq!(attempts, [1, 2, 3], "{case}");
        for field in ["rotation_id", "old_digest", "new_digest"] {
            assert_eq!(distinct(&asked, field).len(), 1, "{case}: {field}");
        }
        assert_eq!(client.get(SCRAPE, &key).status, 401, "{case}");
        assert_eq!(client.get(SCRAPE, &new_key).status, 200, "{case}");
    }
    fleet.assert_no_trap();
}

/// The only attempt did nothing, by the store's own word: the old key works.
#[test]
fn a_certain_refusal_ends_it_and_nothing_has_happened() {
    let (fleet, store) = start(FleetOptions::default(), honest(USER));
    let client = fleet.client();
    let key = fleet.user().api_key;
    for fault in CERTAIN {
        let case = format!("{fault:?}");
        store.follow(rotate_by(move |_| fault.act(&Value::Null)));
        assert_unavailable(&case, &client.regenerate(&key));
        assert_eq!(rotations(&store).len(), 1, "{case}");
        assert_eq!(client.get(SCRAPE, &key).status, 200, "{case}");
    }
    // The next one is a rotation of its own.
    store.follow(honest(USER));
    assert_eq!(client.regenerate(&key).status, 200);
    fleet.assert_no_trap();
}

#[test]
fn a_clear_no_of_a_later_attempt_is_the_answer() {
    let (fleet, store) = start(FleetOptions::default(), honest(USER));
    let client = fleet.client();
    for (status, body, expected) in [
        (
            200,
            json!({"outcome": "rate_limited", "retry_after": 60}),
            (429, "rate_limited"),
        ),
        (
            200,
            json!({"outcome": "revoked", "revision": 3}),
            (401, "api_key_revoked"),
        ),
        (404, error("unknown_key"), (401, "invalid_api_key")),
    ] {
        let key = fleet.user().api_key;
        store.follow(rotate_by(move |asked| match asked.attempt() {
            1 => Act::Keep(Then::Close),
            _ => Act::Send(marked(status, &body), Then::Live),
        }));
        let (status, code) = expected;
        assert_eq!(client.regenerate(&key).outcome(), (status, code.to_owned()));
    }
    fleet.assert_no_trap();
}

/// S11: a key that is not this gateway's own is a key that nobody has.
#[test]
fn another_new_key_than_ours_is_never_shown_as_ours() {
    let (fleet, store) = start(FleetOptions::default(), honest(USER));
    let key = fleet.user().api_key;
    store.follow(rotate_by(|asked| {
        let mut good = rotated(asked, USER);
        good["new_digest"] = "00".repeat(32).into();
        Act::Send(marked(200, &good), Then::Live)
    }));
    assert_unconfirmed("another digest", &fleet.client().regenerate(&key));
    assert_eq!(fleet.client().get(SCRAPE, &key).status, 401);
    fleet.assert_no_trap();
}
