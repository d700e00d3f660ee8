//! Envoy does not start with a bad configuration, and its log says which field
//! is to blame: nothing else reaches the operator.

use std::fs;
use std::sync::Arc;

use rekey_testbed::{FleetOptions, GatewayOptions};
use serde_json::{Value, json};

use super::super::support::fleet::TestFleet;
use super::{filter, first_listener, start};

/// What the filter's refusal begins with.
const REFUSED: &str = "rekey: the configuration is refused: ";

/// Starts a gateway that must not start, and returns what the filter said.
fn refusal(
    fleet: &mut TestFleet,
    options: &FleetOptions,
    change: impl FnOnce(&mut GatewayOptions),
) -> String {
    let mut gateway = fleet.gateway_options(options);
    change(&mut gateway);
    let log = fleet.run_dir.path().join(&gateway.name).join("envoy.log");
    let _ = fs::remove_file(&log);
    let error = fleet.add_gateway(gateway).expect_err("it must not start");
    let error = format!("{error:#}");
    assert!(error.contains("exit status: 1"), "{error}");
    let log = fs::read_to_string(log).unwrap();
    let line = log.lines().find(|line| line.contains(REFUSED));
    let line = line.unwrap_or_else(|| panic!("the filter gave no reason: {error}"));
    assert!(line.contains("[error]"), "{line}");
    let (_, reason) = line.split_once(REFUSED).unwrap();
    reason.to_owned()
}

#[test]
fn a_bad_field_is_refused_by_name() {
    let (mut fleet, options) = start();
    for (plugin, said) in [
        (json!({"chekcsum": "off"}), "unknown field `chekcsum`"),
        (json!({"store": {"timeout": 1}}), "unknown field `timeout`"),
        (
            json!({"store": {"cluster": null}}),
            "missing field `cluster`",
        ),
        (json!({"store": {"cluster": ""}}), "store.cluster: "),
        (
            json!({"store": {"resolve_timeout_ms": 9}}),
            "store.resolve_timeout_ms: takes 10 to",
        ),
        (
            json!({"checksum": "maybe"}),
            "checksum: unknown variant `maybe`",
        ),
        (
            json!({"lease_ms": 30_001}),
            "lease_ms: takes 100 to 30000, not 30001",
        ),
        (json!({"lease_ms": "3s"}), "lease_ms: invalid type"),
        (json!({"cache_slots": 0}), "cache_slots: takes 1 to"),
        (json!({"max_streams": 1.5}), "max_streams: invalid type"),
        (
            json!({"public_paths": ["/a", "docs/"]}),
            "public_paths[1]: ",
        ),
        (json!({"public_paths": ["/a/../b"]}), "public_paths[0]: "),
    ] {
        let reason = refusal(&mut fleet, &options, |gateway| {
            gateway.plugin = plugin.clone();
        });
        assert!(reason.contains(said), "{plugin}: {reason}");
    }
}

#[test]
fn what_is_no_json_is_refused() {
    let (mut fleet, options) = start();
    for text in ["", "checksum: required", "{}", "[]"] {
        let reason = refusal(&mut fleet, &options, |gateway| {
            gateway.edit = Some(Arc::new(move |envoy: &mut Value| {
                filter(first_listener(envoy))["configuration"]["value"] = text.into();
                Ok(())
            }));
        });
        assert!(
            reason.starts_with("plugin configuration: "),
            "{text}: {reason}"
        );
    }
}

#[test]
fn a_bad_secret_is_refused_and_not_shown() {
    let (mut fleet, options) = start();
    let good = fleet.secrets.checksum_secret.clone();
    for (secret, said) in [
        (String::new(), "REKEY_CHECKSUM_SECRET is not set"),
        ("  ".to_owned(), "REKEY_CHECKSUM_SECRET is not set"),
        (
            "t0o-short".to_owned(),
            "REKEY_CHECKSUM_SECRET: secret 1 is shorter",
        ),
        (
            format!("{good},t0o-short"),
            "REKEY_CHECKSUM_SECRET: secret 2 is shorter",
        ),
        (
            format!("{good},"),
            "REKEY_CHECKSUM_SECRET: secret 2 is shorter",
        ),
    ] {
        let reason = refusal(&mut fleet, &options, |gateway| {
            gateway.secrets.checksum_secret = secret.clone();
        });
        assert!(reason.contains(said), "{reason}");
        assert!(
            reason.contains("host_env_keys"),
            "it says what to do: {reason}"
        );
        assert!(!reason.contains("t0o-short") && !reason.contains(&good));
    }
    let reason = refusal(&mut fleet, &options, |gateway| {
        gateway.secrets.store_token = "t0o-short".to_owned();
    });
    assert!(reason.contains("REKEY_STORE_TOKEN: "), "{reason}");
    assert!(!reason.contains("t0o-short"), "{reason}");
}

/// The variable is set, and the gateway does not let the filter read it.
#[test]
fn a_secret_that_is_not_passed_on_is_refused() {
    let (mut fleet, options) = start();
    let reason = refusal(&mut fleet, &options, |gateway| {
        gateway.edit = Some(Arc::new(|envoy: &mut Value| {
            let variables =
                &mut filter(first_listener(envoy))["vm_config"]["environment_variables"];
            variables["host_env_keys"] = json!(["REKEY_STORE_TOKEN"]);
            Ok(())
        }));
    });
    assert!(
        reason.contains("REKEY_CHECKSUM_SECRET is not set"),
        "{reason}"
    );
}
