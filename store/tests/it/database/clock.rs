//! A system's clock that is wrong: what is told follows it, the rate limit does not,
//! and no start fails of it (S8, S12).

use std::path::PathBuf;
use std::process::Command;

use rekey_protocol::Digest;
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::gateways::feed::Gateway;
use crate::process::{Home, Store, User, fresh_digest, rotation};

/// Its clock can be set wrong.
const PROGRAM: &str = env!("CARGO_BIN_EXE_rekey-store-crash-points");
const YEAR_MS: i64 = 365 * 24 * 3600 * 1000;
const YEAR_S: i64 = YEAR_MS / 1000;
/// What JSON can say.
const MOST: i64 = 1 << 53;

struct Wrong {
    home: Home,
    by: PathBuf,
}

impl Wrong {
    fn new() -> Self {
        let home = Home::new();
        let by = home.path("clock");
        let wrong = Self { home, by };
        wrong.set(0);
        wrong
    }

    /// Sets the clock wrong by so many milliseconds.
    fn set(&self, millis: i64) {
        // Whole or not at all: the store reads it at any moment.
        let next = self.home.path("clock.next");
        std::fs::write(&next, millis.to_string()).unwrap();
        std::fs::rename(next, &self.by).unwrap();
    }

    fn serve(&self) -> Command {
        let mut serve = self.home.serve_by(PROGRAM, "", "");
        serve.env("REKEY_STORE_CLOCK", &self.by);
        serve
    }

    fn start(&self) -> Store {
        self.home.start_as(&mut self.serve())
    }

    fn revision(&self) -> i64 {
        self.home.count("SELECT revision FROM meta")
    }
}

/// Seconds since 1970 of a time as it is told.
fn seconds(told: &Value) -> i64 {
    let told: jiff::Timestamp = told.as_str().unwrap().parse().unwrap();
    told.as_second()
}

/// A user, and when it was made by what the store tells.
fn added(store: &Store, id: &str) -> (User, i64) {
    let body = json!({ "email": format!("{id}@example.com"), "user_id": id });
    let answer = store.admin("POST", "/v1/users", Some(&body.to_string()));
    assert_eq!(answer.status, 201, "{answer:?}");
    let answer = answer.json();
    let key = answer["api_key"].as_str().unwrap().to_owned();
    let digest = Digest::of(key.as_bytes());
    (User { key, digest }, seconds(&answer["created_at"]))
}

/// Rotates; returns the new key and when that was by what the store tells.
fn rotated(store: &Store, key: &Digest) -> (Digest, i64) {
    let next = fresh_digest();
    let answer = store.rotate(&rotation(key, &next)).json();
    assert_eq!(answer["outcome"], "rotated", "{answer}");
    (next, seconds(&answer["created_at"]))
}

fn is_limited(store: &Store, key: &Digest) {
    let answer = store.rotate(&rotation(key, &fresh_digest())).json();
    assert_eq!(answer["outcome"], "rate_limited", "{answer}");
    let after = answer["retry_after"].as_i64().unwrap();
    assert!((1..=3600).contains(&after), "{after}");
}

fn ahead(store: &Store) -> i64 {
    store.metric("limit_clock_ahead_seconds").unwrap()
}

/// All times of a user's audit log.
fn audit(store: &Store, user: &str) -> Vec<i64> {
    let page = store.admin("GET", &format!("/v1/audit?user={user}"), None);
    let page = page.json();
    let events = page["events"].as_array().unwrap();
    events.iter().map(|event| seconds(&event["at"])).collect()
}

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

fn is_about(told: i64, time: i64) {
    assert!((told - time).abs() < 120, "{told} {time}");
}

#[test]
fn s12_a_clock_that_is_ahead_for_a_moment_is_told_for_a_moment() {
    let wrong = Wrong::new();
    let store = wrong.start();
    let (ann, at) = added(&store, "ann");
    is_about(at, now());
    let (ann, at) = rotated(&store, &ann.digest);
    is_about(at, now());
    wrong.set(10 * YEAR_MS);
    // As wrong as the clock, and no key of an hour's before its time.
    is_limited(&store, &ann);
    let (_, at) = added(&store, "bob");
    is_about(at, now() + 10 * YEAR_S);
    is_about(ahead(&store), -10 * YEAR_S);
    wrong.set(0);
    let (_, at) = added(&store, "cid");
    is_about(at, now());
    is_limited(&store, &ann);
    is_about(ahead(&store), 0);
    assert!(
        wrong.home.log().contains("clock was set"),
        "{}",
        wrong.home.log()
    );
    assert_eq!(store.stop(), Some(0));

    let store = wrong.start();
    let (dan, at) = added(&store, "dan");
    is_about(at, now());
    let (_, at) = rotated(&store, &dan.digest);
    is_about(at, now());
    is_limited(&store, &ann);
    for at in audit(&store, "dan") {
        is_about(at, now());
    }
    let users = store.admin("GET", "/v1/users", None).json();
    for user in users["users"].as_array().unwrap() {
        let is_bob = user["user_id"] == "bob";
        let time = now() + i64::from(is_bob) * 10 * YEAR_S;
        is_about(seconds(&user["created_at"]), time);
    }
}

