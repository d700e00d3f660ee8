//! The ways to the store: rotations that wait for a gateway that is away, lookups
//! of a slow store, and the change feed do not take each other's places.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use rekey_testbed::{Account, Edit, FleetOptions, ROTATION_CLUSTER, STORE_CLUSTER};
use serde_json::{Value, json};

use crate::support::client::{Answer, REGENERATE, SCRAPE, bearer, raw_request_with};
use crate::support::fleet::{self, TestFleet, eventually, stat};
use crate::support::wire::raw_http::RawConnection;

/// Connections to the store that a cluster allows here, and calls that may wait for
/// one: an eighth of envoy.yaml's,
/// so that an eighth of the crowd serves.
const CONNECTIONS: usize = 128;
/// Keys of one attacker.
const KEYS: usize = 24;
/// Requests with each of them: in all, half as many again as there are connections.
const REPEATED: usize = 8;
/// Calls of so many keys are more than have connections or may wait for one.
const MANY: usize = 2 * CONNECTIONS + 40;
/// Users who come meanwhile and are not known to the gateway.
const COLD: usize = 60;
/// Longer than any of these tests: what waits is let go by the test.
const LEASE_MS: u32 = 30_000;

/// The healthy gateway, and the one that is away with its lease running.
const HEALTHY: usize = 0;
const AWAY: usize = 1;

const LEASE_HELD: &str = "wasmcustom.rekey.lease_held";
const WAITING: &str = "http.edge.downstream_rq_active";

fn start() -> TestFleet {
    fleet::start(FleetOptions {
        gateways: 2,
        plugin: json!({
            "lease_ms": LEASE_MS, "unknown_keys_per_second": 10_000,
            "store": { "resolve_timeout_ms": 20_000 },
        }),
        edit: few_connections(),
        ..FleetOptions::default()
    })
}

fn few_connections() -> Option<Edit> {
    Some(Arc::new(|envoy: &mut Value| {
        let clusters = envoy["static_resources"]["clusters"].as_array_mut();
        for cluster in clusters.into_iter().flatten() {
            if cluster["name"] == STORE_CLUSTER || cluster["name"] == ROTATION_CLUSTER {
                let thresholds = &mut cluster["circuit_breakers"]["thresholds"][0];
                thresholds["max_connections"] = CONNECTIONS.into();
                thresholds["max_pending_requests"] = CONNECTIONS.into();
            }
        }
        Ok(())
    }))
}

/// New users.
fn users(fleet: &TestFleet, count: usize) -> Vec<Account> {
    (0..count).map(|_| fleet.user()).collect()
}

/// Requests on connections of their own, each waiting for its answer.
fn waiting(fleet: &TestFleet, keys: &[&str], times: usize) -> Vec<RawConnection> {
    let keys = keys.iter().enumerate();
    let repeated = keys.flat_map(|(number, key)| (0..times).map(move |_| (number, *key)));
    let open = |(number, key): (usize, &str)| {
        let once = format!("idempotency-key: {:0>40}\r\n", number);
        let mut connection = RawConnection::open(fleet.gateways[HEALTHY].address());
        connection.send(raw_request_with("POST", REGENERATE, key, &once));
        connection
    };
    repeated.map(open).collect()
}

/// Keys that the gateway has never seen are served, and it keeps its lease.
fn cold_keys_are_served(fleet: &TestFleet) {
    let client = fleet.client_of(HEALTHY);
    let began = Instant::now();
    for user in users(fleet, COLD) {
        let answer = client.get(SCRAPE, &user.api_key);
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(stat(&fleet.gateways[HEALTHY], LEASE_HELD), 1);
    }
    println!("{COLD} cold keys in {:?}", began.elapsed());
}

/// Has a lease at both gateways, and takes one of them away.
fn one_gateway_goes_away(fleet: &TestFleet) {
    let known = fleet.user().api_key;
    for gateway in [HEALTHY, AWAY] {
        fleet.until_one_trusts(gateway, &known);
    }
    fleet.gateways[AWAY].process.freeze().unwrap();
}

fn until_so_many_wait(fleet: &TestFleet, least: usize) {
    eventually("the crowd to wait", || {
        let waiting = stat(&fleet.gateways[HEALTHY], WAITING);
        (waiting >= least as u64).then_some(())
    });
}

