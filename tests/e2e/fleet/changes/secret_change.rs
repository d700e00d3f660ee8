//! The checksum's secret is changed in the documented order, one process after the
//! other and under load: no good key is refused at any moment.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use rekey_protocol::{ApiKey, ChecksumSecrets};
use rekey_testbed::FleetOptions;
use serde_json::json;

use crate::support::client::{Client, SCRAPE};
use crate::support::fleet::{self, SOON, TestFleet, eventually};

const GATEWAYS: usize = 2;
/// Short, because a restarted gateway's predecessor is waited for.
const LEASE_MS: u32 = 500;
const NEW_SECRET: &str = "another-secret-of-32-characters!";

/// Asks with every good key at every gateway, and judges each answer.
struct Load {
    keys: Mutex<Vec<String>>,
    served: AtomicU64,
    ended: AtomicBool,
}

impl Load {
    fn add(&self, key: &str) {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.push(key.to_owned());
    }

    fn all(&self) -> Vec<String> {
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.clone()
    }

    /// From now on with those only that bear this secret's checksum: the others have
    /// been replaced.
    fn keep(&self, secret: &str) {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.retain(|key| made_with(secret, key));
    }

    fn run(&self, client: &Client) {
        while !self.ended.load(Ordering::Relaxed) {
            for key in self.all() {
                // While a gateway or the store restarts there is no answer, or a 503.
                let Ok(answer) = client.try_get(SCRAPE, &key) else {
                    thread::yield_now();
                    continue;
                };
                let is_there = self.all().contains(&key);
                match answer.status {
                    200 => drop(self.served.fetch_add(1, Ordering::Relaxed)),
                    503 => {}
                    _ => assert!(!is_there, "a good key is refused: {}", answer.body),
                }
            }
        }
    }
}

fn made_with(secret: &str, key: &str) -> bool {
    let key = ApiKey::parse(key.as_bytes()).unwrap();
    ChecksumSecrets::parse(secret).unwrap().verify(&key)
}

/// One process is restarted with these secrets. Then the store makes a key and each
/// gateway does, with a secret that is expected, and all of them are accepted
/// everywhere from then on.
fn change(fleet: &mut TestFleet, process: Process, secrets: &str, expected: &str, load: &Load) {
    match process {
        Process::Store => {
            fleet.store.options.secrets.checksum_secret = secrets.to_owned();
            fleet.store.restart().unwrap();
            // It makes no key before it has heard of a gateway.
            let email = format!("{}@example.com", load.all().len());
            let add = || fleet.store.try_add_user(&email).ok();
            eventually("the store to have heard of a gateway", add);
        }
        Process::Gateway(number) => {
            let gateway = &mut fleet.gateways[number];
            gateway.options.secrets.checksum_secret = secrets.to_owned();
            gateway.restart().unwrap();
        }
    }
    for gateway in 0..GATEWAYS {
        let first = fleet.user().api_key;
        let client = fleet.client_of(gateway);
        let made = eventually("a key to be made", || {
            let answer = client.regenerate(&first);
            (answer.status == 200).then(|| answer.new_key())
        });
        assert!(made_with(expected, &made), "{process:?} {secrets}");
        load.add(&made);
        let added = fleet.user().api_key;
        load.add(&added);
        for gateway in 0..GATEWAYS {
            for key in [&made, &added] {
                let client = fleet.client_of(gateway);
                // 503: as long as the gateway has no connection to a new store.
                let served = eventually("an answer of the gateway", || {
                    let answer = client.get(SCRAPE, key);
                    (answer.status != 503).then_some(answer)
                });
                assert_eq!(served.status, 200, "{process:?}: {}", served.body);
            }
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Process {
    Store,
    Gateway(usize),
}

#[test]
fn the_three_steps_refuse_no_good_key() {
    let mut fleet = fleet::start(FleetOptions {
        gateways: GATEWAYS,
        plugin: json!({ "lease_ms": LEASE_MS }),
        ..FleetOptions::default()
    });
    let old = fleet.secrets.checksum_secret.clone();
    let load = Load {
        keys: Mutex::default(),
        served: AtomicU64::new(0),
        ended: AtomicBool::new(false),
    };
    let clients: Vec<_> = (0..GATEWAYS)
        .map(|gateway| fleet.client_of(gateway).patient(SOON))
        .collect();
    load.add(&fleet.user().api_key);
    let everybody = [Process::Store, Process::Gateway(0), Process::Gateway(1)];
    thread::scope(|scope| {
        for client in &clients {
            scope.spawn(|| load.run(client));
        }
        let _ends = Ends(&load.ended);
        // 1. All learn the new secret; the old one still makes the keys.
        let learnt = format!("{old},{NEW_SECRET}");
        for process in everybody {
            change(&mut fleet, process, &learnt, &old, &load);
        }
        // 2. It goes first, in another order of the processes.
        let changed = format!("{NEW_SECRET},{old}");
        for process in everybody.into_iter().rev() {
            change(&mut fleet, process, &changed, &changed, &load);
        }
        eventually("keys with the new secret", || {
            let user = fleet.user().api_key;
            let made = fleet.client().regenerate(&user).new_key();
            load.add(&made);
            made_with(NEW_SECRET, &made).then_some(())
        });
        // 3. When no key of the old one is in use any more, it goes.
        load.keep(NEW_SECRET);
        for process in everybody {
            change(&mut fleet, process, NEW_SECRET, NEW_SECRET, &load);
        }
    });
    let served = load.served.load(Ordering::Relaxed);
    println!("{served} served");
    assert!(served > 100, "there was no load");
    fleet.assert_no_trap();
}

/// Ends the load when the test ends, also where it fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
