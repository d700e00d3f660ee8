//! A configuration that changes in mid-traffic: the old and the new one live
//! side by side in one process for minutes, and both must know what is revoked
//! (I1, I2, G10).

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rekey_load::{Connection, Key, Probe, get};
use rekey_testbed::{Artifacts, FleetOptions, GatewayOptions, Store};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fleet::run::{LEASE_MS, Run, accepted, gateways, no_fault, plugin, refused};
use crate::support::client::Client;
use crate::support::fleet::{eventually, matching};
use crate::support::store_view::metric;
use crate::support::xds::WatchedListener;

/// Rotations under each configuration.
const UNDER_EACH: usize = 12;
/// A cluster beside the store's.
const OTHER_CLUSTER: &str = "another_store";
/// The gateway whose configuration changes, beside one whose does not.
const CHANGING: usize = 1;

/// A fleet of which one gateway watches a file.
struct Changing {
    run: Run,
    listener: WatchedListener,
    updates: usize,
    _folder: TempDir,
}

impl Changing {
    fn start(users: usize, prepare: impl FnOnce(&mut GatewayOptions)) -> Self {
        let mut run = Run::start(gateways(1, LEASE_MS), users);
        let folder = tempfile::tempdir().unwrap();
        let options = FleetOptions {
            plugin: plugin(LEASE_MS, 5000),
            ..FleetOptions::default()
        };
        let mut gateway = run.fleet.gateway_options(&options);
        prepare(&mut gateway);
        let listener = WatchedListener::of(&mut gateway, folder.path());
        run.add_gateway(gateway);
        Self {
            run,
            listener,
            updates: 0,
            _folder: folder,
        }
    }

    /// Changes the filter's configuration, and returns when it serves.
    fn update(&mut self, change: impl FnOnce(&mut Value, &mut Value)) {
        self.updates += 1;
        // A path that is public from now on shows who serves.
        let public = format!("/version/{}", self.updates);
        self.listener.update(|filter| {
            let text = filter["configuration"]["value"].as_str().unwrap();
            let mut plugin: Value = serde_json::from_str(text).unwrap();
            plugin["public_paths"] = json!([public]);
            change(filter, &mut plugin);
            filter["configuration"]["value"] = plugin.to_string().into();
        });
        let client = Client::new(&self.run.gateway(CHANGING).url());
        eventually("the new configuration", || {
            let answer = client.send("GET", &public, &[], "");
            (answer.status == 200).then_some(())
        });
    }

    /// Rotates each of these keys, through either gateway, with connections
    /// from before the last update and from after it.
    fn rotate_all(&self, keys: &[Arc<Key>], before: &mut [Connection]) {
        let mut probe = self.run.probe();
        for (number, key) in keys.iter().enumerate() {
            for connection in &mut *before {
                let status = connection.exchange(&get(&key.text)).unwrap().status;
                assert_eq!(status, 200, "before");
            }
            let rotated = self.run.rotate_and_check(number % 2, key, &mut probe);
            for connection in &mut *before {
                let old = connection.exchange(&get(&key.text)).unwrap();
                assert_eq!(old.status, 401, "{}", old.body);
                let new = connection.exchange(&get(&rotated.new.text)).unwrap();
                assert_eq!(new.status, 200, "{}", new.body);
            }
        }
    }

    /// Connections that are open before an update.
    fn connections(&self) -> Vec<Connection> {
        let open = |_| {
            let mut connection = self.run.connect(CHANGING);
            connection.open().unwrap();
            connection
        };
        (0..6).map(open).collect()
    }

    fn assert_no_trap(&self) {
        let gateway = self.run.gateway(CHANGING);
        let reloads = matching(gateway, |name| name.contains("vm_reload"));
        assert!(reloads.values().all(|count| *count == 0), "{reloads:?}");
        let log = gateway.process.log();
        assert!(!log.contains("panicked at"), "{log}");
        let rejected = "listener_manager.lds.update_rejected";
        assert_eq!(gateway.stat(rejected).unwrap(), 0, "{log}");
    }
}

/// Adds a cluster to what a gateway is started with: the store's with another
/// name, at this address.
fn add_cluster(gateway: &mut GatewayOptions, address: std::net::SocketAddr) {
    gateway.edit = Some(Arc::new(move |envoy: &mut Value| {
        let clusters = envoy["static_resources"]["clusters"]
            .as_array_mut()
            .unwrap();
        let store = clusters
            .iter()
            .find(|cluster| cluster["name"] == "rekey_store");
        let mut other = store.unwrap().clone();
        other["name"] = OTHER_CLUSTER.into();
        other["load_assignment"]["cluster_name"] = OTHER_CLUSTER.into();
        let endpoints = &mut other["load_assignment"]["endpoints"][0]["lb_endpoints"];
        endpoints[0]["endpoint"]["address"]["socket_address"]["port_value"] = address.port().into();
        clusters.push(other);
        Ok(())
    }));
}

fn use_other_cluster(plugin: &mut Value) {
    plugin["store"]["cluster"] = OTHER_CLUSTER.into();
    plugin["store"]["rotation_cluster"] = OTHER_CLUSTER.into();
    plugin["store"]["feed_clusters"] = json!([OTHER_CLUSTER]);
}

