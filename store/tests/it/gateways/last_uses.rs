//! When a key was last used, to the hour: told by gateways with their polls, seen
//! by a look-up, shown on the profile and in the list of users.

use std::time::{SystemTime, UNIX_EPOCH};

use rekey_protocol::{Digest, USED_MOST};
use rusqlite::types::Null;
use serde_json::{Value, json};

use crate::gateways::feed::Gateway;
use crate::process::{Answer, Home, Store, await_some, fresh_digest, rotation, stdout};

const HOUR_MS: u64 = 3_600_000;

/// A use that a gateway tells.
#[derive(Clone, Copy)]
pub(crate) struct Told {
    pub key: Digest,
    pub age_ms: u64,
}

fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_millis().try_into().unwrap()
}

/// Whether it is the beginning of the hour so long ago, or of the one before where
/// that has just begun.
pub(crate) fn is_hour(seen: &str, age_ms: u64) -> bool {
    [age_ms, age_ms + 60_000].into_iter().any(|age| {
        let hour = (wall_ms() - age) / HOUR_MS * HOUR_MS;
        let hour = jiff::Timestamp::from_millisecond(hour.try_into().unwrap());
        hour.unwrap().to_string() == seen
    })
}

/// Tells uses by a poll of a gateway that is seen once.
pub(crate) fn tell(store: &Store, uses: &[Told]) -> Answer {
    let uses = uses.iter();
    let uses = uses.map(|told| json!({"digest": told.key, "age_ms": told.age_ms}));
    let used: Vec<_> = uses.collect();
    let body = json!({"gateway": "ab".repeat(16), "lease_ms": 100, "poll": 1, "used": used});
    store.post("/v1/feed", &body)
}

