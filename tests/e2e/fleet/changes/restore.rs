//! A backup of the database that is put in place under a running fleet: it is
//! noticed at the start, by the lock file, refused until the operator says that
//! it is meant, and then served (S8, S9).

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rekey_load::Key;
use rekey_testbed::{FEED_CLUSTER, GatewayOptions};
use serde_json::Value;
use ureq::Agent;

use crate::fleet::run::{Run, accepted, gateways, refused};
use crate::support::client::{Client, SCRAPE};
use crate::support::faults::tcp_proxy::TcpProxy;
use crate::support::fleet::eventually;
use crate::support::store_view::metrics;

/// Puts a copy in place of the database, and removes what belonged to it but
/// for the lock file.
fn restore(database: &Path, backup: &[u8]) {
    fs::write(database, backup).unwrap();
    for end in ["-wal", "-shm"] {
        let _ = fs::remove_file(companion(database, end));
    }
}

/// A file beside the database.
fn companion(database: &Path, end: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(end);
    name.into()
}

#[test]
fn a_restored_backup_is_noticed_refused_and_served_once_it_is_accepted() {
    let mut run = Run::start(gateways(3, 500), 2);
    let [before, lost] = &run.keys[..] else {
        panic!("two keys");
    };
    let (before, lost) = (before.clone(), lost.clone());
    let mut probe = run.probe();
    let kept = run.rotate_and_check(0, &before, &mut probe).new;
    run.fleet.store.process.terminate().unwrap();
    let backup = fs::read(run.fleet.store.database()).unwrap();
    run.fleet.store.restart().unwrap();
    wait_until_served(&run, &kept.text);
    let forgotten = run.rotate_and_check(1, &lost, &mut probe).new;

    run.fleet.store.process.kill_9().unwrap();
    restore(&run.fleet.store.database(), &backup);
    run.fleet.store.restart().unwrap();
    assert!(refusal_of(&run).contains("--accept-restore"), "at once");
    every_gateway_says_no(&run, [&kept, &forgotten], &lost);
    let log = run.fleet.store.process.log();
    assert!(log.contains("--accept-restore"), "the store's log says so");
    assert!(
        !metrics(&run.fleet.store).is_empty(),
        "it still can be seen"
    );

    // Another restart accepts nothing, and revives nobody's key meanwhile.
    run.fleet.store.restart().unwrap();
    assert!(refusal_of(&run).contains("--accept-restore"), "still");
    for gateway in &run.fleet.gateways {
        let client = Client::new(&gateway.url());
        assert_eq!(client.get(SCRAPE, &kept.text).status, 503);
        // A gateway may still know that it was revoked.
        let revived = client.get(SCRAPE, &lost.text).status;
        assert!(matches!(revived, 401 | 503), "{revived}");
    }
    run.fleet.store.options.args = vec!["--accept-restore".to_owned()];
    run.fleet.store.restart().unwrap();
    for gateway in 0..3 {
        let client = Client::new(&run.gateway(gateway).url());
        eventually("the fleet to serve again", || {
            let answer = client.get(SCRAPE, &kept.text);
            assert!(matches!(answer.status, 200 | 503), "{answer:?}");
            (answer.status == 200).then_some(())
        });
    }
    let mut probe = run.probe();
    accepted(&mut probe, &kept);
    refused(&mut probe, &before);
    // What the backup does not know has never been.
    for answer in probe.ask(&forgotten.text).unwrap() {
        assert_eq!(answer.status, 401);
        assert!(answer.body.contains("invalid_api_key"), "{}", answer.body);
    }
    run.fleet.assert_no_trap();
}

