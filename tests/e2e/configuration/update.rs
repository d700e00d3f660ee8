//! A configuration that changes under way, by a file that Envoy watches.

use std::sync::{Arc, Mutex};

use rekey_testbed::Gateway;
use serde_json::{Value, json};

use super::super::support::client::SCRAPE;
use super::super::support::fleet::{eventually, matching};
use super::super::support::xds::{ResourceFile, name_node};
use super::{filter, first_listener, start};

/// The filter's configuration, changed in a copy of the listener.
fn with_plugin(listener: &Value, plugin: &Value) -> Value {
    let mut changed = listener.clone();
    let text = &mut filter(&mut changed)["configuration"]["value"];
    let mut written: Value = serde_json::from_str(text.as_str().unwrap()).unwrap();
    for (name, value) in plugin.as_object().unwrap() {
        written[name] = value.clone();
    }
    *text = written.to_string().into();
    changed
}

fn wait_for(gateway: &Gateway, stat: &str, count: u64) {
    eventually(stat, || {
        (gateway.stat(stat).unwrap() >= count).then_some(())
    });
}

#[test]
fn a_bad_update_is_rejected_and_the_old_configuration_serves_on() {
    let (mut fleet, options) = start();
    let folder = tempfile::tempdir().unwrap();
    let file = ResourceFile::listener(folder.path());
    let listener = Arc::new(Mutex::new(Value::Null));
    let mut gateway = fleet.gateway_options(&options);
    gateway.edit = Some(Arc::new({
        let (file, listener) = (file.clone(), listener.clone());
        move |envoy: &mut Value| {
            let first = first_listener(envoy).take();
            file.write(&first);
            *listener.lock().unwrap() = first;
            envoy["static_resources"]["listeners"] = json!([]);
            envoy["dynamic_resources"] = json!({ "lds_config": file.source() });
            name_node(envoy);
            Ok(())
        }
    }));
    fleet.add_gateway(gateway).expect("a gateway");
    let listener = listener.lock().unwrap().clone();
    let (gateway, client) = (&fleet.gateways[0], fleet.client());
    let old_key = fleet.user().api_key;
    let key = client.regenerate(&old_key).new_key();

    // A bad one: named in the log, and nothing changes.
    file.write(&with_plugin(&listener, &json!({ "lease_ms": 1 })));
    wait_for(gateway, "listener_manager.lds.update_rejected", 1);
    let log = gateway.process.log();
    assert!(log.contains("the configuration is refused: lease_ms: takes 100 to 30000"));
    assert_eq!(client.get(SCRAPE, &key).status, 200);
    assert_eq!(client.send("GET", "/status", &[], "").status, 401);

    // A good one takes its place, and what was revoked stays so (I1).
    let good = json!({ "public_paths": ["/status"], "cache_slots": 8 });
    file.write(&with_plugin(&listener, &good));
    eventually("the new configuration", || {
        let public = client.send("GET", "/status", &[], "");
        (public.status == 200).then_some(())
    });
    assert_eq!(client.get(SCRAPE, &key).status, 200);
    let revoked = (401, "api_key_revoked".to_owned());
    for _ in 0..20 {
        assert_eq!(client.get(SCRAPE, &old_key).outcome(), revoked);
    }
    // Envoy logs a rejected plugin as critically as a trap: so not
    // `assert_no_trap`.
    let reloads = matching(gateway, |name| name.contains("vm_reload"));
    assert!(reloads.values().all(|count| *count == 0), "{reloads:?}");
    assert!(!gateway.process.log().contains("panicked at"));
}
