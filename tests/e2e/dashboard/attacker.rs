//! What others try on a person who is logged in: pages of theirs that send her
//! browser's cookies along, frames around the dashboard, and texts that are to
//! be taken for a part of it.

use std::sync::Arc;

use rekey_testbed::FleetOptions;
use serde_json::{Value, json};

use super::site::{
    NEW_KEY, PROFILE, Person, REGENERATE, REVOKE, SECURITY, Site, fields, gateways, masked,
    send_log_in,
};
use crate::support::browser::Browser;
use crate::support::client::{REGENERATE as API, bearer};
use crate::support::fleet::eventually;
use crate::support::stand_ins::pages::Pages;
use crate::support::store_view;

/// What would run if anything showed it as it is.
const HOSTILE: &str = "\"><img src=x onerror=\"window.hacked=1\"><script>window.hacked=1</script>";

/// A page that sends a form by itself.
fn sending(target: &str, fields: &[(&str, String)], more: &str) -> String {
    let inputs: String = fields
        .iter()
        .map(|(name, value)| format!("<input name='{name}' value='{value}'>"))
        .collect();
    format!(
        "{more}<form method='post' action='{target}'>{inputs}</form>\
         <script>document.forms[0].submit()</script>"
    )
}

/// A page that sends all of them out of sight, and asks for them as pictures,
/// and then says so by its title.
fn fetching(home: &str, deeds: &[Deed]) -> String {
    let deeds: Vec<_> = deeds
        .iter()
        .map(|(path, fields)| json!([format!("{home}{path}"), fields]))
        .collect();
    format!(
        "<script>
        const ask = (url, more) => fetch(url, {{mode: 'no-cors', credentials: 'include', ...more}});
        const send = ([url, fields]) => Promise.allSettled([
            ask(url, {{}}), ask(url, {{method: 'POST', body: new URLSearchParams(fields)}})]);
        Promise.all({}.map(send)).then(() => document.title = 'sent')
        </script>",
        json!(deeds)
    )
}

/// The deeds that are to be forced on a person, with all that the attacker
/// could know at best: the fields of her own pages.
fn deeds(browser: &Browser, mallory: &Person, ada: &Person) -> Vec<Deed> {
    browser.visit(REVOKE);
    let revoke = fields(browser, &["csrf", "key"]);
    browser.visit(SECURITY);
    let csrf = fields(browser, &["csrf"]);
    browser.visit(REGENERATE);
    let regenerate = fields(browser, &["csrf", "ticket", "key"]);
    let mut new_key = regenerate.clone();
    new_key.retain(|(name, _)| *name != "key");
    let mut password = csrf.clone();
    password.push(("current_password", ada.password.clone()));
    password.push(("new_password", mallory.password.clone()));
    password.push(("repeat_password", mallory.password.clone()));
    let log_in = vec![
        ("email", mallory.email.clone()),
        ("password", mallory.password.clone()),
    ];
    vec![
        (REGENERATE, regenerate),
        (REVOKE, revoke),
        (NEW_KEY, new_key),
        ("/settings/security/password", password),
        ("/logout", csrf.clone()),
        ("/logout-everywhere", csrf),
        ("/login", log_in),
    ]
}

type Deed = (&'static str, Vec<(&'static str, String)>);

/// From another port, which the cookie does not tell from ours, and from
/// another host, to which it belongs not; also where the browser is told to
/// keep silent about where it comes from.
#[test]
fn no_page_of_somebody_else_acts_for_a_person() {
    let site = Site::start(gateways(1), 1);
    let (ada, mallory) = (site.person(), site.person());
    let browser = site.browser_of(&ada);
    let session = browser.cookie_header();
    let before = site.events(&ada);
    let pages = Pages::start();
    let silent = "<meta name='referrer' content='no-referrer'>";
    let deeds = deeds(&browser, &mallory, &ada);
    let home = site.fleet.store.dashboard_url();
    for (path, form) in &deeds {
        for more in ["", silent] {
            for url in pages.write("/", &sending(&format!("{home}{path}"), form, more)) {
                browser.visit(&url);
                assert!(!browser.text("error").is_empty());
                assert_eq!(&browser.page(), path, "from {url}");
                assert!(!browser.has("api-key"));
            }
        }
    }
    for url in pages.write("/", &fetching(&home, &deeds)) {
        browser.visit(&url);
        eventually("the attacker's requests", || {
            let title = browser.script("return document.title", &[]);
            (title == "sent").then_some(())
        });
    }
    assert_eq!(site.events(&ada), before);
    browser.visit(PROFILE);
    assert_eq!(browser.page(), PROFILE);
    assert_eq!(browser.cookie_header(), session);
    assert_eq!(browser.text("masked-key"), masked(&ada.key));
    site.accepts(&ada.key);
    assert_eq!(site.count(&mallory, "login by dashboard"), 0);
    // All that was missing is that the form is ours.
    let (path, form) = &deeds[0];
    let answer = site.visitor(&browser).send(path, form);
    assert_eq!(answer.status, 200, "{}", answer.body);
    site.refuses(&ada.key);
    site.fleet.assert_no_trap();
}

