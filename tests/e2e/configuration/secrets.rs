//! The checksum's settings: keys from before Rekey, and a secret that changes.

use std::fs;

use serde_json::json;
use xtask::testbed::{FleetOptions, GatewayOptions};

use super::super::support::client::{Client, SCRAPE};
use super::super::support::fleet::TestFleet;
use super::start;

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

#[test]
fn keys_without_a_checksum_are_accepted_only_where_that_is_configured() {
    let Some((mut fleet, options)) = start() else {
        return;
    };
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

/// First all gateways learn the new secret beside the old one; when no key of
/// the old one is left it goes.
#[test]
fn the_checksums_secret_can_change() {
    let Some((mut fleet, options)) = start() else {
        return;
    };
    let old_secret = fleet.secrets.checksum_secret.clone();
    let new_secret = "another-secret-of-32-characters!";
    let before = add(&mut fleet, &options, |_| {});
    let both = add(&mut fleet, &options, |gateway| {
        gateway.secrets.checksum_secret = format!("{new_secret}, {old_secret}");
    });
    let after = add(&mut fleet, &options, |gateway| {
        gateway.secrets.checksum_secret = new_secret.to_owned();
    });
    let old_key = fleet.user().api_key;
    assert_eq!(before.get(SCRAPE, &old_key).status, 200);
    assert_eq!(both.get(SCRAPE, &old_key).status, 200);
    let invalid = (401, "invalid_api_key".to_owned());
    assert_eq!(after.get(SCRAPE, &old_key).outcome(), invalid);

    let new_key = both.regenerate(&old_key).new_key();
    assert_eq!(before.get(SCRAPE, &new_key).outcome(), invalid);
    assert_eq!(both.get(SCRAPE, &new_key).status, 200);
    assert_eq!(after.get(SCRAPE, &new_key).status, 200);
    let revoked = (401, "api_key_revoked".to_owned());
    assert_eq!(both.get(SCRAPE, &old_key).outcome(), revoked);
    fleet.assert_no_trap();
}
