//! How the pages look, and to whom: every kind of page, on a telephone and on a
//! desk, by day and by night. With `REKEY_SCREENSHOTS` set, pictures of all of
//! them are left in `<target>/rekey/screenshots`.

use std::env;

use serde_json::json;

use super::site::{PROFILE, REGENERATE, SECURITY, Site, gateways, log_in, send_log_in};
use crate::support::browser::Browser;
use crate::support::stand_ins::pages::Pages;

const PICTURES_VARIABLE: &str = "REKEY_SCREENSHOTS";
const WIDTHS: [(u32, u32); 2] = [(1280, 900), (360, 740)];
const INSPECTION: &str = include_str!("looks.js");

/// A page with one of each fault, and how that is called.
const FAULTS: [(&str, &str); 15] = [
    ("<body>", "no language"),
    ("<h1>One</h1><h1>Two</h1>", "2 h1"),
    ("<h3>A jump</h3>", "an h3 follows"),
    ("<p id='p'></p><p id='p'></p>", "the id p is there twice"),
    ("<button></button>", "no name"),
    ("<img src='/picture'>", "no alternative"),
    ("<table><tr><td>1</table>", "no headers"),
    ("<a href='/' tabindex='3'>link</a>", "out of the order"),
    ("<p id='error'>error</p>", "not announced"),
    ("<input>", "no label"),
    (
        "<button style='position: relative; top: 9px'>1</button><button>2</button>",
        "out of line",
    ),
    ("<p style='width: 2000px'>wide</p>", "2008 px wide"),
    (
        "<p style='color: #777'>grey</p>",
        "contrast of \"grey\" is 4.48",
    ),
    (
        "<p style='opacity: 0.5'>faint</p>",
        "contrast of \"faint\" is",
    ),
    (
        "<p style='background: linear-gradient(red, red)'>red</p>",
        "is a picture",
    ),
];

/// Inspects the page that is open in each window and light, and returns what is
/// wrong with it.
fn inspect(browser: &Browser, name: &str) -> Vec<String> {
    let pictures = env::var_os(PICTURES_VARIABLE).is_some_and(|value| !value.is_empty());
    let mut problems = Vec::new();
    for (width, least) in WIDTHS {
        browser.resize(width, least);
        for light in ["light", "dark"] {
            browser.prefer(light);
            let found = browser.script(INSPECTION, &[json!(width)]);
            for problem in found.as_array().unwrap() {
                problems.push(format!("{name}, {width} px, {light}: {problem}"));
            }
            if pictures {
                let height = browser.script("return document.documentElement.scrollHeight", &[]);
                let height = u32::try_from(height.as_u64().unwrap()).unwrap();
                browser.resize(width, height.max(least));
                browser.take_picture(&format!("{name}-{width}-{light}"));
            }
        }
    }
    browser.resize(WIDTHS[0].0, WIDTHS[0].1);
    problems
}

#[test]
fn every_page_is_readable_for_everybody_and_screenshots_are_taken() {
    let site = Site::start(gateways(0), 1);
    let ada = site.person();
    let browser = site.browser();
    assert_that_faults_are_found(&browser);
    let mut problems = Vec::new();
    let mut see = |name: &str, id: &str| {
        assert!(browser.has(id), "{name}: {}", browser.whole_text());
        problems.extend(inspect(&browser, name));
    };
    browser.visit("/login");
    see("login", "email");
    send_log_in(&browser, &ada.email, "not the password");
    see("login-refused", "error");
    log_in(&browser, &ada);
    see("profile", "masked-key");
    browser.follow("regenerate");
    see("confirmation", "confirm");
    browser.follow("confirm");
    see("new-key", "api-key");
    browser.reload();
    see("used-already", "error");
    browser.visit(REGENERATE);
    see("limited", "error");
    browser.visit(PROFILE);
    see("profile-limited", "next-rotation");
    browser.follow("revoke");
    see("revoke", "confirm");
    browser.follow("confirm");
    see("revoked", "new-key");
    browser.visit(PROFILE);
    see("profile-revoked", "events");
    browser.visit(SECURITY);
    see("security", "change-password");
    browser.fill("current-password", &ada.password);
    browser.fill("new-password", "twelve signs, and more");
    browser.fill("repeat-password", "twelve signs, and more");
    browser.follow("change-password");
    see("password-changed", "notice");
    // A form that is open when the session ends elsewhere.
    browser.visit(PROFILE);
    site.operator(
        &[
            "users",
            "set-password",
            "--user",
            &ada.user,
            "--password-stdin",
        ],
        &ada.password,
    );
    browser.follow("logout");
    see("logged-out", "email");
    browser.visit("/no-such-page");
    problems.extend(inspect(&browser, "not-found"));
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// An inspection that finds nothing on a page full of faults is none.
fn assert_that_faults_are_found(browser: &Browser) {
    let pages = Pages::start();
    let page: String = FAULTS.iter().map(|(html, _)| *html).collect();
    let [faulty, _] = pages.write("/", &page);
    browser.visit(&faulty);
    let found = browser.script(INSPECTION, &[json!(1280)]).to_string();
    let found = found.replace("\\\"", "\"");
    for (_, fault) in FAULTS {
        assert!(found.contains(fault), "{fault} is not in {found}");
    }
}