/// One attacker with some keys, each rotated and then asked about again and again.
#[test]
fn rotations_that_wait_and_their_repetitions_keep_no_lookup_out() {
    let fleet = start();
    let attacker = users(&fleet, KEYS);
    let keys: Vec<_> = attacker.iter().map(|user| user.api_key.as_str()).collect();
    let client = fleet.client_of(HEALTHY);
    for key in &keys {
        assert_eq!(client.get(SCRAPE, key).status, 200);
    }
    one_gateway_goes_away(&fleet);
    let mut crowd = waiting(&fleet, &keys, REPEATED);
    until_so_many_wait(&fleet, KEYS * REPEATED);
    cold_keys_are_served(&fleet);
    // Also now that the old keys are known to be dead.
    crowd.extend(waiting(&fleet, &keys, 2));
    until_so_many_wait(&fleet, KEYS * (REPEATED + 2));
    cold_keys_are_served(&fleet);
    let active = format!("cluster.{ROTATION_CLUSTER}.upstream_rq_active");
    let held = stat(&fleet.gateways[HEALTHY], &active);
    let workers = fleet.gateways[HEALTHY].options.concurrency as usize;
    assert!(
        held <= (KEYS * workers) as u64,
        "{held} calls of {KEYS} keys"
    );

    // Everybody gets what the contract says: one key for each old one.
    fleet.gateways[AWAY].process.thaw().unwrap();
    let mut new_keys = BTreeSet::new();
    for mut connection in crowd {
        let answer = connection.answer();
        assert_eq!(answer.status, 200, "{}", answer.body);
        let body: Value = serde_json::from_str(&answer.body).unwrap();
        new_keys.insert(body["data"]["api_key"].as_str().unwrap().to_owned());
    }
    assert_eq!(new_keys.len(), KEYS);
    fleet.assert_no_trap();
}

/// Many users, or one with many accounts: more rotations than there are places.
#[test]
fn rotations_of_many_keys_keep_no_lookup_out() {
    let fleet = start();
    let many = users(&fleet, MANY);
    let keys: Vec<_> = many.iter().map(|user| user.api_key.as_str()).collect();
    let client = fleet.client_of(HEALTHY);
    for key in &keys {
        assert_eq!(client.get(SCRAPE, key).status, 200);
    }
    one_gateway_goes_away(&fleet);
    // A call waits while its connection is made, and so takes one of the places of
    // those that wait for a connection. Hence one after the other.
    let (connected, pending) = keys.split_at(CONNECTIONS);
    let mut crowd = waiting(&fleet, connected, 1);
    let active = format!("cluster.{ROTATION_CLUSTER}.upstream_rq_active");
    eventually("a call on every connection", || {
        let active = stat(&fleet.gateways[HEALTHY], &active);
        (active == CONNECTIONS as u64).then_some(())
    });
    crowd.extend(waiting(&fleet, pending, 1));
    until_so_many_wait(&fleet, 2 * CONNECTIONS);
    cold_keys_are_served(&fleet);
    fleet.gateways[AWAY].process.thaw().unwrap();
    let mut statuses = BTreeMap::new();
    for mut connection in crowd {
        let answer = connection.answer();
        let is_refused = answer.code() == "key_store_unavailable";
        assert!(answer.status == 200 || is_refused, "{}", answer.body);
        *statuses.entry(answer.status).or_insert(0) += 1;
    }
    println!("{statuses:?}");
    assert!(statuses[&200] >= 2 * CONNECTIONS, "{statuses:?}");
    fleet.assert_no_trap();
}

/// The other way about: a store that answers nothing, and more lookups than there
/// are connections for them.
#[test]
fn lookups_that_wait_keep_no_rotation_out() {
    let fleet = start();
    let (known, cold) = (fleet.user().api_key, fleet.user().api_key);
    for gateway in [HEALTHY, AWAY] {
        fleet.until_one_trusts(gateway, &known);
    }
    let crowd = users(&fleet, MANY);
    let address = fleet.gateways[HEALTHY].address();
    fleet.store.process.freeze().unwrap();
    let lookups: Vec<_> = crowd
        .iter()
        .map(|user| {
            let mut connection = RawConnection::open(address);
            connection.send(raw_request_with("GET", SCRAPE, &user.api_key, ""));
            connection
        })
        .collect();
    let not_sent = "wasmcustom.rekey.store_calls.outcome.not_sent";
    eventually("no place for one more lookup", || {
        (stat(&fleet.gateways[HEALTHY], not_sent) > 0).then_some(())
    });
    let answers: Vec<Answer> = thread::scope(|scope| {
        let rotate = |key: &str| {
            let (client, headers) = (fleet.client_of(HEALTHY), bearer(key));
            scope.spawn(move || client.send("POST", REGENERATE, &headers, ""))
        };
        let rotations = [rotate(&known), rotate(&cold)];
        let active = format!("cluster.{ROTATION_CLUSTER}.upstream_rq_active");
        eventually("both to be at the store", || {
            (stat(&fleet.gateways[HEALTHY], &active) == 2).then_some(())
        });
        fleet.store.process.thaw().unwrap();
        let ended = rotations.into_iter().map(|one| one.join().unwrap());
        ended.collect()
    });
    for answer in answers {
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    drop(lookups);
    fleet.assert_no_trap();
}
