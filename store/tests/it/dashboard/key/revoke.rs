//! "Revoke now", and the new key after it.

use super::regenerate::{
    conflicts, is_limited, is_outdated, is_state, quick, rotate_and_wait, shown, waits_an_hour,
};
use crate::dashboard::person::{Form, Person};
use crate::dashboard::{
    NEW_KEY, PROFILE, REGENERATE, REVOKE, add_user, events, forged, fresh_ticket, leads_to,
    logged_in, start, start_behind_a_proxy, state,
};
use crate::process::{Answer, Home, Store, fresh_digest, rotation};

const NOT_BY_YOU: &str = "Your key was revoked by whoever runs this API.";
const REVOKED: &str = "SELECT count(*) FROM audit WHERE action = 'revoked'";

/// The page after it.
fn revoke(person: &Person, form: &Form) -> Answer {
    let answer = person.submit(form);
    assert_eq!(answer.status, 200, "{answer:?}");
    let notice = "Your API key is revoked. No gateway accepts it any more.";
    assert_eq!(answer.element("notice"), Some(notice));
    answer
}

fn by_operator(store: &Store, id: &str) {
    let body = format!(r#"{{"user_id":"{id}"}}"#);
    let answer = store.admin("POST", "/v1/keys/revoke", Some(&body));
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[test]
fn the_key_is_dead_at_once_and_the_next_one_is_a_form_away() {
    let home = Home::new();
    let store = start_behind_a_proxy(&home);
    let user = add_user(&store, "ann");
    let ann = logged_in(&store, "ann").from("192.0.2.9");
    let page = revoke(&ann, &ann.revocation());
    is_state(&store, &user.digest, "revoked");
    let profile = ann.get(PROFILE);
    assert!(profile.text.contains("You have no active API key."));
    assert!(profile.offers(NEW_KEY));

    let form = page.form(NEW_KEY);
    let answer = ann.submit(&form);
    let new = shown(&answer);
    assert_eq!(store.resolve(&new).json()["user"], "ann");
    is_state(&store, &user.digest, "revoked");
    for (action, ticket) in [("revoked", None), ("issued", Some(form.field("ticket")))] {
        let told = events(&store, "ann", action);
        assert_eq!(told.len(), 1, "{action}");
        assert_eq!(told[0]["source"], "dashboard");
        assert_eq!(told[0]["client_address"], "192.0.2.9");
        assert_eq!(told[0]["rotation_id"].as_str(), ticket);
    }
    // Once; and a page from before it says why.
    let before = state(&home);
    conflicts(&ann.submit(&form), "This form was used already.");
    let other = form.with("ticket", &fresh_ticket());
    conflicts(&ann.submit(&other), "You have an active API key already.");
    assert_eq!(state(&home), before);
}

#[test]
fn i5_a_new_key_begins_the_hour() {
    let home = Home::new();
    let store = start(&home);
    add_user(&store, "ann");
    let ann = logged_in(&store, "ann");
    let page = revoke(&ann, &ann.revocation());
    let new = shown(&ann.submit(&page.form(NEW_KEY)));
    is_limited(&ann.get(REGENERATE));
    is_limited(&ann.submit(&forged(&ann, REGENERATE)));
    let answer = store.rotate(&rotation(&new, &fresh_digest())).json();
    assert_eq!(answer["outcome"], "rate_limited");
    is_state(&store, &new, "active");
}

#[test]
fn to_revoke_again_changes_nothing() {
    let home = Home::new();
    let store = start(&home);
    add_user(&store, "ann");
    let ann = logged_in(&store, "ann");
    let form = ann.revocation();
    revoke(&ann, &form);
    let before = state(&home);
    assert!(revoke(&ann, &form).offers(NEW_KEY));
    let answer = ann.get(REVOKE);
    leads_to(&answer, PROFILE);
    assert_eq!(state(&home), before);
    assert_eq!(home.count(REVOKED), 1);
}

#[test]
fn a_page_of_an_earlier_key_does_not_revoke_the_present_one() {
    let home = Home::new();
    let store = quick(&home);
    let user = add_user(&store, "ann");
    let ann = logged_in(&store, "ann");
    let stale = ann.revocation();
    let present = rotate_and_wait(&store, &user.digest);
    let before = state(&home);
    is_outdated(&ann.submit(&stale));
    assert_eq!(state(&home), before);
    is_state(&store, &present, "active");
    revoke(&ann, &ann.revocation());
    is_state(&store, &present, "revoked");
}

#[test]
fn five_keys_a_day_are_made_at_once_and_revoking_is_never_limited() {
    let home = Home::new();
    let store = start(&home);
    add_user(&store, "ann");
    let ann = logged_in(&store, "ann");
    for _ in 0..5 {
        let page = revoke(&ann, &ann.revocation());
        is_state(&store, &shown(&ann.submit(&page.form(NEW_KEY))), "active");
    }
    let page = revoke(&ann, &ann.revocation());
    assert!(!page.offers(NEW_KEY) && !ann.get(PROFILE).offers(NEW_KEY));
    let before = state(&home);
    let sixth = ann.submit(&forged(&ann, NEW_KEY));
    assert_eq!(sixth.status, 429, "{sixth:?}");
    assert!(sixth.error().starts_with("No new key can be made at once"));
    waits_an_hour(&sixth);
    assert_eq!(state(&home), before);
    assert_eq!(home.count(REVOKED), 6);
    // When the hour is over there is another one.
    let hour = "UPDATE users SET last_rotated_ms = last_rotated_ms - 3600000";
    home.sql().execute(hour, []).unwrap();
    shown(&ann.submit(&ann.new_key()));
    // And a day later five of them.
    revoke(&ann, &ann.revocation());
    assert!(!ann.get(PROFILE).offers(NEW_KEY));
    home.sql()
        .execute_batch(
            "DROP TRIGGER audit_is_never_changed;
             UPDATE audit SET at_ms = at_ms - 86400000,
                 limit_ms = coalesce(limit_ms, at_ms) - 86400000 WHERE action = 'issued';",
        )
        .unwrap();
    shown(&ann.submit(&ann.new_key()));
}

#[test]
fn whom_the_operator_has_locked_out_stays_out() {
    let home = Home::new();
    let store = start(&home);
    let user = add_user(&store, "ann");
    let ann = logged_in(&store, "ann");
    let stale = ann.revocation();
    by_operator(&store, "ann");
    is_state(&store, &user.digest, "revoked");
    let before = state(&home);
    let page = revoke(&ann, &stale);
    for page in [page, ann.get(PROFILE)] {
        assert!(page.text.contains(NOT_BY_YOU), "{page:?}");
        assert!(!page.offers(NEW_KEY));
    }
    conflicts(&ann.submit(&forged(&ann, NEW_KEY)), NOT_BY_YOU);
    assert_eq!(state(&home), before);

    // The operator's next key is revoked by its user: that is another matter.
    let issue = ["keys", "issue", "--user", "ann"];
    assert!(store.cli(&issue).status.success());
    let page = revoke(&ann, &ann.revocation());
    let form = page.form(NEW_KEY);
    shown(&ann.submit(&form));
    by_operator(&store, "ann");
    let form = form.with("ticket", &fresh_ticket());
    conflicts(&ann.submit(&form), NOT_BY_YOU);
}

#[test]
fn the_operator_locks_out_who_has_just_revoked_the_own_key_too() {
    let home = Home::new();
    let store = start(&home);
    add_user(&store, "ann");
    let ann = logged_in(&store, "ann");
    let form = revoke(&ann, &ann.revocation()).form(NEW_KEY);
    by_operator(&store, "ann");
    conflicts(&ann.submit(&form), NOT_BY_YOU);
    assert!(!ann.get(PROFILE).offers(NEW_KEY));
}

#[test]
fn who_has_a_key_gets_no_second_one() {
    let home = Home::new();
    let store = start(&home);
    let user = add_user(&store, "ann");
    let ann = logged_in(&store, "ann");
    let before = state(&home);
    let answer = ann.submit(&forged(&ann, NEW_KEY));
    conflicts(&answer, "You have an active API key already.");
    // Nor by a used form of the other kind.
    let form = ann.regeneration();
    assert_eq!(state(&home), before);
    shown(&ann.submit(&form));
    revoke(&ann, &ann.revocation());
    let ticket = form.field("ticket");
    let answer = ann.submit(&ann.new_key().with("ticket", ticket));
    conflicts(&answer, "This form was used already.");
    is_state(&store, &user.digest, "revoked");
    assert_eq!(
        home.count("SELECT count(*) FROM keys WHERE state = 'active'"),
        0
    );
}
