//! I6: nothing that a browser knows or that was typed is in a log line, at any
//! level, or in a file that the store writes.

use crate::dashboard::person::Person;
use crate::dashboard::{
    CHANGE, NEW_KEY, PASSWORD, PROFILE, SECURITY, add_user, email, events, logged_in, serve,
};
use crate::process::{Home, await_some, files, fresh_digest};

const WRONG: &str = "a wrong password";
const NEW: &str = "another good password";
const BY_OPERATOR: &str = "one of the operator's";
const TYPED: &str = "typo-or-password@example.com";

/// Does all that can be done, and returns what nobody else may know.
fn plant(home: &Home) -> Vec<String> {
    let store = home.start_as(serve(home).env("RUST_LOG", "trace"));
    add_user(&store, "ann");
    let stranger = Person::at(&store);
    let planted = fresh_digest().to_hex();
    stranger.plant(&stranger.cookie_of(&planted));
    stranger.log_in(TYPED, WRONG);
    stranger.log_in(&email("ann"), WRONG);
    let ann = logged_in(&store, "ann");
    let mut secrets = vec![planted, ann.token()];
    let form = ann.regeneration();
    secrets.push(form.field("csrf").to_owned());
    let key = |page: &crate::process::Answer| page.element("api-key").unwrap().to_owned();
    secrets.push(key(&ann.submit(&form)));
    let page = ann.submit(&ann.revocation());
    secrets.push(key(&ann.submit(&page.form(NEW_KEY))));
    let form = ann.get(SECURITY).form(CHANGE);
    let form = form.with("new_password", NEW).with("repeat_password", NEW);
    ann.submit(&form.clone().with("current_password", WRONG));
    assert_eq!(
        ann.submit(&form.with("current_password", PASSWORD)).status,
        303
    );
    secrets.push(ann.token());
    // Where it does not belong.
    let query = format!("{PROFILE}?{}", secrets.join("&"));
    assert_eq!(ann.get(&query).status, 200);
    assert_eq!(ann.get(&format!("/{}", secrets.join("/"))).status, 404);
    ann.submit(&ann.get(PROFILE).form("/logout"));
    let arguments = ["users", "set-password", "--user", "ann", "--password-stdin"];
    let output = store.cli_with(&arguments, BY_OPERATOR);
    assert!(output.status.success() && !format!("{output:?}").contains(BY_OPERATOR));
    await_some(|| Some(()).filter(|()| !events(&store, "ann", "login_refused").is_empty()));
    // While it runs, with what is still in the write-ahead log.
    check(home, &secrets);
    assert_eq!(store.stop(), Some(0));
    secrets
}

fn check(home: &Home, secrets: &[String]) {
    let typed = [PASSWORD, WRONG, NEW, BY_OPERATOR, TYPED];
    for (path, bytes) in files(&home.path("")) {
        for secret in secrets.iter().map(String::as_str).chain(typed) {
            let found = bytes
                .windows(secret.len())
                .any(|window| window == secret.as_bytes());
            assert!(!found, "{} holds {secret}", path.display());
        }
    }
}

#[test]
fn i6_nothing_that_a_browser_knows_is_logged_or_written() {
    let home = Home::new();
    let secrets = plant(&home);
    assert_eq!(secrets.len(), 6);
    check(&home, &secrets);
    // The log was on, and finely.
    let log = home.log();
    for line in [
        "log-in refused",
        "logged in",
        "key made",
        "password changed",
    ] {
        assert!(log.contains(line), "{line}: {log}");
    }
    assert!(log.contains("DEBUG rekey_store"), "{log}");
}
