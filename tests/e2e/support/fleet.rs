//! Fleets to test, and what is seen of them from outside.
//!
//! A machine without an Envoy cannot run these tests: they fail there, and say
//! what is missing. `cargo xtask test` leaves them out as a whole, and says so.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use rekey_testbed::{self as testbed, Account, Fleet, FleetOptions, Gateway, GatewayOptions};

use crate::support::client::{Client, SCRAPE};

/// How long anything that is to happen soon may take on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(20);
/// The filter's counter of further attempts under the same rotation id.
pub(crate) const RETRIED: &str = "wasmcustom.rekey.rotations.event.retried";
/// The filter's counter of rotations whose client left before the answer.
pub(crate) const ABANDONED: &str = "wasmcustom.rekey.rotations.event.abandoned";
/// Lines of each log that a failed test shows.
const TAIL_LINES: usize = 40;
/// What Envoy logs when a VM traps, panics or is lost.
const SIGNS_OF_A_TRAP: [&str; 5] = [
    "Function: proxy_on",
    "Uncaught RuntimeError",
    "panicked at",
    "][critical][",
    "VM failed",
];

/// A running fleet; a test that fails shows the end of its logs.
pub(crate) struct TestFleet {
    fleet: Fleet,
    users: AtomicU32,
}

/// Starts a fleet.
///
/// # Panics
/// It does not start, or there is no Envoy.
pub(crate) fn start(options: FleetOptions) -> TestFleet {
    TestFleet {
        fleet: Fleet::start(options).expect("a fleet"),
        users: AtomicU32::new(0),
    }
}

/// Starts a fleet of one gateway, whose own options are changed when the rest is
/// there: to put something before its key store or its API, which is returned.
///
/// # Panics
/// As [`start`].
pub(crate) fn start_with<T>(
    options: FleetOptions,
    change: impl FnOnce(&mut GatewayOptions) -> T,
) -> (TestFleet, T) {
    let options = FleetOptions {
        gateways: 0,
        ..options
    };
    let mut fleet = start(options.clone());
    let mut gateway = fleet.gateway_options(&options);
    let changed = change(&mut gateway);
    fleet.add_gateway(gateway).expect("a gateway");
    (fleet, changed)
}

/// Waits until `condition` has something.
///
/// # Panics
/// It has nothing in good time.
pub(crate) fn eventually<T>(what: &str, condition: impl FnMut() -> Option<T>) -> T {
    let mut condition = condition;
    testbed::until(what, SOON, || Ok(condition())).unwrap()
}

impl TestFleet {
    /// A client of the first gateway.
    pub(crate) fn client(&self) -> Client {
        self.client_of(0)
    }

    /// A client of that gateway, counted from 0.
    pub(crate) fn client_of(&self, gateway: usize) -> Client {
        Client::new(&self.gateways[gateway].url())
    }

    /// A user of its own, with a first key.
    pub(crate) fn user(&self) -> Account {
        let number = self.users.fetch_add(1, Ordering::Relaxed);
        let email = format!("user-{number}@example.com");
        self.store.add_user(&email).expect("a new user")
    }

    /// Waits until a gateway without its store trusts nothing any more. The key
    /// is one that it knows.
    pub(crate) fn until_the_lease_is_over(&self, key: &str) {
        let client = self.client();
        eventually("the end of the lease", || {
            let answer = client.get(SCRAPE, key);
            assert!(matches!(answer.status, 200 | 503), "{answer:?}");
            (answer.status == 503).then_some(())
        });
    }

    /// Waits until the first gateway trusts its cache (again). The key is a good
    /// one. Not by the gauges, which are as old as the last tick.
    pub(crate) fn until_it_trusts(&self, key: &str) {
        self.until_one_trusts(0, key);
    }

    /// The same of any gateway: it holds a lease then, and a rotation waits for it.
    pub(crate) fn until_one_trusts(&self, gateway: usize, key: &str) {
        let client = self.client_of(gateway);
        let hits = || stat(&self.gateways[gateway], "wasmcustom.rekey.cache.event.hit");
        eventually("a key that costs no call", || {
            let before = hits();
            let answer = client.get(SCRAPE, key);
            assert!(matches!(answer.status, 200 | 503), "{answer:?}");
            (hits() > before).then_some(())
        });
    }

    /// Shows that no VM has trapped (I9): a trap leaves a line in Envoy's log,
    /// and, once its worker has served again, a reload in the counters.
    ///
    /// # Panics
    /// One has.
    pub(crate) fn assert_no_trap(&self) {
        for gateway in &self.gateways {
            touch_every_worker(gateway);
            let reloads = matching(gateway, |name| name.contains("vm_reload"));
            let none = reloads.values().all(|count| *count == 0);
            assert!(none, "{gateway:?}: {reloads:?}");
            let log = gateway.process.log();
            let bad = |line: &&str| SIGNS_OF_A_TRAP.iter().any(|sign| line.contains(sign));
            let traps: Vec<_> = log.lines().filter(bad).collect();
            assert!(traps.is_empty(), "{gateway:?}: {traps:#?}");
        }
    }
}

/// Envoy's counters and gauges whose names are wanted.
pub(crate) fn matching(gateway: &Gateway, wanted: impl Fn(&str) -> bool) -> BTreeMap<String, u64> {
    let mut stats = gateway.stats().expect("Envoy's statistics");
    stats.retain(|name, _| wanted(name));
    stats
}

/// One of them; 0 if Envoy has not counted any yet.
pub(crate) fn stat(gateway: &Gateway, name: &str) -> u64 {
    gateway.stat(name).expect("Envoy's statistics")
}

/// How many connections each worker has had, in the order of the workers.
pub(crate) fn connections_by_worker(gateway: &Gateway) -> Vec<u64> {
    let edge = format!("listener.127.0.0.1_{}.worker_", gateway.address().port());
    let counts = matching(gateway, |name| {
        name.starts_with(&edge) && name.ends_with("downstream_cx_total")
    });
    assert_eq!(
        counts.len(),
        gateway.options.concurrency as usize,
        "{counts:?}"
    );
    counts.into_values().collect()
}

/// Sends requests until every worker has served one more.
fn touch_every_worker(gateway: &Gateway) {
    let client = Client::new(&gateway.url());
    let before = connections_by_worker(gateway);
    eventually("a connection to every worker", || {
        for _ in 0..8 {
            assert_eq!(client.send("GET", "/", &[], "").status, 401);
        }
        let after = connections_by_worker(gateway);
        let mut pairs = before.iter().zip(&after);
        pairs.all(|(before, after)| after > before).then_some(())
    });
}

impl Deref for TestFleet {
    type Target = Fleet;

    fn deref(&self) -> &Fleet {
        &self.fleet
    }
}

impl DerefMut for TestFleet {
    fn deref_mut(&mut self) -> &mut Fleet {
        &mut self.fleet
    }
}

impl Drop for TestFleet {
    fn drop(&mut self) {
        if !thread::panicking() {
            return;
        }
        for process in self.fleet.processes() {
            show_tail(process.name(), &process.log());
        }
        for gateway in &self.fleet.gateways {
            let name = format!("access log of {}", gateway.options.name);
            show_tail(&name, &gateway.access_log());
        }
    }
}

fn show_tail(name: &str, log: &str) {
    let lines: Vec<_> = log.lines().collect();
    let tail = &lines[lines.len().saturating_sub(TAIL_LINES)..];
    eprintln!("--- {name}, its last lines:\n{}", tail.join("\n"));
}