fn tell_one(store: &Store, key: Digest, age_ms: u64) {
    let answer = tell(store, &[Told { key, age_ms }]);
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// What the operator sees of a user's active key.
fn key_of(store: &Store, user: &str) -> Value {
    let page = store.admin("GET", "/v1/users", None).json();
    let users = page["users"].as_array().unwrap();
    let found = users.iter().find(|entry| entry["user_id"] == user);
    found.unwrap()["key"].clone()
}

fn is_never_used(store: &Store, user: &str) -> bool {
    let key = key_of(store, user);
    key["last_used_at"].is_null() && key["never_used"] == true
}

/// Waits until a use so long ago is the last one.
fn await_use(store: &Store, user: &str, age_ms: u64) {
    await_some(|| {
        let key = key_of(store, user);
        let seen = key["last_used_at"].as_str()?;
        assert_eq!(key["never_used"], false);
        is_hour(seen, age_ms).then_some(())
    });
}

/// Waits until what was told so far is on record: this comes after it.
fn await_written(store: &Store, id: &str) {
    let last = store.add_user(id);
    tell_one(store, last.digest, 0);
    await_use(store, id, 0);
}

fn metric(store: &Store, outcome: &str) -> u64 {
    let series = format!("last_uses_total{{outcome=\"{outcome}\"}}");
    store.metric(&series).unwrap_or(0)
}

/// How many rows were written: at least so many, which is counted some moments after
/// they are there.
fn recorded(store: &Store, least: u64) -> u64 {
    await_some(|| (metric(store, "recorded") >= least).then_some(()));
    metric(store, "recorded")
}

#[test]
fn what_a_gateway_tells_is_in_the_list_of_users() {
    let home = Home::new();
    let store = home.start();
    let ann = store.add_user("ann");
    assert!(is_never_used(&store, "ann"));
    let last_column = || {
        let lines = stdout(&store.cli(&["users", "list"]));
        let ends = lines
            .lines()
            .map(|line| line.rsplit('\t').next().unwrap().to_owned());
        ends.collect::<Vec<_>>()
    };
    assert_eq!(last_column(), ["LAST_USED", "never"]);
    tell_one(&store, ann.digest, 5);
    await_use(&store, "ann", 5);
    assert!(is_hour(&last_column()[1], 5));
    let line = stdout(&store.cli(&["users", "list", "--json"]));
    let user: Value = serde_json::from_str(&line).unwrap();
    assert!(is_hour(user["key"]["last_used_at"].as_str().unwrap(), 5));
    // A user without a key has no use of one.
    let revoked = store.cli(&["keys", "revoke", "--user", "ann"]);
    assert!(revoked.status.success());
    assert_eq!(last_column()[1], "-");
}

#[test]
fn a_look_up_for_a_client_is_a_use() {
    let home = Home::new();
    let store = home.start();
    let (ann, bob) = (store.add_user("ann"), store.add_user("bob"));
    assert_eq!(store.resolve(&ann.digest).status, 200);
    await_use(&store, "ann", 0);
    // An unknown key's, a dead key's: none.
    store.resolve(&fresh_digest());
    let next = fresh_digest();
    let rotated = store.rotate(&rotation(&bob.digest, &next)).json();
    assert_eq!(rotated["outcome"], "rotated");
    assert_eq!(store.resolve(&bob.digest).json()["state"], "revoked");
    await_written(&store, "eve");
    let used = "SELECT count(*) FROM keys WHERE last_used_ms IS NOT NULL";
    assert_eq!(home.count(used), 2, "ann's and eve's");
    // The new key has not been used yet, whatever the old one was.
    assert!(is_never_used(&store, "bob"));
    assert_eq!(store.resolve(&next).status, 200);
    await_use(&store, "bob", 0);
}

#[test]
fn the_age_counts_and_older_words_change_nothing() {
    let home = Home::new();
    let store = home.start();
    let users = ["ann", "bob", "eve"].map(|id| (id, store.add_user(id).digest));
    let ages = [3 * HOUR_MS, 60_000, 49 * 24 * HOUR_MS];
    let uses = users.iter().zip(ages);
    let uses: Vec<_> = uses
        .map(|((_, key), age_ms)| Told { key: *key, age_ms })
        .collect();
    assert_eq!(tell(&store, &uses).status, 200);
    for ((id, _), age_ms) in users.iter().zip(ages) {
        await_use(&store, id, age_ms);
    }
    // Late, or twice, or by another gateway.
    for age_ms in [5 * HOUR_MS, 3 * HOUR_MS, u64::from(u32::MAX)] {
        tell_one(&store, users[0].1, age_ms);
    }
    await_written(&store, "last");
    await_use(&store, "ann", 3 * HOUR_MS);
}

#[test]
fn no_time_in_the_future_is_shown_whatever_clock_was_wrong() {
    let home = Home::new();
    let store = home.start();
    let ann = store.add_user("ann");
    // Ages are counts: there is no way to say a time to come.
    for age in [
        json!(-1),
        json!(-3_600_000),
        json!("2036-01-01T00:00:00Z"),
        json!(1e9),
    ] {
        let body = json!({"gateway": "ab".repeat(16), "lease_ms": 100, "poll": 1,
            "used": [{"digest": ann.digest, "age_ms": age}]});
        assert_eq!(store.post("/v1/feed", &body).status, 400, "{age}");
    }
    assert!(is_never_used(&store, "ann"));
    // The store's own clock was ten years ahead when it wrote this.
    let ahead = i64::try_from(wall_ms() + 87_600 * HOUR_MS).unwrap();
    let plant = "UPDATE keys SET last_used_ms = ?1";
    home.sql().execute(plant, [ahead]).unwrap();
    await_use(&store, "ann", 0);
    // And the next use takes its place.
    tell_one(&store, ann.digest, 2 * HOUR_MS);
    await_use(&store, "ann", 2 * HOUR_MS);
}

#[test]
fn a_use_that_is_told_after_the_end_of_the_key_was_before_it() {
    let home = Home::new();
    let store = home.start();
    let (ann, bob) = (store.add_user("ann"), store.add_user("bob"));
    for user in [&ann, &bob] {
        let rotated = store
            .rotate(&rotation(&user.digest, &fresh_digest()))
            .json();
        assert_eq!(rotated["outcome"], "rotated");
    }
    let ended = i64::try_from(wall_ms() - 5 * HOUR_MS).unwrap();
    let moved = "UPDATE keys SET revoked_ms = ?1 WHERE state = 'revoked'";
    home.sql().execute(moved, [ended]).unwrap();
    tell_one(&store, ann.digest, 7 * HOUR_MS);
    tell_one(&store, bob.digest, 0);
    await_written(&store, "last");
    let last_of = |key: &Digest| -> i64 {
        let sql = home.sql();
        let last = "SELECT last_used_ms FROM keys WHERE digest = ?1";
        sql.query_row(last, [key.as_bytes()], |row| row.get(0))
            .unwrap()
    };
    let hour = |at: i64| at / HOUR_MS as i64 * HOUR_MS as i64;
    assert!(
        [0, 1]
            .map(|late| hour(ended - 2 * HOUR_MS as i64 + late * 60_000))
            .contains(&last_of(&ann.digest))
    );
    assert_eq!(last_of(&bob.digest), hour(ended));
    // It is nobody's word on the keys that took their place.
    assert!(is_never_used(&store, "ann") && is_never_used(&store, "bob"));
}

#[test]
fn it_outlives_the_store_and_what_was_heard_before_a_stop_is_written() {
    let home = Home::new();
    let store = home.start();
    let users: Vec<_> = (0..USED_MOST)
        .map(|n| store.add_user(&format!("u{n}")))
        .collect();
    let uses = users.iter().map(|user| Told {
        key: user.digest,
        age_ms: HOUR_MS,
    });
    assert_eq!(tell(&store, &uses.collect::<Vec<_>>()).status, 200);
    assert_eq!(store.stop(), Some(0));
    let used = "SELECT count(*) FROM keys WHERE last_used_ms IS NOT NULL";
    assert_eq!(home.count(used), i64::try_from(USED_MOST).unwrap());
    let store = home.start();
    await_use(&store, "u0", HOUR_MS);
    // Told again in its next life, it is written no second time.
    tell_one(&store, users[0].digest, HOUR_MS);
    await_written(&store, "last");
    assert_eq!(recorded(&store, 1), 1);
}

#[test]
fn a_key_is_written_once_an_hour_however_many_tell_it() {
    let home = Home::new();
    let store = home.start();
    let ann = store.add_user("ann");
    tell_one(&store, ann.digest, 0);
    await_use(&store, "ann", 0);
    for _ in 0..20 {
        tell_one(&store, ann.digest, 0);
        store.resolve(&ann.digest);
    }
    await_written(&store, "last");
    // Three, if an hour ended meanwhile.
    let recorded = recorded(&store, 2);
    assert!((2..=3).contains(&recorded), "{recorded}");
    assert!(metric(&store, "known") >= 19);
    assert_eq!(metric(&store, "dropped"), 0);
}

#[test]
fn it_is_no_change_and_wakes_no_poll() {
    let home = Home::new();
    let store = home.start();
    let ann = store.add_user("ann");
    // Held for nearly four seconds: longer than a use takes to be written.
    let mut gateway = Gateway::new(30_000);
    let before = gateway.follow(&store);
    std::thread::scope(|scope| {
        let held = scope.spawn(|| gateway.follow(&store));
        tell_one(&store, ann.digest, 0);
        await_use(&store, "ann", 0);
        assert!(!held.is_finished(), "woken for nothing");
        let after = held.join().unwrap();
        assert_eq!(after["cursor"], before["cursor"]);
    });
    let head = &store.resolve(&ann.digest).json()["head"];
    assert_eq!(head, &before["cursor"]);
}

#[test]
fn of_a_database_that_is_older_it_is_unknown_until_the_next_use() {
    let home = Home::new();
    let store = home.start();
    let (ann, _) = (store.add_user("ann"), store.add_user("bob"));
    store.resolve(&ann.digest);
    await_use(&store, "ann", 0);
    assert_eq!(store.stop(), Some(0));
    // As the step leaves it that comes to a database of an earlier release.
    home.sql()
        .execute_batch(
            "UPDATE keys SET last_used_ms = NULL;
             UPDATE meta SET last_uses_since_ms = (SELECT max(created_ms) FROM keys);",
        )
        .unwrap();
    let store = home.start();
    for id in ["ann", "bob"] {
        let key = key_of(&store, id);
        assert_eq!(
            (&key["last_used_at"], &key["never_used"]),
            (&Value::Null, &json!(false))
        );
    }
    let lines = stdout(&store.cli(&["users", "list"]));
    assert!(
        lines
            .lines()
            .skip(1)
            .all(|line| line.ends_with("\tunknown")),
        "{lines}"
    );
    // A new key is one of which it is known.
    store.add_user("eve");
    assert!(is_never_used(&store, "eve"));
    tell_one(&store, ann.digest, 0);
    await_use(&store, "ann", 0);
    // Nothing on record for a moment is still nothing.
    home.sql()
        .execute("UPDATE keys SET last_used_ms = ?1", [Null])
        .unwrap();
    assert!(is_never_used(&store, "eve"));
}

#[test]
fn i8_a_gateway_tells_as_much_as_there_is_room_for() {
    let home = Home::new();
    let store = home.start();
    let many = |count: usize| {
        let uses = (0..count).map(|_| Told {
            key: fresh_digest(),
            age_ms: u64::from(u32::MAX),
        });
        tell(&store, &uses.collect::<Vec<_>>())
    };
    let answer = many(USED_MOST);
    assert_eq!(
        (answer.status, &answer.json()["used_most"]),
        (200, &json!(USED_MOST))
    );
    let refused = many(USED_MOST + 1);
    assert_eq!(refused.status, 400);
    assert!(
        refused.text.contains("used takes 100 keys at most"),
        "{refused:?}"
    );
    // Keys that nobody has leave nothing behind.
    await_written(&store, "last");
    assert_eq!(home.count("SELECT count(*) FROM keys"), 1);
    assert_eq!(recorded(&store, 1), 1);
}
