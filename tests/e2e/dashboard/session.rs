//! How a session ends: by the person, by time, by another password.

use std::time::{Duration, Instant};

use rekey_testbed::FleetOptions;

use super::site::{self, PROFILE, REGENERATE, SECURITY, Site, gateways, log_in, send_log_in};
use crate::support::fleet::eventually;

#[test]
fn a_session_that_ended_in_mid_form_changes_nothing_and_says_so() {
    const IDLE: Duration = Duration::from_secs(2);
    let short = FleetOptions {
        store_args: vec!["--session-idle".to_owned(), "2s".to_owned()],
        ..gateways(0)
    };
    let site = Site::start(short, 1);
    let ada = site.person();
    let browser = site.browser_of(&ada);
    browser.follow("regenerate");
    // Nobody is told of the end, and to ask would put it off.
    let last_used = Instant::now();
    eventually("the end of the session", || {
        (last_used.elapsed() > IDLE + Duration::from_millis(100)).then_some(())
    });
    browser.follow("confirm");
    let told = browser.text("error");
    assert!(told.contains("logged out"), "{told}");
    assert!(told.contains("Nothing was changed"), "{told}");
    assert!(!browser.has("api-key"));
    site.holds(&ada, &ada.key);
    assert_eq!(site.rotations(&ada), 0);

    // The log-in is there already, and leads to where it can be done.
    send_log_in(&browser, &ada.email, &ada.password);
    assert_eq!(browser.page(), PROFILE);
    let new = site::regenerate(&browser);
    site.holds(&ada, &new);
}

#[test]
fn a_log_out_ends_this_session_and_everywhere_means_all() {
    let site = Site::start(gateways(0), 2);
    let (ada, bea) = (site.person(), site.person());
    let (office, home) = (site.browser_of(&ada), site.browser_of(&ada));
    let visitor = site.visitor(&office);
    office.follow("regenerate");
    let form = site::fields(&office, &["csrf", "ticket", "key"]);
    office.visit(PROFILE);
    office.follow("logout");
    assert_eq!(office.page(), "/login");
    // Not only the browser has forgotten it.
    let answer = visitor.send(REGENERATE, &form);
    assert_eq!(answer.status, 403, "{}", answer.body);
    assert_eq!(site.rotations(&ada), 0);
    // What the page of before shows needs a session.
    office.back();
    office.reload();
    assert_eq!(office.page(), "/login");
    home.visit(PROFILE);
    assert_eq!(home.page(), PROFILE);

    log_in(&office, &ada);
    office.visit(SECURITY);
    office.follow("logout-everywhere");
    for browser in [&office, &home] {
        browser.visit(PROFILE);
        assert_eq!(browser.page(), "/login");
    }
    assert_eq!(site.count(&ada, "logout by dashboard"), 1);
    assert_eq!(site.count(&ada, "logout_everywhere by dashboard"), 1);

    // Everywhere is everywhere of one person.
    log_in(&home, &bea);
    log_in(&office, &ada);
    office.visit(SECURITY);
    office.follow("logout-everywhere");
    home.visit(PROFILE);
    assert_eq!(home.page(), PROFILE);
}

#[test]
fn another_password_ends_the_other_sessions_and_the_old_password() {
    let site = Site::start(gateways(0), 2);
    let ada = site.person();
    let (office, home) = (site.browser_of(&ada), site.browser_of(&ada));
    let new = "twelve signs, and some more";
    let change = |current: &str, new: &str, repeated: &str| {
        office.visit(SECURITY);
        office.fill("current-password", current);
        office.fill("new-password", new);
        office.fill("repeat-password", repeated);
        office.follow("change-password");
    };
    for (current, new, repeated) in [
        ("not the password", new, new),
        (&ada.password, new, "twelve signs, and others"),
    ] {
        change(current, new, repeated);
        assert!(!office.text("error").is_empty());
    }
    home.visit(PROFILE);
    assert_eq!(home.page(), PROFILE);
    assert_eq!(site.count(&ada, "password_changed by dashboard"), 0);

    change(&ada.password, new, new);
    assert!(!office.text("notice").is_empty());
    assert!(office.page().starts_with(SECURITY), "{}", office.page());
    office.visit(PROFILE);
    assert_eq!(office.page(), PROFILE);
    home.visit(PROFILE);
    assert_eq!(home.page(), "/login");
    send_log_in(&home, &ada.email, &ada.password);
    assert_eq!(home.text("error"), "E-mail or password is wrong.");
    send_log_in(&home, &ada.email, new);
    assert_eq!(home.page(), PROFILE);
    assert_eq!(site.count(&ada, "password_changed by dashboard"), 1);

    // By the operator it ends them all.
    let other = "the operator's own choice";
    let set = [
        "users",
        "set-password",
        "--user",
        &ada.user,
        "--password-stdin",
    ];
    site.operator(&set, other);
    for browser in [&office, &home] {
        browser.visit(PROFILE);
        assert_eq!(browser.page(), "/login");
    }
    send_log_in(&home, &ada.email, other);
    assert_eq!(home.page(), PROFILE);
    assert_eq!(site.count(&ada, "password_set by admin"), 1);
}
