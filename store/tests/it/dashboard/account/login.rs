//! Logging in and out: who gets in, what the browser is given, what a refusal
//! tells, and what the audit log has of it.

use std::net::TcpListener;

use rekey_protocol::Digest;
use serde_json::json;

use crate::dashboard::person::Person;
use crate::dashboard::{
    LOGIN, PASSWORD, PROFILE, SECURITY, add_user, email, events, hashes, leads_to, logged_in,
    start, start_behind_a_proxy,
};
use crate::process::{Answer, Home, Store, await_some};

const WRONG: &str = "E-mail or password is wrong.";

#[test]
fn the_right_password_opens_the_profile() {
    let home = Home::new();
    let store = start(&home);
    add_user(&store, "ann");
    let ann = Person::at(&store);
    for path in ["/", PROFILE, SECURITY, "/settings/profile/regenerate"] {
        let away = ann.get(path);
        assert_eq!(away.status, 303, "{path}");
    }
    assert_eq!(ann.get(PROFILE).header("location"), Some(LOGIN));
    let before = hashes(&store);
    let answer = ann.log_in("ann@example.com", PASSWORD);
    leads_to(&answer, PROFILE);
    assert_eq!(hashes(&store), before + 1);
    let cookie = answer.header("set-cookie").unwrap();
    let (name, rest) = cookie.split_once('=').unwrap();
    let (token, flags) = rest.split_once("; ").unwrap();
    assert_eq!(format!("{name}={token}"), ann.cookie_of(token));
    assert_eq!(flags, "HttpOnly; SameSite=Lax; Path=/");
    assert_eq!(token.len(), 64);
    let profile = ann.get(PROFILE);
    assert_eq!(profile.status, 200);
    assert!(profile.text.contains("ann@example.com"));
    // Who is logged in has nothing to do at the log-in.
    assert_eq!(ann.get(LOGIN).header("location"), Some(PROFILE));
    assert_eq!(store.metric("logins_total{outcome=\"ok\"}"), Some(1));
}

#[test]
fn an_address_works_in_any_case_and_with_spaces_around() {
    let home = Home::new();
    let store = start(&home);
    add_user(&store, "ann");
    for typed in ["ANN@example.com", "Ann@Example.COM", " ann@example.com "] {
        assert_eq!(Person::at(&store).log_in(typed, PASSWORD).status, 303);
    }
    // A password has its case.
    let typed = PASSWORD.to_uppercase();
    assert_eq!(
        Person::at(&store).log_in("ann@example.com", &typed).status,
        403
    );
}

/// Without what differs each time.
fn told(mut answer: Answer) -> Answer {
    answer.headers.retain(|(name, _)| name != "date");
    answer
}

#[test]
fn a_refusal_does_not_tell_whether_there_is_such_an_account() {
    let home = Home::new();
    let store = start(&home);
    let refused = |password: &str| {
        let before = hashes(&store);
        let answer = Person::at(&store).log_in("ann@example.com", password);
        assert_eq!((answer.status, answer.error()), (403, WRONG));
        assert_eq!(hashes(&store), before + 1, "one evaluation each");
        told(answer)
    };
    let unknown = refused("some other password");
    let unknown_and_empty = refused("");
    let body = json!({ "email": email("ann"), "user_id": "ann" });
    store.add(&body);
    let without_a_password = refused("some other password");
    let without_a_password_and_empty = refused("");
    let set = ["users", "set-password", "--user", "ann", "--password-stdin"];
    assert!(store.cli_with(&set, PASSWORD).status.success());
    let wrong = refused("some other password");
    let empty = refused("");
    for other in [
        unknown_and_empty,
        without_a_password,
        without_a_password_and_empty,
        wrong,
        empty,
    ] {
        assert_eq!(other, unknown);
    }
    let before = hashes(&store);
    let right = Person::at(&store).log_in("ann@example.com", PASSWORD);
    assert_eq!((right.status, hashes(&store)), (303, before + 1));
    assert_eq!(store.metric("logins_total{outcome=\"refused\"}"), Some(6));
}

