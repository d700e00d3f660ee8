//! Who gets in, what the browser is given then, and where it is sent.

use super::site::{PROFILE, SECURITY, Site, gateways, masked, send_log_in};
use crate::support::fleet::eventually;

#[test]
fn the_right_password_opens_the_profile_and_no_wrong_one_says_why() {
    let site = Site::start(gateways(0), 1);
    let (ada, bea) = (site.person(), site.person());
    let keyless = site.fleet.store.add_user("without-password@example.com");
    keyless.unwrap();
    let browser = site.browser();
    // Without a session every page is the log-in.
    for page in ["/", PROFILE, "/settings/profile/regenerate", SECURITY] {
        browser.visit(page);
        assert_eq!(browser.page(), "/login", "from {page}");
    }
    // Whether the address is known is not told.
    let mut told = Vec::new();
    for (email, password) in [
        (ada.email.as_str(), "not the password of anybody"),
        (&ada.email, &bea.password),
        ("nobody@example.com", &ada.password),
        ("without-password@example.com", &ada.password),
    ] {
        browser.visit("/login");
        send_log_in(&browser, email, password);
        assert_eq!(browser.page(), "/login");
        assert_eq!(browser.text("error"), "E-mail or password is wrong.");
        assert!(!browser.source().contains(password));
        told.push(browser.whole_text());
    }
    assert!(told.iter().all(|text| *text == told[0]), "{told:#?}");
    // One can go on from there.
    send_log_in(&browser, &ada.email, &ada.password);
    assert_eq!(browser.page(), PROFILE);
    assert_eq!(browser.text("masked-key"), masked(&ada.key));
    assert_eq!(site.count(&ada, "login by dashboard"), 1);
    // Nobody waited for these.
    eventually("both refusals in the audit log", || {
        (site.count(&ada, "login_refused by dashboard") == 2).then_some(())
    });
    browser.visit("/");
    assert_eq!(browser.page(), PROFILE);
}

#[test]
fn session_and_browser_are_known_by_cookies_that_no_script_reads() {
    let site = Site::start(gateways(0), 1);
    let ada = site.person();
    let browser = site.browser();
    // A session of before, which somebody else may have planted.
    browser.visit("/login");
    let home = site.fleet.store.dashboard_url();
    let port = home.rsplit(':').next().unwrap();
    let [device, session] = ["device", "session"].map(|jar| format!("rekey_{jar}_{port}"));
    let plant = format!("document.cookie = '{session}=planted; path=/'");
    browser.script(&plant, &[]);
    send_log_in(&browser, &ada.email, &ada.password);
    assert_eq!(browser.page(), PROFILE);
    let cookies = || {
        let cookies = browser.cookies();
        let names: Vec<_> = cookies.iter().map(|cookie| cookie.name.as_str()).collect();
        assert_eq!(names, [&device, &session]);
        cookies
    };
    let first = cookies();
    for cookie in &first {
        assert!(cookie.http_only);
        assert_eq!(cookie.same_site, "Lax");
        assert_eq!(cookie.path, "/");
        assert!(cookie.value.len() >= 22, "it can be guessed");
        assert!(!browser.source().contains(&cookie.value));
    }
    assert_eq!(browser.script("return document.cookie", &[]), "");

    // The next ones are others.
    browser.follow("logout");
    send_log_in(&browser, &ada.email, &ada.password);
    for (former, cookie) in first.iter().zip(cookies()) {
        assert_ne!(cookie.value, former.value);
    }
}

#[test]
fn nobody_is_sent_away_from_the_dashboard() {
    let site = Site::start(gateways(0), 1);
    let ada = site.person();
    let browser = site.browser();
    for query in [
        "?next=https://evil.example",
        "?next=//evil.example",
        "?next=/%5Cevil.example&return_to=//evil.example",
        "?next=javascript:document.title=1&redirect=https:evil.example",
    ] {
        browser.visit(&format!("/login{query}"));
        send_log_in(&browser, &ada.email, &ada.password);
        assert_eq!(browser.page(), PROFILE, "after {query}");
        browser.visit(&format!("/login{query}"));
        assert!(browser.page().starts_with('/'), "{}", browser.page());
        browser.visit(&format!("{PROFILE}{query}"));
        browser.follow("logout");
        assert_eq!(browser.page(), "/login");
    }
    for path in [
        "//evil.example",
        "//evil.example/%2e%2e",
        "/%5Cevil.example",
    ] {
        let home = site.fleet.store.dashboard_url();
        browser.visit(&format!("{home}{path}"));
        assert!(browser.page().starts_with('/'), "{}", browser.page());
    }
}
