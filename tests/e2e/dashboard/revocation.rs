//! "Revoke now": the key is dead on every gateway when the page answers, and
//! the new one need not wait for the hour, but for five of them a day.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::site::{
    self, NEW_KEY, ONCE_PER_HOUR, PROFILE, Person, REGENERATE, REVOKE, Site, fields, gateways,
    log_in, masked,
};
use crate::support::browser::Browser;
use crate::support::client::SCRAPE;

/// New keys that a day has within the hour.
const A_DAY: usize = 5;

/// Walks from the page of the key to the page that says that it is dead.
fn revoke(browser: &Browser) {
    browser.visit(PROFILE);
    browser.follow("revoke");
    browser.follow("confirm");
    assert!(browser.has("new-key"), "{}", browser.whole_text());
}

fn revoke_by_operator(site: &Site, person: &Person) {
    site.operator(&["keys", "revoke", "--user", &person.user], "");
}

#[test]
fn a_key_revoked_now_is_dead_on_every_gateway_when_the_page_answers() {
    let site = Site::start(gateways(2), 1);
    let (ada, bea) = (site.person(), site.person());
    site.accepts(&ada.key);
    site.accepts(&bea.key);
    let browser = site.browser_of(&ada);
    browser.follow("revoke");
    assert_eq!(browser.page(), REVOKE);
    site.accepts(&ada.key);
    browser.follow("cancel");
    site.accepts(&ada.key);
    // On a telephone the button for a new key is where this one was: the second
    // click of a double click is not meant for it.
    browser.resize(360, 740);
    browser.follow("revoke");
    browser.double_click_slowly("confirm");
    site.refuses(&ada.key);
    site.holds_none(&ada);
    assert!(browser.has("new-key") && !browser.has("api-key"));
    // There is none to be replaced, and none comes by a reload.
    browser.visit(REGENERATE);
    assert!(!browser.has("confirm"));
    site.holds_none(&ada);

    // A gateway that stands still is waited for.
    browser.visit(PROFILE);
    browser.follow("logout");
    log_in(&browser, &bea);
    browser.follow("revoke");
    browser.until_it_takes_clicks("confirm");
    let stuck = &site.fleet.gateways[0].process;
    stuck.freeze().unwrap();
    let began = Instant::now();
    browser.follow("confirm");
    let took = began.elapsed();
    let awake = site.fleet.client_of(1).get(SCRAPE, &bea.key);
    assert_eq!(awake.outcome(), (401, "api_key_revoked".to_owned()));
    stuck.thaw().unwrap();
    assert!(took > Duration::from_millis(500), "{took:?}");
    // Its lease is over: it asks, or says that it cannot.
    let thawed = site.fleet.client_of(0).get(SCRAPE, &bea.key);
    assert!(matches!(thawed.status, 401 | 503), "{thawed:?}");
    for person in [&ada, &bea] {
        assert_eq!(site.count(person, "revoked by dashboard"), 1);
    }
    site.fleet.assert_no_trap();
}

#[test]
fn after_a_revocation_a_new_key_needs_no_hour_but_five_are_a_days() {
    let site = Site::start(gateways(1), 1);
    let ada = site.person();
    let browser = site.browser_of(&ada);
    // The hour is not over for a rotation.
    let mut key = site::regenerate(&browser);
    for _ in 0..A_DAY {
        browser.visit(REGENERATE);
        assert!(browser.text("error").contains(ONCE_PER_HOUR));
        revoke(&browser);
        site.refuses(&key);
        browser.follow("new-key");
        key = browser.text("api-key");
        site.accepts(&key);
    }
    let last = key;
    // Nor is this one shown again, or another made by a reload.
    browser.reload();
    assert!(!browser.source().contains(&last));
    assert!(!browser.text("error").is_empty());
    site.accepts(&last);
    browser.visit(PROFILE);
    assert_eq!(browser.text("masked-key"), masked(&last));

    // The sixth time the key is dead all the same, and the next one has a time.
    browser.follow("revoke");
    browser.follow("confirm");
    site.refuses(&last);
    if browser.has("new-key") {
        browser.follow("new-key");
    }
    assert!(!browser.has("api-key"));
    let wait = site::countdown(&browser);
    assert!((60..=3600).contains(&wait), "{wait} s");
    site.holds_none(&ada);
    assert_eq!(site.count(&ada, "issued by dashboard"), A_DAY);
    assert_eq!(site.count(&ada, "revoked by dashboard"), A_DAY + 1);
    assert_eq!(site.count(&ada, "rotated by dashboard"), 1);
    site.fleet.assert_no_trap();
}

#[test]
fn what_the_operator_revoked_stays_revoked() {
    let site = Site::start(gateways(1), 1);
    let [ada, bea, cyd] = [(); 3].map(|()| site.person());
    let browser = site.browser_of(&ada);
    revoke(&browser);
    // A form for a new key, to be sent when it is no longer right; and one that
    // is there for whoever closed the page of the first.
    let form = fields(&browser, &["csrf", "ticket", "key"]);
    browser.visit(PROFILE);
    browser.follow("new-key");
    let key = browser.text("api-key");
    revoke_by_operator(&site, &ada);
    site.refuses(&key);
    browser.visit(PROFILE);
    for id in ["new-key", "regenerate", "revoke"] {
        assert!(!browser.has(id), "#{id}: {}", browser.whole_text());
    }
    for page in [REGENERATE, REVOKE] {
        browser.visit(page);
        assert!(!browser.has("confirm"), "{page}: {}", browser.whole_text());
    }
    let answer = site.visitor(&browser).send(NEW_KEY, &form);
    assert_eq!(answer.status, 409, "{}", answer.body);

    // Nor does a form that was open by then bring one.
    browser.visit(PROFILE);
    browser.follow("logout");
    log_in(&browser, &bea);
    browser.follow("regenerate");
    revoke_by_operator(&site, &bea);
    browser.follow("confirm");
    assert!(!browser.has("api-key"));
    assert!(!browser.text("error").is_empty());
    // Nor one of before, where the user had revoked already.
    browser.visit(PROFILE);
    browser.follow("logout");
    log_in(&browser, &cyd);
    revoke(&browser);
    revoke_by_operator(&site, &cyd);
    browser.follow("new-key");
    assert!(!browser.has("api-key"));
    assert!(!browser.text("error").is_empty());
    for person in [&ada, &bea, &cyd] {
        site.holds_none(person);
    }

    // Only the operator can undo it.
    let issued = site.operator(&["keys", "issue", "--user", &cyd.user, "--json"], "");
    let issued: Value = serde_json::from_str(&issued).unwrap();
    let key = issued["api_key"].as_str().unwrap();
    site.accepts(key);
    browser.visit(PROFILE);
    assert_eq!(browser.text("masked-key"), masked(key));
    site.fleet.assert_no_trap();
}