#[test]
fn over_tls_the_cookie_is_bound_to_host_and_channel() {
    let home = Home::new();
    // Taken, and free again.
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let origin = "https://keys.example.com";
    let mut command = home.serve_with("--dashboard-listen", &address);
    command.args(["--dashboard-trusted-proxies", "0"]);
    let store = home.start_as(command.args(["--dashboard-origin", origin]));
    assert_eq!(store.dashboard_url.as_deref(), Some(origin));
    add_user(&store, "ann");
    let ann = Person::of(&address, origin);
    let answer = ann.log_in("ann@example.com", PASSWORD);
    let cookie = answer.header("set-cookie").unwrap();
    let (name, rest) = cookie.split_once('=').unwrap();
    assert_eq!(
        (name, rest.split_once("; ").unwrap().1),
        (
            "__Host-rekey_session",
            "HttpOnly; SameSite=Lax; Secure; Path=/"
        )
    );
    let strict = |answer: &Answer| {
        let told = answer.header("strict-transport-security").unwrap();
        assert!(told.starts_with("max-age=") && told.len() > 15, "{told}");
    };
    strict(&answer);
    strict(&ann.get(PROFILE));
    strict(&ann.get("/nowhere"));
    assert_eq!(ann.get(PROFILE).status, 200);
    // The name that plain text would use is none here.
    let ann_again = Person::of(&address, origin);
    ann_again.plant(&format!("rekey_session={}", ann.token()));
    assert_eq!(ann_again.get(PROFILE).status, 303);
    // It is not reached by the address that it listens on.
    let astray = Person::of(&address, &format!("http://{address}"));
    assert_eq!(astray.get(LOGIN).status, 421);
}

#[test]
fn a_log_out_ends_the_session_and_takes_the_cookie() {
    let home = Home::new();
    let store = start(&home);
    add_user(&store, "ann");
    let (here, there) = (logged_in(&store, "ann"), logged_in(&store, "ann"));
    let cookie = here.cookie();
    let answer = here.submit(&here.get(PROFILE).form("/logout"));
    leads_to(&answer, LOGIN);
    assert!(answer.header("clear-site-data").is_some());
    assert_eq!(here.cookie(), "");
    here.plant(&cookie);
    assert_eq!(here.get(PROFILE).status, 303);
    assert_eq!(there.get(PROFILE).status, 200);

    let third = logged_in(&store, "ann");
    let everywhere = there.get(SECURITY).form("/logout-everywhere");
    let answer = there.submit(&everywhere);
    leads_to(&answer, LOGIN);
    assert_eq!(third.get(PROFILE).status, 303);
    assert_eq!(home.count("SELECT count(*) FROM sessions"), 0);
    // A form from before does nothing, and says so.
    let late = third.submit(&everywhere);
    assert_eq!(late.status, 403);
    assert!(late.error().starts_with("You were logged out"));
    assert!(late.offers(LOGIN));
}

#[test]
fn the_audit_log_tells_of_every_log_in_and_out_and_from_where() {
    let home = Home::new();
    let store = start_behind_a_proxy(&home);
    add_user(&store, "ann");
    let from = |address: &str| Person::at(&store).from(address);
    let ann = from("192.0.2.1");
    ann.log_in("ann@example.com", PASSWORD);
    from("192.0.2.2").log_in("ann@example.com", "some other password");
    // What the client says itself stands before what the proxy saw.
    let liar = from("10.0.0.1, 192.0.2.3");
    liar.log_in("ann@example.com", PASSWORD);
    liar.submit(&liar.get(PROFILE).form("/logout"));
    ann.submit(&ann.get(SECURITY).form("/logout-everywhere"));
    let addresses = |store: &Store, action: &str| -> Vec<String> {
        let events = events(store, "ann", action);
        let address = |event: &serde_json::Value| {
            assert_eq!(event["source"], "dashboard");
            event["client_address"].as_str().unwrap().to_owned()
        };
        events.iter().map(address).collect()
    };
    // Nobody waits for that one.
    let refused = await_some(|| {
        Some(addresses(&store, "login_refused")).filter(|addresses| !addresses.is_empty())
    });
    assert_eq!(refused, ["192.0.2.2"]);
    assert_eq!(addresses(&store, "login"), ["192.0.2.1", "192.0.2.3"]);
    assert_eq!(addresses(&store, "logout"), ["192.0.2.3"]);
    assert_eq!(addresses(&store, "logout_everywhere"), ["192.0.2.1"]);
    // It is no change of a key: none of it has a revision of its own.
    let revisions = "SELECT count(DISTINCT revision) FROM audit";
    assert_eq!(home.count(revisions), 1);
}

#[test]
fn a_token_is_stored_as_its_digest_only() {
    let home = Home::new();
    let store = start(&home);
    add_user(&store, "ann");
    let ann = logged_in(&store, "ann");
    let digest: [u8; 32] = home
        .sql()
        .query_row("SELECT digest FROM sessions", [], |row| row.get(0))
        .unwrap();
    assert_eq!(
        Digest::from_bytes(digest),
        Digest::of(ann.token().as_bytes())
    );
}