/// Another table, another lease, another name of the same store, and back: the
/// namespaces are others, and what is revoked is revoked in all of them.
#[test]
fn old_and_new_settings_side_by_side_hold() {
    let mut address = None;
    let users = 5 * UNDER_EACH;
    let mut changing = Changing::start(users, |gateway| {
        address = Some(gateway.store);
        add_cluster(gateway, gateway.store);
    });
    let keys = changing.run.keys.clone();
    let mut keys = keys.chunks(UNDER_EACH);
    let traffic = changing.run.traffic();
    changing.rotate_all(keys.next().unwrap(), &mut []);
    let updates: [fn(&mut Value); 4] = [
        |plugin| plugin["cache_slots"] = 64.into(),
        |plugin| plugin["lease_ms"] = 700.into(),
        use_other_cluster,
        |_| {},
    ];
    for update in updates {
        let mut before = changing.connections();
        changing.update(|_, plugin| update(plugin));
        changing.rotate_all(keys.next().unwrap(), &mut before);
    }
    // Each of the four namespaces is a gateway to the store, and none has gone.
    let following = metric(&changing.run.fleet.store, "rekey_store_gateways");
    assert_eq!(following as u64, 1 + 4);
    let tally = no_fault(traffic);
    assert_eq!(tally.unavailable_count(), 0, "{:?}", tally.unavailable);
    changing.assert_no_trap();
}

/// Two builds of the filter in one process: the same names of shared data, two
/// VMs on each worker.
#[test]
fn two_builds_side_by_side_hold() {
    let users = 3 * UNDER_EACH;
    let mut changing = Changing::start(users, |_| {});
    let folder = tempfile::tempdir().unwrap();
    let other = another_build(folder.path());
    let keys = changing.run.keys.clone();
    let mut keys = keys.chunks(UNDER_EACH);
    let traffic = changing.run.traffic();
    changing.rotate_all(keys.next().unwrap(), &mut []);
    for other_first in [true, false] {
        let mut before = changing.connections();
        changing.update(|filter, _| {
            if other_first {
                let file = &mut filter["vm_config"]["code"]["local"]["filename"];
                *file = other.to_str().unwrap().into();
            }
        });
        changing.rotate_all(keys.next().unwrap(), &mut before);
    }
    let tally = no_fault(traffic);
    assert_eq!(tally.unavailable_count(), 0, "{:?}", tally.unavailable);
    changing.assert_no_trap();
}

/// The filter with a custom section more: another hash, so another VM to
/// Envoy, and the same code.
fn another_build(folder: &Path) -> PathBuf {
    let mut module = fs::read(Artifacts::obtain().unwrap().built.filter).unwrap();
    let name = b"another";
    // Section 0, its length, the length of its name, its name.
    let length = name.len() as u8;
    module.extend([0, length + 1, length]);
    module.extend(name);
    let path = folder.join("rekey.wasm");
    fs::write(&path, module).unwrap();
    path
}

/// Another store altogether, and back: neither accepts what only the other
/// knows, and a key that was rotated in the meantime stays dead.
#[test]
fn another_store_does_not_lend_its_trust() {
    let users = 2 * UNDER_EACH;
    let elsewhere = tempfile::tempdir().unwrap();
    let mut other_store = None;
    let mut changing = Changing::start(users, |gateway| {
        let options = rekey_testbed::StoreOptions {
            binary: rekey_testbed::StoreBinary::Plain,
            rotation_interval: "1h".to_owned(),
            env: Vec::new(),
            args: Vec::new(),
            dashboard_port: 0,
            secrets: gateway.secrets.clone(),
        };
        let store = Store::start(elsewhere.path(), options).unwrap();
        add_cluster(gateway, store.address());
        other_store = Some(store);
    });
    let other_store = other_store.unwrap();
    let account = other_store.add_user("elsewhere@example.com").unwrap();
    let foreign = Key::alive(&account.api_key, &account.user_id);
    let run = &changing.run;
    let keys = run.keys.clone();
    let (first, second) = keys.split_at(UNDER_EACH);
    let mut probe = run.probe_of(CHANGING);
    for key in &keys {
        accepted(&mut probe, key);
    }
    unknown(&mut probe, &foreign);

    changing.update(|_, plugin| use_other_cluster(plugin));
    let run = &changing.run;
    let mut probe = run.probe_of(CHANGING);
    for key in &keys {
        unknown(&mut probe, key);
    }
    accepted(&mut probe, &foreign);
    // Rotated while the gateway follows the other store, and while its old
    // root, which still trusts, follows this one.
    let rotated: Vec<_> = first.iter().map(|key| run.rotate(0, key)).collect();

    changing.update(|_, _| {});
    let run = &changing.run;
    let mut probe = run.probe_of(CHANGING);
    for rotated in &rotated {
        refused(&mut probe, &rotated.old);
        accepted(&mut probe, &rotated.new);
    }
    unknown(&mut probe, &foreign);
    for key in second {
        run.rotate_and_check(0, key, &mut probe);
    }
    changing.assert_no_trap();
}

fn unknown(probe: &mut Probe, key: &Key) {
    for answer in probe.ask(&key.text).unwrap() {
        assert_eq!(answer.status, 401);
        assert!(answer.body.contains("invalid_api_key"), "{}", answer.body);
    }
}
