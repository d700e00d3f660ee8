//! A fleet with its dashboard, the people who log in there, and what is seen of
//! their keys from outside.

use std::io::Write;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};

use rekey_testbed::FleetOptions;
use serde_json::json;

use crate::support::browser::{Browser, Patience, Seats};
use crate::support::client::SCRAPE;
use crate::support::dashboard::Visitor;
use crate::support::fleet::{self, TestFleet, eventually};
use crate::support::store_view;

/// The page of the key.
pub(super) const PROFILE: &str = "/settings/profile";
/// The page on which a rotation is confirmed, and where its form is sent.
pub(super) const REGENERATE: &str = "/settings/profile/regenerate";
/// The same of a revocation.
pub(super) const REVOKE: &str = "/settings/profile/revoke";
/// Where the form for a new key after a revocation is sent.
pub(super) const NEW_KEY: &str = "/settings/profile/new-key";
/// The page of the password.
pub(super) const SECURITY: &str = "/settings/security";

/// What everybody is told within the hour.
pub(super) const ONCE_PER_HOUR: &str =
    "You can only regenerate your API key once per hour. Please try again later.";

/// A lease that a test can wait for; a rotation takes as long while a gateway
/// stands still.
const LEASE_MS: u32 = 1500;
/// The filter's gauge: 1 while its cached trust lasts.
const LEASE_HELD: &str = "wasmcustom.rekey.lease_held";

/// A fleet, and the right to some browsers.
pub(super) struct Site {
    /// All processes.
    pub fleet: TestFleet,
    people: AtomicU32,
    _seats: Seats,
}

/// Somebody with a key, who can log in.
pub(super) struct Person {
    /// The e-mail address.
    pub email: String,
    /// The password.
    pub password: String,
    /// The user's id.
    pub user: String,
    /// The first key.
    pub key: String,
}

/// So many gateways.
pub(super) fn gateways(count: usize) -> FleetOptions {
    FleetOptions {
        gateways: count,
        plugin: json!({ "lease_ms": LEASE_MS }),
        ..FleetOptions::default()
    }
}

impl Site {
    /// Starts a fleet for a test that opens so many browsers at a time; none if
    /// the test is to be skipped.
    pub(super) fn start(options: FleetOptions, browsers: usize) -> Self {
        let seats = Seats::take(browsers);
        let fleet = fleet::start(options);
        for gateway in &fleet.gateways {
            eventually("a lease", || {
                (fleet::stat(gateway, LEASE_HELD) == 1).then_some(())
            });
        }
        Self {
            fleet,
            people: AtomicU32::new(0),
            _seats: seats,
        }
    }

    /// Somebody new.
    pub(super) fn person(&self) -> Person {
        let number = self.people.fetch_add(1, Ordering::Relaxed);
        self.person_of(&format!("p{number}@example.com"))
    }

    /// Somebody new with this address.
    pub(super) fn person_of(&self, email: &str) -> Person {
        let password = format!("pass of {email}");
        let account = self.fleet.store.add_login(email, &password);
        let account = account.expect("a new user");
        Person {
            email: email.to_owned(),
            password,
            user: account.user_id,
            key: account.api_key,
        }
    }

    /// A browser that has been nowhere yet.
    pub(super) fn browser(&self) -> Browser {
        Browser::start(&self.fleet.store.dashboard_url(), Patience::Waits)
    }

    /// A browser in which this person has logged in.
    pub(super) fn browser_of(&self, person: &Person) -> Browser {
        let browser = self.browser();
        log_in(&browser, person);
        browser
    }

    /// Checks that every gateway accepts the key.
    pub(super) fn accepts(&self, key: &str) {
        self.every_gateway_says(key, (200, "ok"));
    }

    /// Checks that every gateway says that the key is revoked.
    pub(super) fn refuses(&self, key: &str) {
        self.every_gateway_says(key, (401, "api_key_revoked"));
    }

