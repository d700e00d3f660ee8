//! The same page again: reloaded, gone back to, sent twice, open in two tabs.
//! One deed is one rotation, whatever fingers and browsers do, and its key is
//! shown to the one who waits for it, once.

use std::thread;
use std::time::{Duration, Instant};

use super::site::{
    self, ONCE_PER_HOUR, PROFILE, Person, REGENERATE, Site, fields, gateways, log_in,
};
use crate::support::browser::{Browser, Patience};
use crate::support::client::SCRAPE;
use crate::support::fleet::eventually;
use crate::support::stand_ins::pages::Pages;

/// What a rotation takes at least while a gateway stands still.
const SLOW: Duration = Duration::from_millis(500);

#[test]
fn the_key_is_shown_once_whatever_the_browser_is_asked_for_again() {
    let site = Site::start(gateways(0), 1);
    let ada = site.person();
    let browser = site.browser_of(&ada);
    // This browser keeps pages alive to go back to, if it is let.
    let pages = Pages::start();
    let [one, _] = pages.write(
        "/one",
        "<body onpageshow='document.title = event.persisted'>",
    );
    let [two, _] = pages.write("/two", "");
    browser.visit(&one);
    browser.visit(&two);
    browser.back();
    assert_eq!(browser.script("return document.title", &[]), "true");

    let key = site::regenerate(&browser);
    site.holds(&ada, &key);
    let assert_gone = |how: &str| {
        let source = browser.source();
        assert!(!source.contains(&key), "it is shown again {how}: {source}");
        assert_eq!(site.rotations(&ada), 1, "{how}");
    };
    // The form is sent again: the browser does not ask.
    browser.reload();
    assert_gone("after a reload");
    assert!(browser.text("error").contains("used already"));
    browser.visit(PROFILE);
    assert_gone("on the profile");
    browser.back();
    assert_gone("after going back");
    browser.reload();
    assert_gone("after going back and a reload");
    browser.back();
    assert_gone("after going back twice");
    browser.forward();
    assert_gone("after going forward");
    browser.visit(REGENERATE);
    assert_gone("by its address");
    site.holds(&ada, &key);

    // Straight from the page that shows it.
    let bea = site.person();
    browser.visit(PROFILE);
    browser.follow("logout");
    log_in(&browser, &bea);
    let key = site::regenerate(&browser);
    browser.visit(PROFILE);
    browser.back();
    let source = browser.source();
    assert!(!source.contains(&key), "it is shown again: {source}");
    browser.back();
    browser.forward();
    let source = browser.source();
    assert!(!source.contains(&key), "it is shown again: {source}");
    assert_eq!(site.rotations(&bea), 1);
    site.holds(&bea, &key);
}

/// Opens the confirmation, does what is to be done there, and checks that it
/// ended with one rotation and with its key on the page. Returns how long it
/// took.
fn confirm_twice(
    site: &Site,
    browser: &Browser,
    person: &Person,
    twice: impl FnOnce(),
) -> Duration {
    log_in(browser, person);
    browser.follow("regenerate");
    browser.until_it_takes_clicks("confirm");
    let began = Instant::now();
    twice();
    let took = began.elapsed();
    let key = browser.text("api-key");
    let awake = site.fleet.client_of(1);
    assert_eq!(awake.get(SCRAPE, &key).status, 200);
    assert_eq!(awake.get(SCRAPE, &person.key).status, 401);
    assert_eq!(site.rotations(person), 1);
    browser.visit(PROFILE);
    browser.follow("logout");
    took
}

/// A gateway that stands still holds the answer back for a lease, so that the
/// second submission meets the first one on its way.
#[test]
fn a_double_click_is_one_rotation_and_shows_the_working_key() {
    let site = Site::start(gateways(2), 1);
    let browser = site.browser();
    let click = || browser.double_click("confirm");
    confirm_twice(&site, &browser, &site.person(), click);
    let click_slowly = || browser.double_click_slowly("confirm");
    confirm_twice(&site, &browser, &site.person(), click_slowly);

    let stuck = &site.fleet.gateways[0].process;
    let click_while_stuck = || {
        stuck.freeze().unwrap();
        click();
    };
    let [ada, bea, cyd, zoe] = [(); 4].map(|()| site.person());
    assert!(confirm_twice(&site, &browser, &ada, click_while_stuck) > SLOW);
    stuck.thaw().unwrap();
    site.fleet.until_it_trusts(&zoe.key);
    browser.without_scripts();
    assert!(confirm_twice(&site, &browser, &bea, click_while_stuck) > SLOW);
    stuck.thaw().unwrap();
    site.fleet.until_it_trusts(&zoe.key);

    // Both wait to the end: one of them is told the key.
    log_in(&browser, &cyd);
    browser.follow("regenerate");
    let visitor = site.visitor(&browser);
    let form = fields(&browser, &["csrf", "ticket", "key"]);
    stuck.freeze().unwrap();
    let answers = thread::scope(|scope| {
        let send = || visitor.send(REGENERATE, &form);
        let both = [scope.spawn(send), scope.spawn(send)];
        both.map(|sent| sent.join().unwrap())
    });
    stuck.thaw().unwrap();
    let mut statuses = answers.each_ref().map(|answer| answer.status);
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409], "{answers:?}");
    assert_eq!(site.rotations(&cyd), 1);
    site.fleet.until_it_trusts(&zoe.key);
    for person in [&ada, &bea, &cyd] {
        site.refuses(&person.key);
    }
    site.fleet.assert_no_trap();
}

#[test]
fn of_two_tabs_one_wins_and_the_other_is_told_of_the_hour() {
    let site = Site::start(gateways(2), 1);
    let ada = site.person();
    let browser = Browser::start(&site.fleet.store.dashboard_url(), Patience::Hurries);
    log_in(&browser, &ada);
    browser.visit(REGENERATE);
    let first = browser.tab();
    let second = browser.open_tab();
    browser.visit(REGENERATE);
    // Both are on their way at the same time.
    let stuck = &site.fleet.gateways[0].process;
    stuck.freeze().unwrap();
    browser.click("confirm");
    browser.bring_to_front(&first);
    browser.click("confirm");
    let mut keys = Vec::new();
    for tab in [&first, &second] {
        browser.bring_to_front(tab);
        eventually("an answer in both tabs", || {
            (browser.has("api-key") || browser.has("error")).then_some(())
        });
        if browser.has("api-key") {
            keys.push(browser.text("api-key"));
        } else {
            assert!(browser.text("error").contains(ONCE_PER_HOUR));
        }
    }
    stuck.thaw().unwrap();
    let [key] = keys.as_slice() else {
        panic!("{} tabs have a key", keys.len());
    };
    site.fleet.until_it_trusts(key);
    site.refuses(&ada.key);
    site.accepts(key);
    assert_eq!(site.rotations(&ada), 1);
    site.fleet.assert_no_trap();
}