#[test]
fn nobody_frames_the_dashboard() {
    let site = Site::start(gateways(0), 1);
    let ada = site.person();
    let browser = site.browser_of(&ada);
    let pages = Pages::start();
    let shows = |url: &str, id: &str| {
        for framing in pages.write("/", &format!("<iframe src='{url}'></iframe>")) {
            browser.visit(&framing);
            browser.enter_frame();
            let shown = browser.has(id);
            browser.leave_frame();
            if shown {
                return true;
            }
        }
        false
    };
    // This is how a frame looks that shows something.
    let [framed, _] = pages.write("/framed", "<p id='masked-key'>");
    assert!(shows(&framed, "masked-key"));
    let home = site.fleet.store.dashboard_url();
    for (page, id) in [
        (PROFILE, "masked-key"),
        (REGENERATE, "confirm"),
        (REVOKE, "confirm"),
        (SECURITY, "change-password"),
    ] {
        assert!(!shows(&format!("{home}{page}"), id), "{page} in a frame");
        browser.visit(page);
        assert!(browser.has(id), "{page} in a window");
    }
    browser.follow("logout");
    assert!(!shows(&format!("{home}/login"), "email"));
}

#[test]
fn what_others_wrote_is_shown_as_text_and_never_runs() {
    let keeps_request_ids = |config: &mut Value| {
        let listener = &mut config["static_resources"]["listeners"][0];
        let manager = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
        assert_eq!(manager["stat_prefix"], "edge");
        manager["preserve_external_request_id"] = json!(true);
        Ok(())
    };
    let options = FleetOptions {
        edit: Some(Arc::new(keeps_request_ids)),
        ..gateways(1)
    };
    let site = Site::start(options, 1);
    let assert_harmless = |browser: &Browser| {
        let found = browser.script(
            "return [!!window.hacked, document.querySelectorAll('img[src=x]').length,
                document.querySelectorAll('script:not([src])').length]",
            &[],
        );
        assert_eq!(found, json!([false, 0, 0]), "{}", browser.source());
    };
    // An address cannot have `<`, but what a browser would make into one.
    let ada = site.person_of("ada&ltb&gt@example.com");
    let browser = site.browser();
    browser.visit("/login");
    browser.script("document.forms[0].noValidate = true", &[]);
    send_log_in(&browser, &format!("{HOSTILE}@example.com"), HOSTILE);
    assert!(!browser.text("error").is_empty());
    assert_harmless(&browser);
    send_log_in(&browser, &ada.email, &ada.password);
    assert_eq!(browser.page(), PROFILE);
    assert!(browser.whole_text().contains(&ada.email));
    assert_harmless(&browser);

    let mut headers = bearer(&ada.key);
    headers.push(("x-request-id", HOSTILE.to_owned()));
    headers.push(("x-forwarded-for", HOSTILE.to_owned()));
    headers.push(("user-agent", HOSTILE.to_owned()));
    let answer = site.fleet.client().send("POST", API, &headers, "");
    let key = answer.new_key();
    let events = store_view::audit(&site.fleet.store, &ada.user);
    let kept = |event: &&Value| {
        let id = event["client_request_id"].as_str().unwrap_or_default();
        id.contains("<img") && id.contains("<script>")
    };
    assert_eq!(events.iter().filter(kept).count(), 1, "{events:#?}");
    browser.visit(PROFILE);
    assert_eq!(browser.text("masked-key"), masked(&key));
    assert_harmless(&browser);
    for page in [
        format!("/login?email={HOSTILE}&error={HOSTILE}"),
        format!("/{HOSTILE}"),
        format!("{PROFILE}?{HOSTILE}#{HOSTILE}"),
    ] {
        browser.visit(&page);
        assert_harmless(&browser);
    }
    site.fleet.assert_no_trap();
}
