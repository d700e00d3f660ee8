//! How often a password may be tried, by account and by address.

use std::time::{Duration, Instant};

use crate::dashboard::person::Person;
use crate::dashboard::{
    CHANGE, PASSWORD, PROFILE, SECURITY, add_user, events, hashes, logged_in, start,
    start_behind_a_proxy, state,
};
use crate::process::await_some;
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
    let throttled = "logins_total{outcome=\"throttled\"}";
    assert_eq!(store.metric(throttled), Some(4));
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
fn strangers_cannot_lock_out_who_has_logged_in_in_this_browser() {
    let home = Home::new();
    let store = start_behind_a_proxy(&home);
    add_user(&store, "ann");
    let (ann, abroad) = (from(&store, 1), from(&store, 2));
    let log_in = |who: &Person, password| who.log_in("ann@example.com", password);
    assert_eq!(log_in(&ann, PASSWORD).status, 303);
    for number in 3..13 {
        let status = log_in(&from(&store, number), "some other password").status;
        assert!(matches!(status, 403 | 429), "{status}");
    }
    is_throttled(&log_in(&abroad, PASSWORD), 60);
    // Not by her network address: others are behind the same.
    is_throttled(&log_in(&from(&store, 1), PASSWORD), 60);
    assert_eq!(log_in(&ann, PASSWORD).status, 303);
    // She has a number of tries there, too; no others use them up, and a right
    // password gives no new ones.
    for _ in 0..8 {
        assert_eq!(log_in(&ann, "some other password").status, 403);
    }
    assert_eq!(log_in(&ann, PASSWORD).status, 303);
    is_throttled(&log_in(&ann, PASSWORD), 60);
}

#[test]
fn a_browser_is_known_for_its_own_user_until_all_are_logged_out() {
    let home = Home::new();
    let store = start_behind_a_proxy(&home);
    for id in ["ann", "bob"] {
        add_user(&store, id);
    }
    let browser = from(&store, 1);
    let log_in = |id: &str| browser.log_in(&format!("{id}@example.com"), PASSWORD);
    assert_eq!(log_in("ann").status, 303);
    for id in ["ann", "bob"] {
        for number in 2..13 {
            from(&store, number).log_in(&format!("{id}@example.com"), "some other password");
        }
    }
    is_throttled(&log_in("bob"), 60);
    assert_eq!(log_in("ann").status, 303);
    let form = browser.get(PROFILE).form("/logout");
    assert_eq!(browser.submit(&form).status, 303);
    assert_eq!(log_in("ann").status, 303, "still her browser");
    let everywhere = browser.get(SECURITY).form("/logout-everywhere");
    assert_eq!(browser.submit(&everywhere).status, 303);
    is_throttled(&log_in("ann"), 60);
}

#[test]
fn refused_tries_neither_fill_the_audit_log_nor_hide_what_happened() {
    let home = Home::new();
    let store = start_behind_a_proxy(&home);
    add_user(&store, "ann");
    let ann = from(&store, 1);
    assert_eq!(ann.log_in("ann@example.com", PASSWORD).status, 303);
    for number in 0..20 {
        let who = if number < 10 {
            &ann
        } else {
            &from(&store, number)
        };
        let answer = who.log_in("ann@example.com", "some other password");
        assert!(matches!(answer.status, 403 | 429));
    }
    await_some(|| (events(&store, "ann", "login_refused").len() == 10).then_some(()));
    let page = ann.get(PROFILE).text;
    let (first, rest) = page.split_once("Refused log-ins").unwrap();
    assert!(
        first.contains("Account created") && !first.contains("Log-in refused"),
        "{first}"
    );
    assert_eq!(rest.matches("Log-in refused: wrong password").count(), 5);
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
    // All of them were one address, whose tries are counted over all accounts.
    for number in 10..30 {
        let answer = from(&store, number).log_in(&format!("{number}@example.com"), PASSWORD);
        assert_eq!(answer.status, 403);
    }
    is_throttled(&from(&store, 30).log_in("eve@example.com", PASSWORD), 10);
}

#[test]
fn a_proxy_that_names_no_client_is_warned_of() {
    let home = Home::new();
    let store = start_behind_a_proxy(&home);
    add_user(&store, "ann");
    let through = Person::at(&store).from("unknown");
    assert_eq!(through.log_in("ann@example.com", PASSWORD).status, 303);
    assert_eq!(
        events(&store, "ann", "login")[0]["client_address"],
        "127.0.0.1"
    );
    let log = home.log();
    assert!(log.contains("--dashboard-trusted-proxies"), "{log}");
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
