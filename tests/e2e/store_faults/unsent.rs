//! Calls that the gateway itself refuses to send: nothing can have happened.

use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rekey_testbed::{Edit, FleetOptions, STORE_CLUSTER};
use serde_json::{Value, json};

use super::super::support::client::SCRAPE;
use super::super::support::fleet::{self, eventually};
use super::super::support::stand_ins::scripted_store::{Act, Asked, Then, active, honest, marked};
use super::super::support::xds::{ResourceFile, name_node};
use super::{USER, assert_unavailable, start};

/// How long a call that was sent would be waited for.
const RESOLVE_TIMEOUT_MS: u64 = 20_000;
/// What is not sent is not waited for; this is for a busy machine.
const AT_ONCE: Duration = Duration::from_millis(RESOLVE_TIMEOUT_MS / 2);

/// A change of the key store's cluster.
fn store_cluster(change: impl Fn(&mut Value) + Send + Sync + 'static) -> Option<Edit> {
    Some(Arc::new(move |envoy: &mut Value| {
        name_node(envoy);
        let clusters = envoy["static_resources"]["clusters"].as_array_mut();
        let mut clusters = clusters.into_iter().flatten();
        change(
            clusters
                .find(|cluster| cluster["name"] == STORE_CLUSTER)
                .unwrap(),
        );
        Ok(())
    }))
}

/// With one way to the store, which the tests shut.
fn patient() -> Value {
    let one_way = Value::Null;
    json!({ "store": { "rotation_cluster": one_way, "resolve_timeout_ms": RESOLVE_TIMEOUT_MS } })
}

fn assert_unsent(options: FleetOptions) {
    let fleet = fleet::start(options);
    let client = fleet.client();
    let key = fleet.user().api_key;
    let began = Instant::now();
    assert_unavailable("get", &client.get(SCRAPE, &key));
    assert_unavailable("regenerate", &client.regenerate(&key));
    assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
    let counted = "wasmcustom.rekey.store_calls.outcome.not_sent";
    assert_eq!(fleet.gateways[0].stat(counted).unwrap(), 2);
    fleet.assert_no_trap();
}

#[test]
fn a_cluster_that_is_not_there() {
    assert_unsent(FleetOptions {
        plugin: {
            let mut plugin = patient();
            plugin["store"]["cluster"] = "nowhere".into();
            plugin
        },
        ..FleetOptions::default()
    });
}

#[test]
fn a_cluster_without_a_host() {
    assert_unsent(FleetOptions {
        edit: store_cluster(|cluster| cluster["load_assignment"]["endpoints"] = json!([])),
        plugin: patient(),
        ..FleetOptions::default()
    });
}

/// RFC 6761, 6.4: no resolver knows a name below `invalid`.
#[test]
fn a_cluster_whose_name_does_not_resolve() {
    assert_unsent(FleetOptions {
        edit: store_cluster(|cluster| {
            cluster["type"] = "STRICT_DNS".into();
            let endpoint = &mut cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0];
            endpoint["endpoint"]["address"]["socket_address"]["address"] = "store.invalid".into();
        }),
        plugin: patient(),
        ..FleetOptions::default()
    });
}

/// One call is on its way and one waits for its connection: no room for more.
#[test]
fn a_full_circuit_breaker() {
    let options = FleetOptions {
        // Each worker may have a connection, whatever the limit.
        concurrency: 1,
        edit: store_cluster(|cluster| {
            let limits = json!({ "max_connections": 1, "max_pending_requests": 1 });
            cluster["circuit_breakers"]["thresholds"] = json!([limits]);
        }),
        plugin: patient(),
        ..FleetOptions::default()
    };
    let (fleet, store) = start(options, |_| Act::Keep(Then::Hang));
    let client = &fleet.client();
    // Requests with one key would share one call.
    let keys: Vec<_> = (0..4).map(|_| fleet.user().api_key).collect();
    thread::scope(|scope| {
        let fill = |key: &'_ str| {
            let key = key.to_owned();
            scope.spawn(move || client.get(SCRAPE, &key))
        };
        let on_its_way = fill(&keys[0]);
        eventually("a call on its way", || store.take_asked().pop());
        let in_line = fill(&keys[1]);
        eventually("a call that waits for a connection", || {
            let pending = "cluster.rekey_store.upstream_rq_pending_active";
            (fleet.gateways[0].stat(pending).unwrap() == 1).then_some(())
        });
        let began = Instant::now();
        assert_unavailable("get", &client.get(SCRAPE, &keys[2]));
        assert_unavailable("regenerate", &client.regenerate(&keys[3]));
        assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
        assert!(!on_its_way.is_finished() && !in_line.is_finished());
        store.follow(honest(USER));
        store.hang_up();
        for filled in [on_its_way, in_line] {
            assert_eq!(filled.join().unwrap().status, 200, "after a retry");
        }
    });
    assert_eq!(client.get(SCRAPE, &keys[2]).status, 200);
    fleet.assert_no_trap();
}

/// X1: the key was resolved, and then the gateway refuses to send the rotation
/// itself. The host goes away between the two, which EDS by file makes exact.
#[test]
fn a_rotation_that_the_gateway_refuses_to_send() {
    let folder = tempfile::tempdir().unwrap();
    let file = ResourceFile::endpoints(folder.path());
    let first = file.clone();
    let assignments = Arc::new(Mutex::new(Value::Null));
    let seen = assignments.clone();
    let by_file = store_cluster(move |cluster| {
        let assignment = cluster["load_assignment"].take();
        first.write(&assignment);
        *seen.lock().unwrap() = assignment;
        cluster["type"] = "EDS".into();
        cluster.as_object_mut().unwrap().remove("load_assignment");
        cluster["eds_cluster_config"] = json!({ "eds_config": first.source() });
    });
    let (arrived, arrivals) = mpsc::channel();
    let (proceed, may_proceed) = mpsc::channel();
    let script = move |asked: &Asked| {
        if asked.is_resolve() {
            arrived.send(()).unwrap();
            may_proceed.recv().unwrap();
        }
        Act::Send(marked(200, &active(USER)), Then::Live)
    };
    let options = FleetOptions {
        edit: by_file,
        plugin: patient(),
        ..FleetOptions::default()
    };
    let (fleet, store) = start(options, script);
    let key = fleet.user().api_key;
    let client = fleet.client();
    thread::scope(|scope| {
        let rotation = scope.spawn(|| client.regenerate(&key));
        arrivals.recv().unwrap();
        let mut none = assignments.lock().unwrap().clone();
        none["endpoints"] = json!([]);
        file.write(&none);
        eventually("the host to be gone", || {
            let hosts = fleet.gateways[0].stat("cluster.rekey_store.membership_total");
            (hosts.unwrap() == 0).then_some(())
        });
        proceed.send(()).unwrap();
        assert_unavailable("regenerate", &rotation.join().unwrap());
    });
    assert!(store.take_asked().iter().all(Asked::is_resolve));
    fleet.assert_no_trap();
}
