//! The way that the API's documentation names: log in, Settings, Profile,
//! Regenerate API Key, copy; and the hour, which dashboard and API share.

use serde_json::json;

use super::site::{
    self, ONCE_PER_HOUR, PROFILE, REGENERATE, Site, fields, gateways, log_in, masked,
};
use crate::support::fleet::eventually;

#[test]
fn a_leaked_key_is_replaced_and_dead_on_every_gateway_when_the_page_answers() {
    let site = Site::start(gateways(2), 1);
    let ada = site.person();
    site.accepts(&ada.key);
    let browser = site.browser();
    browser.visit("/");
    assert_eq!(browser.page(), "/login");
    log_in(&browser, &ada);
    browser.visit("/settings");
    assert_eq!(browser.page(), PROFILE);
    assert_eq!(browser.text("masked-key"), masked(&ada.key));

    browser.follow("regenerate");
    assert_eq!(browser.page(), REGENERATE);
    let warning = browser.whole_text();
    for promise in [masked(&ada.key).as_str(), "stops working at once", "401"] {
        assert!(warning.contains(promise), "{promise} is not in: {warning}");
    }
    // To read the warning changes nothing.
    site.accepts(&ada.key);
    browser.follow("cancel");
    assert_eq!(browser.page(), PROFILE);
    site.accepts(&ada.key);

    browser.follow("regenerate");
    browser.follow("confirm");
    // First the refusals: nothing is left that could take its time.
    site.refuses(&ada.key);
    let new = browser.text("api-key");
    site.accepts(&new);
    site.holds(&ada, &new);
    assert_eq!(site.rotations(&ada), 1);

    assert!(!browser.text("copied").contains("Copied"));
    browser.click("copy");
    eventually("the word that it was copied", || {
        browser.text("copied").contains("Copied").then_some(())
    });
    assert_eq!(browser.clipboard(), new);

    browser.visit(PROFILE);
    assert_eq!(browser.text("masked-key"), masked(&new));
    let events = browser.text("events");
    assert!(events.contains("dashboard"), "{events}");
    let wait = site::countdown(&browser);
    assert!((3500..=3600).contains(&wait), "{wait} s");
    let told = browser.text("next-rotation");
    eventually("a countdown that counts", || {
        (browser.text("next-rotation") != told).then_some(())
    });
    site.fleet.assert_no_trap();
}

#[test]
fn dashboard_and_api_share_the_hour() {
    let site = Site::start(gateways(1), 1);
    let client = site.fleet.client();
    let limited = (429, "rate_limited".to_owned());

    // The dashboard first.
    let ada = site.person();
    let browser = site.browser_of(&ada);
    let new = site::regenerate(&browser);
    assert_eq!(client.regenerate(&new).outcome(), limited);
    browser.visit(REGENERATE);
    assert!(browser.text("error").contains(ONCE_PER_HOUR));
    assert!(!browser.has("confirm"));
    site.accepts(&new);
    assert_eq!(site.rotations(&ada), 1);

    // The API first; the confirmation was open by then.
    let bea = site.person();
    browser.visit(PROFILE);
    browser.follow("logout");
    log_in(&browser, &bea);
    browser.follow("regenerate");
    let new = client.regenerate(&bea.key).new_key();
    browser.follow("confirm");
    assert!(!browser.has("api-key"));
    assert!(!browser.text("error").is_empty());
    browser.visit(REGENERATE);
    assert!(browser.text("error").contains(ONCE_PER_HOUR));
    assert!(!browser.has("confirm"));
    site.accepts(&new);
    assert_eq!(site.rotations(&bea), 1);
    let events = site.events(&bea);
    assert!(
        events.contains(&"rotated by gateway".to_owned()),
        "{events:?}"
    );
    site.fleet.assert_no_trap();
}

/// Where a browser keeps what it has seen.
const KEPT: &str = "return JSON.stringify([
    location.href, document.referrer, document.cookie, history.state, window.name,
    {...localStorage}, {...sessionStorage}])";
/// The same that is asked for and told later.
const KEPT_LATER: &str = "
    Promise.all([caches.keys(), indexedDB.databases(), navigator.serviceWorker.getRegistrations()])
        .then(found => done(found.flat().length))";

#[test]
fn the_new_key_is_on_one_page_and_nowhere_else() {
    let site = Site::start(gateways(0), 1);
    let ada = site.person();
    let browser = site.browser_of(&ada);
    let key = site::regenerate(&browser);
    // A search that finds nothing on this page would find it nowhere.
    assert_eq!(browser.source().matches(&key).count(), 1);
    let secret = &key["sb_live_".len()..][..20];
    let assert_hidden = |place: &str, text: &str| {
        assert!(!text.contains(secret), "the key is in {place}: {text}");
    };
    for page in [REGENERATE, PROFILE, "/settings/security", "/login"] {
        if page != REGENERATE {
            browser.visit(page);
            assert_hidden(page, &browser.source());
        }
        let kept = browser.script(KEPT, &[]);
        assert_hidden("what the page keeps", kept.as_str().unwrap());
        assert_eq!(browser.script_later(KEPT_LATER), json!(0));
        assert_hidden("the address", &browser.page());
        for cookie in browser.cookies() {
            assert_hidden("a cookie", &cookie.value);
        }
    }
    let visited = browser.history();
    assert!(visited.iter().any(|url| url.ends_with(REGENERATE)));
    assert_hidden("the history", &visited.join("\n"));

    // What a proxy or a disk would see of the answer.
    let bea = site.person();
    browser.visit(PROFILE);
    browser.follow("logout");
    log_in(&browser, &bea);
    browser.follow("regenerate");
    let form = fields(&browser, &["csrf", "ticket", "key"]);
    let answer = site.visitor(&browser).send(REGENERATE, &form);
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(answer.header("cache-control").contains("no-store"));
    for (name, value) in &answer.headers {
        let value = value.to_str().unwrap();
        assert!(!value.contains("sb_live_"), "{name}: {value}");
    }
}
