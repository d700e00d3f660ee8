//! A fleet, the book of its keys, and the checks that every test makes.

use std::sync::Arc;
use std::time::Duration;

use rekey_load::{Book, Connection, Faults, Key, Pace, Probe, Rotated, Tally, Traffic, rotate};
use rekey_testbed::{FleetOptions, Gateway, GatewayOptions};
use serde_json::{Value, json};

use crate::support::fleet::{self, TestFleet, eventually};

/// How late a busy machine may be.
pub(crate) const SLACK: Duration = Duration::from_secs(2);
/// The lease of tests that wait for its end.
pub(crate) const LEASE_MS: u32 = 1500;

/// The longest that the store holds a rotation back for a gateway that it
/// cannot reach: lease and margin (docs/protocol.md).
pub(crate) fn expiry(lease_ms: u32) -> Duration {
    Duration::from_millis(u64::from(lease_ms + lease_ms / 100 + 50))
}

/// The filter's gauge: 1 while its cached trust lasts.
const LEASE_HELD: &str = "wasmcustom.rekey.lease_held";

/// Gateways of two workers each, with a lease; patient with a store that
/// shares a busy machine.
pub(crate) fn gateways(count: usize, lease_ms: u32) -> FleetOptions {
    FleetOptions {
        gateways: count,
        plugin: plugin(lease_ms, 5000),
        ..FleetOptions::default()
    }
}

/// A filter's configuration.
pub(crate) fn plugin(lease_ms: u32, resolve_timeout_ms: u32) -> Value {
    json!({ "lease_ms": lease_ms, "store": { "resolve_timeout_ms": resolve_timeout_ms } })
}

/// A fleet under test.
pub(crate) struct Run {
    /// All its processes.
    pub fleet: TestFleet,
    /// All its keys.
    pub book: Book,
    /// The first keys of its users, none of them rotated yet.
    pub keys: Vec<Arc<Key>>,
}

impl Run {
    /// Starts a fleet with so many users.
    pub(crate) fn start(options: FleetOptions, users: usize) -> Self {
        let fleet = fleet::start(options);
        let mut run = Self {
            fleet,
            book: Book::default(),
            keys: Vec::new(),
        };
        for _ in 0..users {
            let key = run.new_key();
            run.keys.push(key);
        }
        for gateway in 0..run.fleet.gateways.len() {
            run.until_trusted(gateway);
        }
        run
    }

    /// Starts one more gateway, and returns when it trusts its cache.
    pub(crate) fn add_gateway(&mut self, options: GatewayOptions) {
        self.fleet.add_gateway(options).expect("a gateway");
        self.until_trusted(self.fleet.gateways.len() - 1);
    }

    /// Waits until a gateway has a lease: from then on what it is asked is in
    /// its cache, and rotations wait for it.
    pub(crate) fn until_trusted(&self, gateway: usize) {
        eventually("a lease", || {
            let held = self.gateway(gateway).stat(LEASE_HELD).unwrap();
            (held == 1).then_some(())
        });
    }

    /// The first key of one more user.
    pub(crate) fn new_key(&self) -> Arc<Key> {
        let user = self.fleet.user();
        let key = Key::alive(&user.api_key, &user.user_id);
        self.book.enter(key.clone());
        key
    }

    /// A gateway, counted from 0.
    pub(crate) fn gateway(&self, number: usize) -> &Gateway {
        &self.fleet.gateways[number]
    }

    /// A connection to it.
    pub(crate) fn connect(&self, gateway: usize) -> Connection {
        Connection::to(self.gateway(gateway).address())
    }

    /// Connections to all workers of all gateways.
    pub(crate) fn probe(&self) -> Probe {
        Probe::of_every_worker(&self.fleet.gateways).unwrap()
    }

    /// Connections to all workers of one gateway.
    pub(crate) fn probe_of(&self, gateway: usize) -> Probe {
        Probe::of_every_worker([self.gateway(gateway)]).unwrap()
    }

    /// A load of all keys of the book on all gateways.
    pub(crate) fn traffic(&self) -> Traffic {
        let gateways = self.fleet.gateways.iter().map(Gateway::address);
        Traffic::start(gateways, &self.book, Pace::STEADY).unwrap()
    }

    /// Rotates through this gateway.
    ///
    /// # Panics
    /// It does not end with 200.
    pub(crate) fn rotate(&self, gateway: usize, key: &Arc<Key>) -> Rotated {
        rotate(&mut self.connect(gateway), key, &self.book).unwrap()
    }

    /// Rotates a key that every worker has just accepted, and checks that
    /// every worker refuses it and accepts the new one, as soon as the answer
    /// is there (I2).
    ///
    /// # Panics
    /// Anything else happens.
    pub(crate) fn rotate_and_check(
        &self,
        gateway: usize,
        key: &Arc<Key>,
        probe: &mut Probe,
    ) -> Rotated {
        accepted(probe, key);
        let rotated = self.rotate(gateway, key);
        refused(probe, key);
        accepted(probe, &rotated.new);
        rotated
    }
}

/// Checks that every worker accepts the key.
pub(crate) fn accepted(probe: &mut Probe, key: &Key) {
    let statuses = probe.statuses(&key.text).unwrap();
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
}

/// Checks that every worker says that the key is revoked.
pub(crate) fn refused(probe: &mut Probe, key: &Key) {
    for answer in probe.ask(&key.text).unwrap() {
        assert_eq!(answer.status, 401, "{}", answer.body);
        assert!(answer.body.contains("api_key_revoked"), "{}", answer.body);
    }
}

/// Ends the load and checks that every answer was right. 503s are counted, and
/// are for the test to judge.
pub(crate) fn no_fault(traffic: Traffic) -> Tally {
    let tally = traffic.end().unwrap();
    println!(
        "{} served, {} refused, {} unavailable, {} ended with their key, {} broken",
        tally.served,
        tally.refused,
        tally.unavailable_count(),
        tally.cut,
        tally.broken
    );
    assert_eq!(tally.faults, Faults::default());
    assert!(tally.served > 0, "there was no load");
    tally
}
