//! The checksum secrets of the store beside those of its gateways: what keys are
//! made with, who is told what, and what the operator reads.

use std::time::{Duration, Instant};

use rekey_protocol::{ApiKey, ChecksumSecrets};
use serde_json::{Value, json};

use crate::gateways::feed::Gateway;
use crate::process::{Home, Store, stderr, stdout};

const OLD: &str = "old-secret-16-bytes";
const NEW: &str = "new-secret-16-bytes";
const BOTH: &str = "new-secret-16-bytes,old-secret-16-bytes";
/// A poll is held for an eighth of it, so nobody waits for that by chance.
const LEASE: u32 = 30_000;

/// What a gateway with these secrets tells.
fn told(secrets: &str) -> Value {
    json!({ "prints": ChecksumSecrets::parse(secrets).unwrap().prints() })
}

fn print(secret: &str) -> Value {
    json!(ChecksumSecrets::parse(secret).unwrap().prints()[0])
}

/// A gateway that follows, with these secrets.
fn gateway(store: &Store, secrets: &str) -> Gateway {
    let mut gateway = Gateway::new(LEASE);
    gateway.secrets = Some(told(secrets));
    gateway.follow(store);
    gateway
}

fn start(home: &Home, secrets: &str) -> Store {
    home.start_as(home.serve().env("REKEY_CHECKSUM_SECRET", secrets))
}

/// Which of the two a key is made with.
fn made_with(key: &str) -> &'static str {
    let key = ApiKey::parse(key.as_bytes()).unwrap();
    let is_of = |secret: &&str| ChecksumSecrets::parse(secret).unwrap().verify(&key);
    [OLD, NEW].into_iter().find(is_of).expect("one of them")
}

#[test]
fn a_store_that_is_ahead_makes_keys_that_its_gateways_accept() {
    let home = Home::new();
    let store = start(&home, BOTH);
    assert_eq!(made_with(&store.add_user("alice").key), NEW, "no gateways");
    let mut far = gateway(&store, OLD);
    assert_eq!(made_with(&store.add_user("bob").key), OLD);
    let issued = store.cli(&["users", "add", "--email", "carol@example.com"]);
    let text = stdout(&issued);
    let key = text
        .split_whitespace()
        .find(|word| word.starts_with("sb_live_"));
    assert_eq!(made_with(key.unwrap()), OLD, "{text}");
    let log = home.log();
    assert!(log.contains("keys are made with secret 2 of 2"), "{log}");
    assert!(log.contains(&far.id), "{log}");
    assert!(!log.contains(OLD) && !log.contains(NEW));
    assert_eq!(store.metric("checksum_secret_in_use"), Some(2));
    assert_eq!(store.metric("gateways_refusing_checksum_secret"), Some(1));

    // It has learnt the new one.
    far.secrets = Some(told(&format!("{OLD},{NEW}")));
    far.follow(&store);
    // Its former list counts until the lease is over that it was granted with it.
    assert_eq!(made_with(&store.add_user("dave").key), OLD);
}

#[test]
fn without_a_common_secret_no_key_is_made_and_nothing_is_changed() {
    let home = Home::new();
    let store = start(&home, NEW);
    let alice = store.add_user("alice");
    let far = gateway(&store, OLD);
    let added = store.cli(&["users", "add", "--email", "bob@example.com"]);
    assert!(!added.status.success());
    let said = stderr(&added);
    assert!(said.contains("one secret in common"), "{said}");
    let users = stdout(&store.cli(&["users", "list"]));
    assert!(!users.contains("bob@example.com"), "{users}");
    let issue = json!({ "user_id": "alice" }).to_string();
    let issued = store.admin("POST", "/v1/keys/issue", Some(&issue));
    assert_eq!((issued.status, issued.code()), (503, "unavailable".into()));
    // What there is stays good.
    assert_eq!(store.resolve(&alice.digest).json()["state"], "active");
    let log = home.log();
    assert!(
        log.contains("so no keys are made") && log.contains(&far.id),
        "{log}"
    );
    assert_eq!(store.metric("checksum_secret_in_use"), Some(0));
}

