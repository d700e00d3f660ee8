//! One unknown key again and again, as from a client that was set up wrongly: it
//! costs a call for each worker, and none of it hides a key that is imported.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rekey_load::{Connection, get, random_key};
use rekey_testbed::FleetOptions;
use serde_json::json;

use crate::fleet::run::{Run, plugin};
use crate::support::store_view::metric;

const GATEWAYS: usize = 2;
const WORKERS: u32 = 2;
/// Long enough for all that is counted under one.
const LEASE_MS: u32 = 20_000;

const UNKNOWN: &str =
    r#"rekey_store_requests_total{listener="gateway",endpoint="/v1/keys/resolve",status="404"}"#;

fn start() -> Run {
    let mut plugin = plugin(LEASE_MS, 20_000);
    plugin["checksum"] = json!("off");
    let options = FleetOptions {
        gateways: GATEWAYS,
        concurrency: WORKERS,
        plugin,
        ..FleetOptions::default()
    };
    Run::start(options, 0)
}

/// Imports a key for a user of its own, and returns when the command does.
fn import(run: &Run, user: &str, key: &str) {
    let folder = run.fleet.store.database();
    let file = folder.parent().unwrap().join(format!("{user}.csv"));
    fs::write(&file, format!("user,key\n{user},{key}\n")).unwrap();
    let output = run.fleet.store.cli().arg("import").arg(&file).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn an_unknown_key_costs_one_call_a_worker() {
    let run = start();
    let mut probe = run.probe();
    let key = random_key(&mut fastrand::Rng::new());
    let before = metric(&run.fleet.store, UNKNOWN);
    for _ in 0..20 {
        let statuses = probe.statuses(&key).unwrap();
        assert!(statuses.iter().all(|status| *status == 401), "{statuses:?}");
    }
    let asked = metric(&run.fleet.store, UNKNOWN) - before;
    let workers = GATEWAYS as f64 * f64::from(WORKERS);
    assert!((1.0..=workers).contains(&asked), "{asked} calls");
    let hits = |gateway: usize| {
        let name = "wasmcustom.rekey.unknown_keys.event.hit";
        run.gateway(gateway).stat(name).unwrap()
    };
    assert!((0..GATEWAYS).all(|gateway| hits(gateway) > 0));
    run.fleet.assert_no_trap();
}

#[test]
fn an_imported_key_works_everywhere_when_the_command_returns() {
    let run = start();
    let mut probe = run.probe();
    let mut random = fastrand::Rng::new();
    for round in 0..12 {
        let key = random_key(&mut random);
        let statuses = probe.statuses(&key).unwrap();
        assert!(statuses.iter().all(|status| *status == 401), "{statuses:?}");
        let imported = AtomicBool::new(false);
        thread::scope(|scope| {
            // Asked for all the while, so that "unknown" is on its way as well.
            for gateway in 0..GATEWAYS {
                let (run, key, imported) = (&run, &key, &imported);
                scope.spawn(move || {
                    let mut connection = run.connect(gateway);
                    ask_until(&mut connection, key, imported);
                });
            }
            import(&run, &format!("imported-{round}"), &key);
            // Sent after the command had returned: no gateway may have missed it.
            let statuses = probe.statuses(&key);
            imported.store(true, Ordering::Relaxed);
            let statuses = statuses.unwrap();
            assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
        });
    }
    run.fleet.assert_no_trap();
}

fn ask_until(connection: &mut Connection, key: &str, over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        let answer = connection.exchange(&get(key)).unwrap();
        assert!(matches!(answer.status, 200 | 401), "{}", answer.body);
    }
}
