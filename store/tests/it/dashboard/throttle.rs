//! How often a password may be tried, by account and by address.

use std::time::{Duration, Instant};

use super::person::Person;
use super::{
    CHANGE, PASSWORD, SECURITY, add_user, counter, events, hashes, logged_in, start,
    start_behind_a_proxy, state,
};
use crate::process::{Answer, Home, Store};

fn from(store: &Store, number: u32) -> Person {
    Person::at(store).from(&format!("192.0.2.{number}"))
}

/// Says so, and when again.
fn is_throttled(answer: &Answer, most: u64) {
    assert_eq!(answer.status, 429, "{answer:?}");
    assert!(answer.error().starts_with("Too many tries."));
    let seconds = answer.header("retry-after").unwrap();
    let seconds: u64 = seconds.parse().unwrap();
    assert!((1..=most).contains(&seconds), "{seconds}");
}

#[test]
fn an_account_has_ten_tries_from_wherever_and_whether_it_exists_or_not() {
    let home = Home::new();
    let store = start_behind_a_proxy(&home);
    add_user(&store, "ann");
    for typed in ["ann@example.com", "nobody@example.com"] {
        let before = hashes(&store);
        for number in 0..10 {
            let tried = from(&store, number).log_in(typed, "some other password");
            assert_eq!(tried.status, 403);
        }
        assert_eq!(hashes(&store), before + 10);
        // The right one too, and in whatever case.
        for typed in [typed.to_owned(), typed.to_uppercase()] {
            let answer = from(&store, 11).log_in(&typed, PASSWORD);
            is_throttled(&answer, 60);
            assert!(answer.text.contains(&typed), "to be tried again");
        }
        assert_eq!(hashes(&store), before + 10, "nothing is evaluated");
    }
    assert_eq!(home.count("SELECT count(*) FROM sessions"), 0);
    let throttled = "rekey_store_logins_total{outcome=\"throttled\"}";
    assert_eq!(counter(&store, throttled), 4);
}

#[test]
fn an_address_has_thirty_tries_over_all_accounts() {
    let home = Home::new();
    let store = start_behind_a_proxy(&home);
    add_user(&store, "ann");
    let began = Instant::now();
    let mut tries = 0;
    let throttled = loop {
        let typed = format!("{tries}@example.com");
        let answer = from(&store, 1).log_in(&typed, PASSWORD);
        if answer.status != 403 {
            break answer;
        }
        tries += 1;
        // Ten seconds give another one.
        assert!(tries <= 30 + began.elapsed().as_secs() / 10, "{tries}");
    };
    assert!(tries >= 30, "{tries}");
    is_throttled(&throttled, 10);
    let elsewhere = from(&store, 2).log_in("ann@example.com", PASSWORD);
    assert_eq!(elsewhere.status, 303);
}

#[test]
fn strangers_cannot_lock_out_who_comes_from_a_known_address() {
    let home = Home::new();
    let store = start_behind_a_proxy(&home);
    add_user(&store, "ann");
    let log_in = |number, password| from(&store, number).log_in("ann@example.com", password);
    assert_eq!(log_in(1, PASSWORD).status, 303);
    for number in 2..11 {
        assert_eq!(log_in(number, "some other password").status, 403);
    }
    is_throttled(&log_in(12, PASSWORD), 60);
    assert_eq!(log_in(1, PASSWORD).status, 303);
    // Who is at home has a number of tries, too.
    for _ in 0..9 {
        assert_eq!(log_in(1, "some other password").status, 403);
    }
    is_throttled(&log_in(1, PASSWORD), 60);
}

#[test]
fn without_trusted_proxies_nobody_names_an_address() {
    let home = Home::new();
    let store = start(&home);
    add_user(&store, "ann");
    for number in 0..10 {
        let answer = from(&store, number).log_in("ann@example.com", PASSWORD);
        assert_eq!(answer.status, 303);
    }
    let events = events(&store, "ann", "login");
    assert!(
        events
            .iter()
            .all(|event| event["client_address"] == "127.0.0.1"),
        "{events:?}"
    );
    // All of them were one address, which is known since the first.
    assert_eq!(
        from(&store, 20).log_in("ann@example.com", PASSWORD).status,
        303
    );
    is_throttled(&from(&store, 21).log_in("ann@example.com", PASSWORD), 60);
}

#[test]
fn at_an_open_browser_the_password_cannot_be_tried_without_end() {
    let home = Home::new();
    let store = start(&home);
    add_user(&store, "ann");
    let ann = logged_in(&store, "ann");
    let form = ann.get(SECURITY).form(CHANGE);
    let form = form.with("new_password", "another good password");
    let form = form.with("repeat_password", "another good password");
    let wrong = form.clone().with("current_password", "some other password");
    for _ in 0..10 {
        assert_eq!(ann.submit(&wrong).status, 403);
    }
    let before = (hashes(&store), state(&home));
    let right = form.with("current_password", PASSWORD);
    is_throttled(&ann.submit(&right), 60);
    assert_eq!((hashes(&store), state(&home)), before);
}

#[test]
fn a_restart_forgives() {
    let home = Home::new();
    let store = start(&home);
    add_user(&store, "ann");
    for _ in 0..11 {
        Person::at(&store).log_in("ann@example.com", "some other password");
    }
    let refused = Person::at(&store).log_in("ann@example.com", PASSWORD);
    is_throttled(&refused, 60);
    assert_eq!(store.stop(), Some(0));
    let store = start(&home);
    let began = Instant::now();
    logged_in(&store, "ann");
    assert!(began.elapsed() < Duration::from_secs(30));
}
