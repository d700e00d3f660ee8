//! What the profile says of the last use of the active key.

use crate::dashboard::{PROFILE, add_user, logged_in, start};
use crate::gateways::last_uses::{Told, is_hour, tell};
use crate::process::{Home, await_some, fresh_digest, rotation};

/// What stands beside "Last used".
fn last_use(page: &str) -> &str {
    let (_, rest) = page.split_once("<dd id=\"last-use\">").unwrap();
    rest.split_once("</dd>").unwrap().0
}

#[test]
fn the_profile_says_in_which_hour_the_key_was_last_used() {
    let home = Home::new();
    let store = start(&home);
    let user = add_user(&store, "ann");
    let ann = logged_in(&store, "ann");
    assert_eq!(last_use(&ann.get(PROFILE).text), "never");
    let age_ms = 26 * 3_600_000;
    let told = Told {
        key: user.digest,
        age_ms,
    };
    assert_eq!(tell(&store, &[told]).status, 200);
    let page = await_some(|| {
        let page = ann.get(PROFILE).text;
        (last_use(&page) != "never").then_some(page)
    });
    let shown = last_use(&page);
    let (time, text) = shown
        .strip_prefix("<time datetime=\"")
        .unwrap()
        .split_once("\">")
        .unwrap();
    assert!(is_hour(time, age_ms), "{shown}");
    // "2025-01-31, between 16:00 and 17:00 UTC"
    let (day, hour) = (&time[..10], &time[11..13]);
    assert!(
        text.starts_with(&format!("{day}, between {hour}:00 and ")),
        "{shown}"
    );
    assert!(text.ends_with(":00 UTC</time>"), "{shown}");
    // The next key is another one.
    let rotated = store.rotate(&rotation(&user.digest, &fresh_digest()));
    assert_eq!(rotated.json()["outcome"], "rotated");
    assert_eq!(last_use(&ann.get(PROFILE).text), "never");
}

#[test]
fn of_a_key_that_is_older_than_the_record_it_is_not_yet_known() {
    let home = Home::new();
    let store = start(&home);
    add_user(&store, "ann");
    let ann = logged_in(&store, "ann");
    let later = "UPDATE meta SET last_uses_since_ms = (SELECT max(created_ms) FROM keys)";
    home.sql().execute(later, []).unwrap();
    assert_eq!(last_use(&ann.get(PROFILE).text), "not yet known");
}