    fn every_gateway_says(&self, key: &str, (status, code): (u16, &str)) {
        assert!(!self.fleet.gateways.is_empty(), "nobody says anything");
        for gateway in 0..self.fleet.gateways.len() {
            let answer = self.fleet.client_of(gateway).get(SCRAPE, key);
            let expected = (status, code.to_owned());
            assert_eq!(answer.outcome(), expected, "gateway {gateway}");
        }
    }

    /// Checks that this key is the person's only one, by the store's word.
    pub(super) fn holds(&self, person: &Person, key: &str) {
        let keys = store_view::keys(&self.fleet.store, &person.user);
        assert_eq!(keys.active, [store_view::digest(key)]);
    }

    /// Checks that the person has no key, by the store's word.
    pub(super) fn holds_none(&self, person: &Person) {
        let keys = store_view::keys(&self.fleet.store, &person.user);
        assert!(keys.active.is_empty(), "{keys:?}");
    }

    /// How often the person's key was replaced.
    pub(super) fn rotations(&self, person: &Person) -> usize {
        store_view::keys(&self.fleet.store, &person.user).rotations
    }

    /// What happened to the person, oldest first, as `rotated by dashboard`.
    pub(super) fn events(&self, person: &Person) -> Vec<String> {
        let events = store_view::audit(&self.fleet.store, &person.user);
        let text = |event: &serde_json::Value| {
            let [action, source] =
                ["action", "source"].map(|field| event[field].as_str().unwrap().to_owned());
            format!("{action} by {source}")
        };
        events.iter().map(text).collect()
    }

    /// How many of these events there are.
    pub(super) fn count(&self, person: &Person, event: &str) -> usize {
        let events = self.events(person);
        events.iter().filter(|found| *found == event).count()
    }

    /// What the operator does on the command line, and what it prints.
    pub(super) fn operator(&self, arguments: &[&str], input: &str) -> String {
        let mut command = self.fleet.store.cli();
        command.args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut running = command.spawn().unwrap();
        let mut stdin = running.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).unwrap();
        drop(stdin);
        let output = running.wait_with_output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", output.status);
        String::from_utf8(output.stdout).unwrap()
    }

    /// The same session, without the browser.
    pub(super) fn visitor(&self, browser: &Browser) -> Visitor {
        let home = self.fleet.store.dashboard_url();
        Visitor::with_cookies(&home, &browser.cookie_header())
    }
}

/// Logs in, and ends on the page of the key.
pub(super) fn log_in(browser: &Browser, person: &Person) {
    browser.visit("/login");
    send_log_in(browser, &person.email, &person.password);
    assert_eq!(browser.page(), PROFILE, "{}", browser.whole_text());
}

/// Fills in the log-in form that is open, and sends it.
pub(super) fn send_log_in(browser: &Browser, email: &str, password: &str) {
    browser.fill("email", email);
    browser.fill("password", password);
    browser.follow("login");
}

/// Walks from the page of the key to a new key.
pub(super) fn regenerate(browser: &Browser) -> String {
    browser.visit(PROFILE);
    browser.follow("regenerate");
    browser.follow("confirm");
    browser.text("api-key")
}

/// The seconds until the next key, as the page had them when it came.
pub(super) fn countdown(browser: &Browser) -> u64 {
    let script = "return Number(document.querySelector('#next-rotation [data-countdown]')
        .dataset.countdown)";
    let seconds = browser.script(script, &[]);
    seconds.as_u64().expect("whole seconds")
}

/// The fields of the form that is open.
pub(super) fn fields(browser: &Browser, names: &[&'static str]) -> Vec<(&'static str, String)> {
    let field = |name: &&'static str| (*name, browser.field(name));
    names.iter().map(field).collect()
}

/// A key as the dashboard shows it afterwards.
pub(super) fn masked(key: &str) -> String {
    format!("sb_live_…{}", &key[key.len() - 4..])
}
