//! How a session begins, lasts and ends.

use std::io::{Read, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rekey_protocol::Digest;

use crate::dashboard::person::{Person, answer};
use crate::dashboard::{LOGIN, PASSWORD, PROFILE, SECURITY, add_user, logged_in, serve, start};
use crate::process::{Home, await_some};

const SESSIONS: &str = "SELECT count(*) FROM sessions";

fn has_session(home: &Home, token: &str) -> bool {
    let digest = Digest::of(token.as_bytes());
    let sql = home.sql();
    let mut select = sql
        .prepare("SELECT 1 FROM sessions WHERE digest = ?1")
        .unwrap();
    select.exists([digest.as_bytes()]).unwrap()
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

#[test]
fn a_planted_cookie_does_not_become_a_session() {
    let home = Home::new();
    let store = start(&home);
    add_user(&store, "ann");
    let (ann, eve) = (Person::at(&store), Person::at(&store));
    let planted = ann.cookie_of(&"a".repeat(64));
    ann.plant(&planted);
    eve.plant(&planted);
    assert_eq!(ann.log_in("ann@example.com", PASSWORD).status, 303);
    assert_ne!(ann.cookie(), planted);
    assert_eq!(ann.get(PROFILE).status, 200);
    assert_eq!(eve.get(PROFILE).header("location"), Some(LOGIN));
    assert!(!has_session(&home, &"a".repeat(64)));
    // Two cookies of the name: what is nobody's session keeps nobody out.
    let own = ann.cookie();
    for both in [format!("{planted}; {own}"), format!("{own}; {planted}")] {
        ann.plant(&both);
        assert_eq!(ann.get(PROFILE).status, 200);
    }
}

#[test]
fn two_sessions_of_two_users_are_none_and_the_next_log_in_ends_both() {
    let home = Home::new();
    let store = start(&home);
    for id in ["ann", "mallory"] {
        add_user(&store, id);
    }
    let (ann, mallory) = (logged_in(&store, "ann"), logged_in(&store, "mallory"));
    let own = ann.cookie();
    for both in [
        format!("{own}; {}", mallory.cookie()),
        format!("{}; {own}", mallory.cookie()),
    ] {
        ann.plant(&both);
        // Nobody knows whose the page should be.
        assert_eq!(ann.get(PROFILE).header("location"), Some(LOGIN));
        assert_eq!(ann.get(LOGIN).status, 200);
    }
    assert_eq!(ann.log_in("ann@example.com", PASSWORD).status, 303);
    let planted = format!("{}; {}", mallory.cookie(), ann.cookie());
    ann.plant(&planted);
    assert!(ann.get(PROFILE).text.contains("ann@example.com"));
    assert_eq!(mallory.get(PROFILE).status, 303, "it has ended, too");
}

#[test]
fn each_log_in_is_a_new_session_and_ends_the_browsers_last_one() {
    let home = Home::new();
    let store = start(&home);
    add_user(&store, "ann");
    let ann = logged_in(&store, "ann");
    let elsewhere = logged_in(&store, "ann");
    let first = ann.token();
    assert_eq!(ann.log_in("ann@example.com", PASSWORD).status, 303);
    assert_ne!(ann.token(), first);
    assert!(has_session(&home, &ann.token()) && !has_session(&home, &first));
    assert_eq!(elsewhere.get(PROFILE).status, 200);
    // A try that fails ends nothing.
    assert_eq!(
        ann.log_in("ann@example.com", "some other password").status,
        403
    );
    assert_eq!(ann.get(PROFILE).status, 200);
    assert_eq!(home.count(SESSIONS), 2);
}

#[test]
fn a_session_that_is_not_used_ends() {
    let home = Home::new();
    let store = home.start_as(serve(&home).args(["--session-idle", "1s"]));
    add_user(&store, "ann");
    let ann = logged_in(&store, "ann");
    let form = crate::dashboard::person::Form::to("/logout").with("csrf", "");
    await_some(|| {
        let seen = home.count("SELECT seen_ms FROM sessions");
        (now_ms() > seen + 1000).then_some(())
    });
    assert_eq!(ann.get(PROFILE).header("location"), Some(LOGIN));
    let late = ann.submit(&form);
    assert_eq!(late.status, 403);
    assert!(late.error().starts_with("You were logged out"));
}

#[test]
fn use_keeps_a_session_alive() {
    let home = Home::new();
    let store = start(&home);
    add_user(&store, "ann");
    let ann = logged_in(&store, "ann");
    // As if it had last been used so many minutes ago.
    let idle_for = |minutes: i64| {
        let then = now_ms() - minutes * 60_000;
        let sql = home.sql();
        sql.execute("UPDATE sessions SET seen_ms = ?1", [then])
            .unwrap();
        then
    };
    for _ in 0..2 {
        let then = idle_for(29);
        assert_eq!(ann.get(PROFILE).status, 200);
        let seen = home.count("SELECT seen_ms FROM sessions");
        assert!(seen > then + 28 * 60_000, "its time begins anew");
    }
    idle_for(31);
    assert_eq!(ann.get(PROFILE).status, 303);
}

#[test]
fn no_use_keeps_a_session_alive_for_ever() {
    let home = Home::new();
    let store = home.start_as(serve(&home).args(["--session-max", "2s"]));
    add_user(&store, "ann");
    let ann = logged_in(&store, "ann");
    let created = home.count("SELECT created_ms FROM sessions");
    await_some(|| (ann.get(PROFILE).status == 303).then_some(()));
    assert!(now_ms() >= created + 2000);
}

#[test]
fn a_user_has_twenty_sessions_and_the_oldest_ends() {
    let home = Home::new();
    let store = start(&home);
    for id in ["ann", "bob"] {
        add_user(&store, id);
    }
    let (bob, oldest) = (logged_in(&store, "bob"), logged_in(&store, "ann"));
    let fill = "
        WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 19)
        INSERT INTO sessions SELECT randomblob(32), user_id, created_ms + 1, seen_ms
        FROM n, sessions WHERE user_id = 'ann'";
    assert_eq!(home.sql().execute(fill, []).unwrap(), 19);
    assert_eq!(oldest.get(PROFILE).status, 200);
    let newest = logged_in(&store, "ann");
    assert_eq!(oldest.get(PROFILE).status, 303);
    assert_eq!(newest.get(PROFILE).status, 200);
    assert_eq!(bob.get(PROFILE).status, 200, "another's are not touched");
    let of_ann = "SELECT count(*) FROM sessions WHERE user_id = 'ann'";
    assert_eq!(home.count(of_ann), 20);
}

#[test]
fn sessions_survive_a_restart_but_not_a_restored_backup() {
    let home = Home::new();
    let store = start(&home);
    add_user(&store, "ann");
    let ann = logged_in(&store, "ann");
    assert_eq!(store.stop(), Some(0));
    let backup = std::fs::read(home.database()).unwrap();
    let store = start(&home);
    let ann = ann.again_at(&store);
    assert_eq!(ann.get(PROFILE).status, 200);
    add_user(&store, "bob");
    assert_eq!(store.stop(), Some(0));

    std::fs::write(home.database(), backup).unwrap();
    let store = start(&home);
    let ann = ann.again_at(&store);
    let before = crate::dashboard::state(&home);
    let tried = ann.log_in("ann@example.com", PASSWORD);
    for answer in [ann.get("/"), ann.get(LOGIN), ann.get(PROFILE), tried] {
        assert_eq!(answer.status, 503, "S8: {answer:?}");
        assert!(answer.error().contains("waits for its operator"));
        assert!(answer.header("retry-after").is_some());
        assert_eq!(answer.header("x-frame-options"), Some("DENY"));
    }
    assert_eq!(crate::dashboard::state(&home), before);
    assert_eq!(store.stop(), Some(0));

    let store = home.start_as(serve(&home).arg("--accept-restore"));
    let ann = ann.again_at(&store);
    // It may have been ended in the history that is lost.
    assert_eq!(ann.get(PROFILE).status, 303);
    assert_eq!(home.count(SESSIONS), 0);
    assert_eq!(ann.log_in("ann@example.com", PASSWORD).status, 303);
    assert_eq!(ann.get(PROFILE).status, 200);
}

#[test]
fn sessions_that_are_over_are_deleted_some_day() {
    let home = Home::new();
    let store = start(&home);
    for id in ["ann", "bob"] {
        add_user(&store, id);
        logged_in(&store, id);
    }
    assert_eq!(store.stop(), Some(0));
    let aged = "UPDATE sessions SET created_ms = created_ms - ?1 WHERE user_id = 'ann'";
    let week = Duration::from_secs(7 * 24 * 3600).as_millis();
    home.sql()
        .execute(aged, [i64::try_from(week).unwrap()])
        .unwrap();
    // The first transaction of a life prunes.
    let store = start(&home);
    store.add_user("carol");
    assert_eq!(home.count(SESSIONS), 1);
}

/// A thief in a stolen session would keep such a request ready.
#[test]
fn a_request_that_was_begun_before_a_log_out_everywhere_does_nothing_after_it() {
    let home = Home::new();
    let store = start(&home);
    let user = add_user(&store, "ann");
    let (ann, thief) = (logged_in(&store, "ann"), logged_in(&store, "ann"));
    let begun = [thief.regeneration(), thief.revocation()].map(|form| {
        let body = form.body();
        let mut headers = thief.headers("POST");
        headers.push(("content-length", body.len().to_string()));
        headers.push(("expect", "100-continue".to_owned()));
        let mut stream = thief.begin("POST", &form.action, &headers, "");
        // It has looked who this is, and wants the form.
        let mut go = [0; 25];
        stream.read_exact(&mut go).unwrap();
        assert!(go.starts_with(b"HTTP/1.1 100 "));
        (stream, body)
    });
    let everywhere = ann.get(SECURITY).form("/logout-everywhere");
    assert_eq!(ann.submit(&everywhere).status, 303);
    for (mut stream, body) in begun {
        stream.write_all(body.as_bytes()).unwrap();
        let answer = answer(stream);
        assert_eq!(answer.status, 403, "{answer:?}");
        assert!(answer.error().contains("You were logged out"));
        assert!(answer.element("api-key").is_none());
    }
    assert_eq!(store.resolve(&user.digest).json()["state"], "active");
}
