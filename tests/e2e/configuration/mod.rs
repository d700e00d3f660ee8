//! Configurations that are refused at load, with the field's name in the log,
//! and what those that are not refused change.

mod refused;
mod secrets;
mod update;

use rekey_testbed::FleetOptions;
use serde_json::{Value, json};

use super::support::client::SCRAPE;
use super::support::fleet::{self, TestFleet, eventually};

/// A key store and an upstream; each test adds its gateways.
fn start() -> (TestFleet, FleetOptions) {
    let options = FleetOptions {
        gateways: 0,
        ..FleetOptions::default()
    };
    (fleet::start(options.clone()), options)
}

/// The filter's part of an Envoy configuration, or of a listener's.
fn filter(listener: &mut Value) -> &mut Value {
    let manager = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
    let filters = manager["http_filters"].as_array_mut().unwrap();
    let rekey = filters.iter_mut().find(|filter| filter["name"] == "rekey");
    &mut rekey.expect("the filter")["typed_config"]["config"]
}

fn first_listener(envoy: &mut Value) -> &mut Value {
    &mut envoy["static_resources"]["listeners"][0]
}

/// Everything but the cluster's name has a default.
#[test]
fn the_shortest_configuration_serves() {
    let (mut fleet, options) = start();
    let user = fleet.user();
    let mut gateway = fleet.gateway_options(&options);
    let absent = Value::Null;
    gateway.plugin = json!({
        "checksum": absent, "public_paths": absent, "lease_ms": absent,
        "cache_slots": absent, "max_streams": absent,
        "store": { "rotation_cluster": absent, "feed_clusters": absent, "authority": absent, "resolve_timeout_ms": absent },
    });
    fleet.add_gateway(gateway).expect("a gateway");
    let served = fleet.client().get(SCRAPE, &user.api_key);
    assert_eq!(served.json()["user"], user.user_id);
    assert_eq!(fleet.client().regenerate(&user.api_key).status, 200);
    fleet.assert_no_trap();
}

/// Right where mTLS does the token's work, and said aloud.
#[test]
fn without_a_token_it_starts_and_says_so() {
    let (mut fleet, options) = start();
    let mut gateway = fleet.gateway_options(&options);
    gateway.secrets.store_token = String::new();
    fleet.add_gateway(gateway).expect("a gateway");
    let said = eventually("the warning", || {
        let log = fleet.gateways[0].process.log();
        let mut lines = log.lines();
        let line = lines.find(|line| line.contains("REKEY_STORE_TOKEN is not set"));
        line.map(str::to_owned)
    });
    assert!(said.contains("[warning]"), "{said}");
    // This store wants one, so nobody is let through.
    let key = fleet.user().api_key;
    assert_eq!(fleet.client().get(SCRAPE, &key).status, 503);
    fleet.assert_no_trap();
}
