//! The whole way by keyboard alone: everything is reached by Tab in the order
//! in which it is read, is seen when it has the focus, and obeys Enter.

use serde_json::Value;

use super::site::{PROFILE, REGENERATE, Site, gateways};
use crate::support::browser::{Browser, ENTER, TAB};
use crate::support::fleet::eventually;

/// More than any page here has to stop at.
const MOST_STOPS: usize = 30;

/// What has the focus: its id, whether one sees that, and where it is.
const FOCUSED: &str = "
    const element = document.activeElement;
    if (!element || element === document.body) return null;
    const style = getComputedStyle(element);
    const outlined = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 1;
    const box = element.getBoundingClientRect();
    return {
        id: element.id || element.textContent.trim(),
        visible: element.matches(':focus-visible') && (outlined || style.boxShadow !== 'none')
            && box.width > 0 && box.height > 0,
        row: box.top + box.height / 2 + scrollY,
        height: box.height,
        column: box.left,
    }";

/// Goes on by Tab until this element has the focus, and checks every stop on
/// the way.
fn tab_to(browser: &Browser, id: &str) {
    let mut before: Option<Value> = None;
    let mut way = Vec::new();
    for _ in 0..MOST_STOPS {
        let stop = browser.script(FOCUSED, &[]);
        if !stop.is_null() {
            assert_eq!(stop["visible"], true, "one does not see the focus: {stop}");
            if let Some(before) = &before {
                assert!(
                    is_behind(&stop, before),
                    "{stop} is no next one to {before}"
                );
            }
            if stop["id"] == id {
                return;
            }
            way.push(stop["id"].clone());
            before = Some(stop);
        }
        browser.press(&TAB.to_string());
    }
    panic!("#{id} is not reached on {}: {way:?}", browser.page());
}

/// Whether one reads this later: further down, or further right in one line.
fn is_behind(this: &Value, that: &Value) -> bool {
    let number = |stop: &Value, field: &str| stop[field].as_f64().unwrap();
    let lower = number(this, "row") - number(that, "row");
    let same_line = lower.abs() < number(this, "height").max(number(that, "height")) / 2.0;
    if same_line {
        number(this, "column") > number(that, "column")
    } else {
        lower > 0.0
    }
}

#[test]
fn everything_is_done_by_keyboard_alone() {
    let site = Site::start(gateways(0), 1);
    let ada = site.person();
    let browser = site.browser();
    let enter = ENTER.to_string();
    browser.visit("/login");
    tab_to(&browser, "email");
    browser.press(&ada.email);
    tab_to(&browser, "password");
    browser.press(&ada.password);
    tab_to(&browser, "login");
    browser.press_and_follow(&enter);
    assert_eq!(browser.page(), PROFILE);

    tab_to(&browser, "regenerate");
    browser.press_and_follow(&enter);
    assert_eq!(browser.page(), REGENERATE);
    tab_to(&browser, "cancel");
    browser.press_and_follow(&enter);
    assert_eq!(browser.page(), PROFILE);
    tab_to(&browser, "regenerate");
    browser.press_and_follow(&enter);
    tab_to(&browser, "confirm");
    browser.press_and_follow(&enter);
    let key = browser.text("api-key");
    tab_to(&browser, "copy");
    browser.press(&enter);
    eventually("the word that it was copied", || {
        browser.text("copied").contains("Copied").then_some(())
    });
    assert_eq!(browser.clipboard(), key);

    // Where one has come too early, one gets away again.
    browser.visit(PROFILE);
    tab_to(&browser, "revoke");
    browser.press_and_follow(&enter);
    tab_to(&browser, "confirm");
    browser.press_and_follow(&enter);
    tab_to(&browser, "new-key");
    browser.press_and_follow(&enter);
    assert!(browser.has("api-key"));
    browser.visit(PROFILE);
    tab_to(&browser, "logout");
    browser.press_and_follow(&enter);
    assert_eq!(browser.page(), "/login");
}
