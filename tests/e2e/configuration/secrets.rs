//! The checksum's settings: keys from before Rekey, and processes that differ in
//! their secrets. How a secret is changed is in `fleet/changes/secret_change`.

use std::fs;

use rekey_protocol::{ApiKey, ChecksumSecrets};
use rekey_testbed::{FleetOptions, GatewayOptions};
use serde_json::json;

use super::super::support::client::{Client, SCRAPE};
use super::super::support::fleet::{TestFleet, eventually, stat};
use super::start;

const IN_USE: &str = "wasmcustom.rekey.checksum_secret_in_use";
const BEHIND: &str = "wasmcustom.rekey.checksum_secrets_behind";

/// As such keys were issued before there was a checksum.
const LEGACY: &str = "sb_live_0123456789abcdefghijABCDEFGHIJ01";

/// Adds a gateway, and returns a client of it.
fn add(
    fleet: &mut TestFleet,
    options: &FleetOptions,
    change: impl FnOnce(&mut GatewayOptions),
) -> Client {
    let mut gateway = fleet.gateway_options(options);
    change(&mut gateway);
    let gateway = fleet.add_gateway(gateway).expect("a gateway");
    Client::new(&gateway.url())
}

/// Waits until the gateway has said so.
fn says(fleet: &TestFleet, gateway: usize, text: &str) {
    eventually(text, || {
        let log = fleet.gateways[gateway].process.log();
        log.contains(text).then_some(())
    });
}

/// Whether the key's checksum is of this secret.
fn made_with(secret: &str, key: &str) -> bool {
    let key = ApiKey::parse(key.as_bytes()).unwrap();
    ChecksumSecrets::parse(secret).unwrap().verify(&key)
}

#[test]
fn keys_without_a_checksum_are_accepted_only_where_that_is_configured() {
    let (mut fleet, options) = start();
    let required = add(&mut fleet, &options, |_| {});
    let off = add(&mut fleet, &options, |gateway| {
        gateway.plugin = json!({ "checksum": "off" });
    });
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), format!("user,key\nu_legacy,{LEGACY}\n")).unwrap();
    let imported = fleet.store.cli().arg("import").arg(file.path()).output();
    let imported = imported.unwrap();
    assert!(imported.status.success(), "{imported:?}");

    let invalid = (401, "invalid_api_key".to_owned());
    assert_eq!(required.get(SCRAPE, LEGACY).outcome(), invalid);
    assert_eq!(required.regenerate(LEGACY).outcome(), invalid);
    let answered = "wasmcustom.rekey.store_calls.outcome.answered";
    let calls = fleet.gateways[0].stat(answered).unwrap();
    assert_eq!(calls, 0, "refused without a call");

    let served = off.get(SCRAPE, LEGACY);
    assert_eq!(served.json()["user"], "u_legacy");
    // What replaces it has a checksum.
    let new = off.regenerate(LEGACY).new_key();
    for client in [&required, &off] {
        assert_eq!(client.get(SCRAPE, &new).json()["user"], "u_legacy");
    }
    assert_eq!(off.get(SCRAPE, LEGACY).status, 401);
    fleet.assert_no_trap();
}

/// A secret that another gateway dropped, or does not have yet: no key is made that
/// it would refuse, and no good key is refused for its checksum.
#[test]
fn gateways_with_different_secrets_harm_nobody() {
    let (mut fleet, options) = start();
    let old_secret = fleet.secrets.checksum_secret.clone();
    let new_secret = "another-secret-of-32-characters!";
    let old = add(&mut fleet, &options, |_| {});
    let old_key = fleet.user().api_key;
    assert_eq!(old.get(SCRAPE, &old_key).status, 200);
    let new = add(&mut fleet, &options, |gateway| {
        gateway.secrets.checksum_secret = new_secret.to_owned();
    });
    says(&fleet, 0, "no keys are made (503)");
    says(&fleet, 1, "no keys are made (503)");
    says(&fleet, 1, "give this gateway the same secrets");
    eventually("the metrics to say so", || {
        let stats = [IN_USE, BEHIND].map(|name| stat(&fleet.gateways[1], name));
        (stats == [0, 1]).then_some(())
    });
    // Each worker hears of it with its next tick.
    eventually("all workers to ask", || {
        let answers: Vec<_> = (0..8).map(|_| new.get(SCRAPE, &old_key).status).collect();
        answers.iter().all(|status| *status == 200).then_some(())
    });
    for client in [&old, &new] {
        assert_eq!(client.get(SCRAPE, &old_key).status, 200);
        let refused = (503, "key_store_unavailable".to_owned());
        assert_eq!(client.regenerate(&old_key).outcome(), refused);
    }
    let error = fleet.store.add_user("nobody@example.com").err().unwrap();
    let error = error.to_string();
    assert!(
        error.contains("503") && error.contains("one secret in common"),
        "{error}"
    );

    // The one that dropped the old secret too early takes it back.
    fleet.gateways[1].options.secrets.checksum_secret = format!("{new_secret},{old_secret}");
    fleet.gateways[1].restart().unwrap();
    let new_key = eventually("keys to be made again", || {
        let answer = new.regenerate(&old_key);
        (answer.status == 200).then(|| answer.new_key())
    });
    // The store still waits for what the former gateway was granted, perhaps.
    says(&fleet, 1, "keys are made with secret 2 of 2");
    assert!(made_with(&old_secret, &new_key));
    assert_eq!(old.get(SCRAPE, &new_key).status, 200);
    assert_eq!(new.get(SCRAPE, &new_key).status, 200);
    for gateway in &fleet.gateways {
        let log = gateway.process.log();
        assert!(!log.contains(new_secret) && !log.contains(&old_secret));
    }
    fleet.assert_no_trap();
}
