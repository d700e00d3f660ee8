//! A form whose browser has gone before the database got to it changes nothing,
//! and is as good as before.

use super::regenerate::{is_state, shown};
use crate::dashboard::person::Form;
use crate::dashboard::{
    CHANGE, NEW_KEY, PASSWORD, REGENERATE, SECURITY, add_user, logged_in, start,
};
use crate::process::Home;
use crate::rotation::unwanted::{Busy, await_left, await_waiting, leave};

#[test]
fn a_key_that_nobody_waits_for_is_not_made_and_the_form_works_again() {
    let home = Home::new();
    let store = start(&home);
    let user = add_user(&store, "ann");
    let ann = logged_in(&store, "ann");
    let form = ann.regeneration();
    let post = |form: &Form| ann.begin("POST", &form.action, &ann.headers("POST"), &form.body());
    let busy = Busy::begin(&home);
    // A second click, too: both of them go.
    let calls = [post(&form), post(&form)];
    await_waiting(&store, 1);
    calls.into_iter().for_each(leave);
    busy.end();
    await_waiting(&store, 0);
    is_state(&store, &user.digest, "active");
    let first = shown(&ann.submit(&form));
    // The same after Revoke now.
    assert_eq!(ann.submit(&ann.revocation()).status, 200);
    is_state(&store, &first, "revoked");
    let form = ann.new_key();
    assert_eq!(form.action, NEW_KEY);
    let busy = Busy::begin(&home);
    let call = post(&form);
    await_waiting(&store, 1);
    leave(call);
    busy.end();
    await_waiting(&store, 0);
    assert_eq!(
        home.count("SELECT count(*) FROM keys WHERE state = 'active'"),
        0
    );
    is_state(&store, &shown(&ann.submit(&form)), "active");
}

#[test]
fn who_is_still_there_gets_the_key_that_waited() {
    let home = Home::new();
    let store = start(&home);
    let user = add_user(&store, "ann");
    let ann = logged_in(&store, "ann");
    let form = ann.regeneration();
    let headers = ann.headers("POST");
    let busy = Busy::begin(&home);
    let first = ann.begin("POST", REGENERATE, &headers, &form.body());
    await_waiting(&store, 1);
    let second = ann.begin("POST", REGENERATE, &headers, &form.body());
    leave(first);
    busy.end();
    let key = shown(&crate::dashboard::person::answer(second));
    is_state(&store, &key, "active");
    is_state(&store, &user.digest, "revoked");
}

#[test]
fn a_password_is_not_changed_for_a_browser_that_has_gone() {
    let home = Home::new();
    let store = start(&home);
    add_user(&store, "ann");
    let ann = logged_in(&store, "ann");
    let new = "another horse battery";
    let form = ann.get(SECURITY).form(CHANGE);
    let form = form.with("current_password", PASSWORD);
    let form = form.with("new_password", new).with("repeat_password", new);
    let busy = Busy::begin(&home);
    let call = ann.begin("POST", CHANGE, &ann.headers("POST"), &form.body());
    await_waiting(&store, 1);
    leave(call);
    await_left(&store, 1);
    busy.end();
    await_waiting(&store, 0);
    assert_eq!(ann.get(SECURITY).status, 200, "still logged in");
    logged_in(&store, "ann");
}