/// For each key, whatever it knows of it.
fn every_gateway_says_no(run: &Run, good: [&Arc<Key>; 2], revived: &Key) {
    for gateway in &run.fleet.gateways {
        let client = Client::new(&gateway.url());
        let unavailable = (503, "key_store_unavailable".to_owned());
        for key in good {
            // What it knows it may serve until its lease is over.
            let answer = eventually("a refusal", || {
                let answer = client.get(SCRAPE, &key.text);
                (answer.status != 200).then_some(answer)
            });
            assert_eq!(answer.outcome(), unavailable);
        }
        assert_eq!(client.regenerate(&good[0].text).outcome(), unavailable);
        // Revived by the restore; nobody is let in by it.
        assert_ne!(client.get(SCRAPE, &revived.text).status, 200);
    }
}

/// A backup that is put in place without the lock file: only a gateway can tell. It
/// may ask about keys before it polls, and
/// must not forget, by the answers of the restored store, what it knows of the
/// later history.
#[test]
fn a_restored_backup_is_noticed_also_where_lookups_come_first() {
    let mut run = Run::start(gateways(0, 500), 2);
    let proxy = TcpProxy::start(run.fleet.store.address());
    let mut gateway = run.fleet.gateway_options(&gateways(1, 500));
    follow_the_feed_through(&mut gateway, proxy.address());
    run.add_gateway(gateway);
    let (lost, steady) = (run.keys[0].clone(), run.keys[1].clone());
    wait_until_served(&run, &lost.text);
    run.until_trusted(0);
    // Nobody writes: the two files belong together.
    let database = run.fleet.store.database();
    let copy = |end| {
        (
            companion(&database, end),
            fs::read(companion(&database, end)).unwrap(),
        )
    };
    let backup = ["", "-wal"].map(copy);
    run.rotate_and_check(0, &lost, &mut run.probe());

    proxy.refuse();
    let client = Client::new(&run.gateway(0).url());
    run.fleet.store.process.kill_9().unwrap();
    eventually("the end of the lease", || {
        (client.get(SCRAPE, &steady.text).status == 503).then_some(())
    });
    for end in ["-shm", ".lock"] {
        fs::remove_file(companion(&database, end)).unwrap();
    }
    for (file, content) in &backup {
        fs::write(file, content).unwrap();
    }
    run.fleet.store.restart().unwrap();
    eventually("a lookup in the restored store", || {
        let answer = client.get(SCRAPE, &steady.text);
        (answer.status == 200).then_some(())
    });
    proxy.accept();
    eventually("the restore to be noticed", || {
        let is_noticed = refusal_of(&run).contains("--accept-restore");
        is_noticed.then_some(())
    });
    run.fleet.assert_no_trap();
}

/// Has a gateway reach the change feed, and nothing else, at this address.
fn follow_the_feed_through(gateway: &mut GatewayOptions, address: SocketAddr) {
    gateway.edit = Some(Arc::new(move |envoy: &mut Value| {
        let clusters = envoy["static_resources"]["clusters"].as_array_mut();
        let mut clusters = clusters.unwrap().iter_mut();
        let feed = clusters.find(|cluster| cluster["name"] == FEED_CLUSTER);
        let endpoints = &mut feed.unwrap()["load_assignment"]["endpoints"][0];
        let endpoint = &mut endpoints["lb_endpoints"][0]["endpoint"];
        endpoint["address"]["socket_address"]["port_value"] = address.port().into();
        Ok(())
    }));
}

fn wait_until_served(run: &Run, key: &str) {
    for gateway in &run.fleet.gateways {
        let client = Client::new(&gateway.url());
        eventually("the gateway to serve", || {
            (client.get(SCRAPE, key).status == 200).then_some(())
        });
    }
}

/// What the store answers when it is asked about a key.
fn refusal_of(run: &Run) -> String {
    let store = &run.fleet.store;
    let url = format!("{}{}", store.url(), rekey_protocol::RESOLVE_PATH);
    let token = &store.options.secrets.store_token;
    let agent = Agent::config_builder().http_status_as_error(false).build();
    let answer = agent
        .new_agent()
        .post(&url)
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json")
        .send(format!(r#"{{"digest":"{}"}}"#, "0".repeat(64)));
    let text = answer.unwrap().into_body().read_to_string().unwrap();
    let body: Value = serde_json::from_str(&text).unwrap();
    body["error"]["message"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}