#[test]
fn a_store_that_is_behind_says_so_before_its_secret_is_dropped() {
    let home = Home::new();
    let store = start(&home, OLD);
    let far = gateway(&store, BOTH);
    assert_eq!(made_with(&store.add_user("alice").key), OLD);
    let log = home.log();
    assert!(
        log.contains("that this store does not have") && log.contains(&far.id),
        "{log}"
    );
    assert_eq!(store.metric("gateways_refusing_checksum_secret"), Some(0));
}

#[test]
fn each_gateway_is_told_at_once_what_another_one_accepts() {
    // A poll under it is held for longer than a busy machine takes to tell.
    const LONG: u32 = 30_000;
    let home = Home::new();
    let store = start(&home, OLD);
    let mut near = Gateway::new(LONG);
    near.secrets = Some(told(BOTH));
    let first = near.follow(&store)["secrets"].clone();
    let expected = json!({ "settled": true, "issue_with": print(NEW) });
    assert_eq!(first, expected);
    let began = Instant::now();
    std::thread::scope(|scope| {
        let held = scope.spawn(|| near.follow(&store)["secrets"].clone());
        let mut far = Gateway::new(LONG);
        far.secrets = Some(told(OLD));
        let other = far.follow(&store)["secrets"].clone();
        let behind = json!({ "settled": true, "issue_with": print(OLD), "behind": true });
        assert_eq!(other, behind);
        let told = held.join().unwrap();
        assert_eq!(told, json!({ "settled": true, "issue_with": print(OLD) }));
    });
    let took = began.elapsed();
    let held = Duration::from_millis(u64::from(LONG) / 8);
    assert!(took < held, "{took:?}");
}

#[test]
fn a_gateway_of_an_earlier_version_changes_nothing() {
    let home = Home::new();
    let store = start(&home, BOTH);
    let mut old = Gateway::new(LEASE);
    let answer = old.follow(&store);
    assert_eq!(answer["secrets"], json!({}), "nothing is known of it");
    assert_eq!(made_with(&store.add_user("alice").key), NEW);
    let mut new = gateway(&store, BOTH);
    new.secrets = None;
    assert_eq!(new.poll(&store).json()["secrets"]["issue_with"], print(NEW));
}

#[test]
fn after_a_start_no_key_is_made_by_a_guess() {
    let home = Home::new();
    let store = start(&home, OLD);
    let mut far = Gateway::new(10_000);
    far.secrets = Some(told(OLD));
    far.follow(&store);
    assert_eq!(store.stop(), Some(0));
    // The step that comes first was skipped, and nobody has polled yet.
    let store = start(&home, BOTH);
    let added = store.cli(&["users", "add", "--email", "alice@example.com"]);
    assert!(!added.status.success());
    let said = stderr(&added);
    assert!(said.contains("Repeat it in a moment"), "{said}");
    far.cursor = None;
    far.follow(&store);
    assert_eq!(made_with(&store.add_user("bob").key), OLD);
}

#[test]
fn what_is_told_is_checked() {
    let home = Home::new();
    let store = home.start();
    let seventeen = vec!["0011223344556677"; 17];
    for secrets in [
        json!({ "prints": seventeen }),
        json!({ "prints": ["00"] }),
        json!({ "prints": [], "secret": "x" }),
        json!({}),
    ] {
        let mut gateway = Gateway::new(LEASE);
        gateway.secrets = Some(secrets.clone());
        assert_eq!(gateway.poll(&store).status, 400, "{secrets}");
    }
    let mut gateway = Gateway::new(LEASE);
    gateway.secrets = Some(json!({ "prints": [] }));
    let advice = gateway.follow(&store)["secrets"].clone();
    assert_eq!(advice, json!({ "settled": true, "behind": true }));
}
