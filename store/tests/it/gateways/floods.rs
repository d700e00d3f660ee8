//! What the store does for gateways under a flood: it says when it did not know a
//! key and when keys came that it had not known, and takes down what is done with
//! old ones.

use rekey_protocol::REFUSED_MOST;
use serde_json::{Value, json};

use crate::gateways::feed::Gateway;
use crate::process::{Home, Store, User, await_some, fresh_digest, rotation, stdout};

/// Imports a digest for a user.
fn import(home: &Home, store: &Store, user: &str, digest: &str, more: &[&str]) -> bool {
    let path = home.path(&format!("{user}.csv"));
    std::fs::write(&path, format!("user,digest\n{user},{digest}\n")).unwrap();
    let arguments = [&["import", path.to_str().unwrap()], more].concat();
    store.cli(&arguments).status.success()
}

/// A poll of a gateway of its own that tells these uses.
fn told(store: &Store, refused: &Value) -> u16 {
    let body = json!({"gateway": "ab".repeat(16), "lease_ms": 100, "poll": 1, "refused": refused});
    store.post("/v1/feed", &body).status
}

fn uses(user: &User, count: u32) -> Value {
    json!([{"digest": user.digest, "count": count}])
}

/// What the operator is shown of the user's old keys.
fn old_keys(store: &Store, user: &str) -> Value {
    let page = store.admin("GET", &format!("/v1/audit?user={user}"), None);
    page.json()["old_keys"].clone()
}

fn replaced(store: &Store, id: &str) -> User {
    let user = store.add_user(id);
    let rotated = store.rotate(&rotation(&user.digest, &fresh_digest()));
    assert_eq!(rotated.json()["outcome"], "rotated");
    user
}

#[test]
fn s1_an_unknown_key_is_unknown_at_a_point_of_the_history() {
    let home = Home::new();
    let store = home.start();
    let user = store.add_user("ann");
    let head = store.resolve(&user.digest).json()["head"].clone();
    let unknown = store.resolve(&fresh_digest());
    assert_eq!(
        (unknown.status, unknown.code()),
        (404, "unknown_key".into())
    );
    assert_eq!(unknown.json()["head"], head);
    // No other error has one.
    let refused = store.post("/v1/keys/resolve", &json!({})).json();
    assert_eq!(refused.get("head"), None);
}

#[test]
fn the_feed_tells_the_revision_of_the_last_import() {
    let home = Home::new();
    let store = home.start();
    let mut gateway = Gateway::new(100);
    assert_eq!(gateway.follow(&store).get("keys_imported_at"), None);
    // A key that the store has drawn itself is none.
    store.add_user("ann");
    assert_eq!(gateway.follow(&store).get("keys_imported_at"), None);
    let digest = fresh_digest().to_hex();
    assert!(import(&home, &store, "bob", &digest, &["--dry-run"]));
    assert_eq!(gateway.follow(&store).get("keys_imported_at"), None);
    assert!(import(&home, &store, "bob", &digest, &[]));
    let imported = gateway.follow(&store);
    assert_eq!(imported["keys_imported_at"], imported["cursor"]["revision"]);
    // It stays, also for a gateway that begins later.
    store.add_user("eve");
    let later = Gateway::new(100).follow(&store);
    assert_eq!(later["keys_imported_at"], imported["keys_imported_at"]);
    assert_ne!(later["cursor"], imported["cursor"]);
    // In another life gateways begin anew, and know nothing that could hide a key.
    assert_eq!(store.stop(), Some(0));
    let store = home.start();
    assert_eq!(gateway.follow(&store).get("keys_imported_at"), None);
}

#[test]
fn s7_an_import_is_answered_when_every_gateway_has_heard_of_it() {
    let home = Home::new();
    let store = home.start();
    let mut gateway = Gateway::new(30_000);
    gateway.follow(&store);
    let digest = fresh_digest();
    std::thread::scope(|scope| {
        let importing = scope.spawn(|| import(&home, &store, "ann", &digest.to_hex(), &[]));
        // Held until there is something to tell.
        let told = gateway.follow(&store);
        assert_eq!(told["keys_imported_at"], told["cursor"]["revision"]);
        // It is on disk and told, but not acknowledged. That nothing is answered
        // can only be seen for some time; without the barrier it takes less.
        await_some(|| (store.resolve(&digest).status == 200).then_some(()));
        for _ in 0..50 {
            assert_eq!(store.resolve(&digest).status, 200);
        }
        assert!(!importing.is_finished(), "nobody has acknowledged it");
        let ack = scope.spawn(|| gateway.follow(&store));
        assert!(importing.join().unwrap());
        // Wakes the poll that acknowledged.
        store.add_user("bob");
        ack.join().unwrap();
    });
}

#[test]
fn uses_of_replaced_and_revoked_keys_are_shown_to_the_operator() {
    let home = Home::new();
    let store = home.start();
    let (ann, bob) = (replaced(&store, "ann"), store.add_user("bob"));
    assert_eq!(old_keys(&store, "ann"), Value::Null);
    for count in [30, 7] {
        assert_eq!(told(&store, &uses(&ann, count)), 200);
    }
    // Active, unknown: of no use.
    assert_eq!(told(&store, &uses(&bob, 5)), 200);
    let nobody = json!([{"digest": fresh_digest(), "count": 3}]);
    assert_eq!(told(&store, &nobody), 200);
    let seen = await_some(|| {
        let seen = old_keys(&store, "ann");
        (seen[0]["uses"] == 37).then_some(seen)
    });
    assert_eq!(seen[0]["replaced"], true);
    assert_eq!(seen[0]["hint"], ann.key[ann.key.len() - 4..]);
    let text = stdout(&store.cli(&["audit", "--user", "ann"]));
    let closing = format!(
        "The old key …{} was used 37 times since it was replaced, last at {}.",
        seen[0]["hint"].as_str().unwrap(),
        seen[0]["last_at"].as_str().unwrap()
    );
    assert_eq!(text.lines().last(), Some(closing.as_str()));
    let lines = stdout(&store.cli(&["audit", "--user", "ann", "--json"]));
    let events = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    let events: Vec<Value> = events.collect();
    let rows = events
        .iter()
        .filter(|event| event["action"] == "old_key_used");
    assert_eq!(rows.count(), 1);
    assert_eq!(old_keys(&store, "bob"), Value::Null);
    await_some(|| {
        let told = |outcome: &str| {
            store.metric::<u64>(&format!("old_key_uses_total{{outcome=\"{outcome}\"}}"))
        };
        (told("recorded") == Some(37) && told("unknown") == Some(8)).then_some(())
    });
}

#[test]
fn what_was_heard_before_a_stop_is_written_down() {
    let home = Home::new();
    let store = home.start();
    let ann = replaced(&store, "ann");
    for _ in 0..20 {
        assert_eq!(told(&store, &uses(&ann, 1)), 200);
    }
    assert_eq!(store.stop(), Some(0));
    let uses = home.count("SELECT uses FROM old_key_uses");
    assert_eq!(uses, 20);
}

#[test]
fn i8_a_poll_that_tells_too_much_is_refused() {
    let home = Home::new();
    let store = home.start();
    let many = |count: usize| {
        let refused = (0..count).map(|_| json!({"digest": fresh_digest(), "count": u32::MAX}));
        Value::Array(refused.collect())
    };
    assert_eq!(told(&store, &many(REFUSED_MOST)), 200);
    assert_eq!(told(&store, &many(REFUSED_MOST + 1)), 400);
}
