//! S7: no page says that a key is dead before it is dead on every gateway; and
//! who leaves while it is not may come back for the new key.

use std::io::Read;
use std::net::Shutdown;
use std::time::{Duration, Instant};

use rekey_protocol::Digest;

use super::regenerate::{conflicts, is_state, shown};
use crate::dashboard::person::{Form, Person};
use crate::dashboard::{
    NEW_KEY, PROFILE, REGENERATE, REVOKE, SECURITY, add_user, logged_in, start,
};
use crate::gateways::feed::{EXPIRY, Gateway, LEASE};
use crate::process::{Answer, Home, Store, await_some, fresh_digest};

/// Sends the form, and sees that its answer comes when the gateway has
/// acknowledged what it did.
fn held_until_acknowledged(
    store: &Store,
    gateway: &mut Gateway,
    (person, form): (&Person, &Form),
) -> Answer {
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| person.submit(form));
        let before = gateway.cursor.clone();
        // Held until there is something to tell.
        gateway.follow(store);
        assert_ne!(gateway.cursor, before);
        // Time enough for an answer that waits for nothing.
        for _ in 0..5 {
            person.get(PROFILE);
        }
        assert!(!sending.is_finished(), "nobody has acknowledged yet");
        let acknowledging = scope.spawn(|| gateway.follow(store));
        let answer = sending.join().unwrap();
        // Wakes the poll that acknowledged.
        store.add_user(&fresh_digest().to_hex()[..12]);
        acknowledging.join().unwrap();
        answer
    })
}

#[test]
fn s7_every_answer_about_a_key_waits_for_the_gateways() {
    let home = Home::new();
    let store = start(&home);
    let user = add_user(&store, "ann");
    let ann = logged_in(&store, "ann");
    let mut gateway = Gateway::new(30_000);
    gateway.follow(&store);
    let mut sent = |form: &Form| held_until_acknowledged(&store, &mut gateway, (&ann, form));
    let first = shown(&sent(&ann.regeneration()));
    is_state(&store, &user.digest, "revoked");
    assert_eq!(sent(&ann.revocation()).status, 200);
    is_state(&store, &first, "revoked");
    let second = shown(&sent(&ann.new_key()));
    is_state(&store, &second, "active");
}

#[test]
fn s7_a_gateway_that_is_gone_costs_its_lease() {
    let home = Home::new();
    let store = start(&home);
    for id in ["ann", "bob", "eve"] {
        add_user(&store, id);
    }
    let [ann, bob, eve] = ["ann", "bob", "eve"].map(|id| logged_in(&store, id));
    let (regeneration, revocation, last) = (ann.regeneration(), bob.revocation(), eve.revocation());
    let polled = Instant::now();
    Gateway::new(LEASE).follow(&store);
    let waited = |answer: &Answer| {
        assert_eq!(answer.status, 200, "{answer:?}");
        let waited = polled.elapsed();
        assert!(waited >= EXPIRY - Duration::from_millis(50), "{waited:?}");
    };
    std::thread::scope(|scope| {
        scope.spawn(|| waited(&ann.submit(&regeneration)));
        scope.spawn(|| waited(&bob.submit(&revocation)));
        // Who gives that page up makes the next key meanwhile.
        scope.spawn(|| waited(&eve.submit(&last)));
        let count = "SELECT count(*) FROM audit WHERE action = 'revoked'";
        await_some(|| (home.count(count) == 2).then_some(()));
        let profile = eve.get(PROFILE);
        let told = "not all gateways have confirmed it yet";
        assert!(profile.text.contains(told), "{}", profile.text);
        waited(&eve.submit(&profile.form(NEW_KEY)));
    });
}