#[test]
fn s12_a_clock_that_is_ahead_at_a_start_only_does_not_stay_ahead() {
    let wrong = Wrong::new();
    let store = wrong.start();
    let (ann, _) = added(&store, "ann");
    let (ann, _) = rotated(&store, &ann.digest);
    assert_eq!(store.stop(), Some(0));
    let before = wrong.revision();
    wrong.set(10 * YEAR_MS);
    let store = wrong.start();
    let (bob, _) = added(&store, "bob");
    let (bob, _) = rotated(&store, &bob.digest);
    is_limited(&store, &bob);
    // Believed within bounds: the hour is over, the decade is not.
    let (ann, at) = rotated(&store, &ann);
    is_about(at, now() + 10 * YEAR_S);
    assert!(wrong.revision() < before + 100, "S8: nor do revisions leap");
    assert_eq!(store.stop(), Some(0));
    wrong.set(0);
    for name in ["cid", "dan"] {
        let store = wrong.start();
        let (user, at) = added(&store, name);
        is_about(at, now());
        let (_, at) = rotated(&store, &user.digest);
        is_about(at, now());
        is_limited(&store, &ann);
        is_limited(&store, &bob);
        is_about(ahead(&store), 8 * 24 * 3600);
        assert_eq!(store.stop(), Some(0));
    }
    let log = wrong.home.log();
    assert!(log.contains("behind the last change on record"), "{log}");
    assert!(log.contains("is not believed"), "{log}");
}

#[test]
fn s11_a_start_whose_clock_is_ahead_forgets_no_rotation_that_is_asked_about() {
    let wrong = Wrong::new();
    let store = wrong.start();
    let (ann, _) = added(&store, "ann");
    let request = rotation(&ann.digest, &fresh_digest());
    let first = store.rotate(&request).json();
    assert_eq!(store.stop(), Some(0));
    wrong.set(YEAR_MS);
    let store = wrong.start();
    // In whose transaction what is over is deleted.
    added(&store, "bob");
    let again = store.rotate(&crate::process::again(&request)).json();
    assert_eq!(again, first);
}

#[test]
fn s12_a_clock_that_was_set_back_by_a_year_lets_nobody_wait_longer_or_less() {
    let wrong = Wrong::new();
    let store = wrong.start();
    let (ann, _) = added(&store, "ann");
    let (ann, _) = rotated(&store, &ann.digest);
    wrong.set(-YEAR_MS);
    is_limited(&store, &ann);
    let (bob, at) = added(&store, "bob");
    is_about(at, now() - YEAR_S);
    let (bob, at) = rotated(&store, &bob.digest);
    is_about(at, now() - YEAR_S);
    assert_eq!(store.stop(), Some(0));
    let store = wrong.start();
    is_limited(&store, &ann);
    is_limited(&store, &bob);
    is_about(ahead(&store), YEAR_S);
    // An answer again is what it was.
    let (cid, _) = added(&store, "cid");
    let request = rotation(&cid.digest, &fresh_digest());
    let first = store.rotate(&request).json();
    wrong.set(0);
    let again = store.rotate(&crate::process::again(&request)).json();
    assert_eq!(first["created_at"], again["created_at"]);
    is_about(seconds(&again["created_at"]), now() - YEAR_S);
}

#[test]
fn s8_a_clock_of_the_year_9999_breaks_no_start_and_no_number() {
    for year in [2250, 9999, 30_000] {
        let wrong = Wrong::new();
        let millis = (year - 2026) * YEAR_MS;
        wrong.set(millis);
        let store = wrong.start();
        let (ann, _) = added(&store, "ann");
        rotated(&store, &ann.digest);
        Gateway::new(100).follow(&store);
        assert!(wrong.revision() < MOST / 2, "{year}");
        assert_eq!(store.stop(), Some(0));
        wrong.set(0);
        let store = wrong.start();
        let (bob, at) = added(&store, "bob");
        is_about(at, now());
        rotated(&store, &bob.digest);
        Gateway::new(100).follow(&store);
        assert!(wrong.revision() < MOST / 2, "{year}");
    }
}

#[test]
fn s12_a_database_that_an_earlier_version_left_in_the_future_tells_the_present() {
    let wrong = Wrong::new();
    let old = Connection::open(wrong.home.database()).unwrap();
    old.execute_batch(include_str!("schema_v1.sql")).unwrap();
    let future = (now() + 10 * YEAR_S) * 1000;
    old.execute("UPDATE meta SET time_ms = ?1", [future])
        .unwrap();
    let rotated_then = "UPDATE users SET last_rotated_ms = ?1";
    old.execute(rotated_then, [future - 1_000]).unwrap();
    drop(old);
    let store = wrong.start();
    let (bob, at) = added(&store, "bob");
    is_about(at, now());
    let (_, at) = rotated(&store, &bob.digest);
    is_about(at, now());
    // Who rotated a second before still waits, and no longer than the hour.
    is_limited(&store, &Digest::from_bytes([1; 32]));
    is_about(ahead(&store), 10 * YEAR_S);
}
