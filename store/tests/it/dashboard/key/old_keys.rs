//! What the profile says of keys that are used after their end.

use serde_json::json;

use crate::dashboard::{PROFILE, add_user, logged_in, start};
use crate::process::{Home, await_some, fresh_digest, rotation};

#[test]
fn the_profile_says_that_an_old_key_is_used() {
    let home = Home::new();
    let store = start(&home);
    let user = add_user(&store, "ann");
    let ann = logged_in(&store, "ann");
    assert!(!ann.get(PROFILE).text.contains("old-keys"));
    let rotated = store.rotate(&rotation(&user.digest, &fresh_digest()));
    assert_eq!(rotated.json()["outcome"], "rotated");
    assert!(!ann.get(PROFILE).text.contains("old-keys"));
    let poll = json!({"gateway": "ab".repeat(16), "lease_ms": 100, "poll": 1,
        "refused": [{"digest": user.digest, "count": 37}]});
    assert_eq!(store.post("/v1/feed", &poll).status, 200);
    let page = await_some(|| Some(ann.get(PROFILE).text).filter(|page| page.contains("old-keys")));
    let hint = &user.key[user.key.len() - 4..];
    let said = format!(
        "Your old key <code>sb_live_…{hint}</code> was used 37 times since it was replaced, \
         last at <time datetime="
    );
    assert!(page.contains(&said), "{page}");
    // Among what happened, too.
    assert!(
        page.contains("Requests with an old key refused, 37 so far"),
        "{page}"
    );
    // Nobody else's.
    add_user(&store, "bob");
    let bob = logged_in(&store, "bob");
    assert!(!bob.get(PROFILE).text.contains("old-keys"));
}