#[test]
fn a_key_is_not_shown_to_a_session_that_has_ended_while_its_page_waited() {
    let home = Home::new();
    let store = start(&home);
    let user = add_user(&store, "ann");
    let (ann, thief) = (logged_in(&store, "ann"), logged_in(&store, "ann"));
    let form = thief.regeneration();
    Gateway::new(LEASE).follow(&store);
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| thief.submit(&form));
        store.await_revoked(&user.digest);
        let everywhere = ann.get(SECURITY).form("/logout-everywhere");
        assert_eq!(ann.submit(&everywhere).status, 303);
        let answer = sending.join().unwrap();
        assert_eq!(answer.status, 403, "{answer:?}");
        assert!(answer.error().starts_with("You were logged out while"));
        assert!(answer.element("api-key").is_none());
    });
}

#[test]
fn a_key_that_was_revoked_while_its_page_waited_is_not_shown_as_good() {
    let home = Home::new();
    let store = start(&home);
    let user = add_user(&store, "ann");
    let ann = logged_in(&store, "ann");
    let form = ann.regeneration();
    Gateway::new(LEASE).follow(&store);
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| ann.submit(&form));
        store.await_revoked(&user.digest);
        store.admin("POST", "/v1/keys/revoke", Some(r#"{"user_id":"ann"}"#));
        conflicts(&sending.join().unwrap(), "The new key was made and revoked");
    });
}

/// Sends a form and leaves before the answer, as soon as it has done its work.
/// The store has noticed when this returns.
fn leave(store: &Store, (person, form): (&Person, &Form), (action, old): (&str, &Digest)) {
    let headers = person.headers("POST");
    let mut stream = person.begin("POST", action, &headers, &form.body());
    store.await_revoked(old);
    stream.shutdown(Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty(), "{:?}", String::from_utf8_lossy(&rest));
}

#[test]
fn i4_who_leaves_and_sends_the_form_again_gets_the_key() {
    let home = Home::new();
    let store = start(&home);
    let user = add_user(&store, "ann");
    let ann = logged_in(&store, "ann");
    let form = ann.regeneration();
    let mut gateway = Gateway::new(30_000);
    gateway.follow(&store);
    leave(&store, (&ann, &form), (REGENERATE, &user.digest));
    let answer = held_until_acknowledged(&store, &mut gateway, (&ann, &form));
    is_state(&store, &shown(&answer), "active");
    // Once, whoever comes later.
    conflicts(&ann.submit(&form), "This form was used already.");
    let rotated = "SELECT count(*) FROM audit WHERE action = 'rotated'";
    assert_eq!(home.count(rotated), 1);
}

#[test]
fn i4_a_key_that_was_ready_before_the_form_came_again_is_given_too() {
    let home = Home::new();
    let store = start(&home);
    let user = add_user(&store, "ann");
    let ann = logged_in(&store, "ann");
    let form = ann.regeneration();
    let mut gateway = Gateway::new(30_000);
    gateway.follow(&store);
    leave(&store, (&ann, &form), (REGENERATE, &user.digest));
    // The barrier opens, and nobody is there.
    gateway.follow(&store);
    std::thread::scope(|scope| {
        let acknowledging = scope.spawn(|| gateway.follow(&store));
        let opened = "barrier_duration_seconds_count";
        await_some(|| (store.metric(opened) == Some(1)).then_some(()));
        let key = shown(&ann.submit(&form));
        is_state(&store, &key, "active");
        store.add_user("bob");
        acknowledging.join().unwrap();
    });
    conflicts(&ann.submit(&form), "This form was used already.");
}

#[test]
fn who_leaves_after_revoke_now_has_revoked() {
    let home = Home::new();
    let store = start(&home);
    let user = add_user(&store, "ann");
    let ann = logged_in(&store, "ann");
    let form = ann.revocation();
    let mut gateway = Gateway::new(30_000);
    gateway.follow(&store);
    leave(&store, (&ann, &form), (REVOKE, &user.digest));
    // The second try changes nothing, and waits all the same (S7).
    let answer = held_until_acknowledged(&store, &mut gateway, (&ann, &form));
    assert!(answer.offers(NEW_KEY), "{answer:?}");
    let revoked = "SELECT count(*) FROM audit WHERE action = 'revoked'";
    assert_eq!(home.count(revoked), 1);
}
