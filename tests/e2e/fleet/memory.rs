//! A gateway's memory does not grow with the keys that it sees: random ones,
//! valid ones, rotated ones (I8). `cargo xtask bench memory` does the same
//! with a million.

use std::sync::Arc;
use std::thread;

use serde_json::json;
use xtask::load::{Book, Connection, Key, Memory, get, import, random_key, rotate};
use xtask::testbed::FleetOptions;

use crate::support::fleet::{self, TestFleet};

/// The table is much smaller than what passes through it.
const SLOTS: u32 = 256;
/// Valid keys.
const VALID: usize = 4_000;
/// Keys that nobody has, in each third.
const UNKNOWN: usize = 6_000;
/// Rotations in each third.
const ROTATIONS: usize = 300;
/// Connections at once.
const AT_ONCE: usize = 6;
/// What a third may add, in bytes: allocators breathe. A table that kept what
/// it saw would add some 100 bytes for each of more than 10,000 keys, in each
/// of three VMs.
const BREATH: u64 = 3 << 20;

#[test]
fn it_does_not_grow_with_the_keys_that_are_seen() {
    let options = FleetOptions {
        plugin: json!({
            "checksum": "off", "cache_slots": SLOTS,
            "store": { "resolve_timeout_ms": 10_000 },
        }),
        ..FleetOptions::default()
    };
    let Some(fleet) = fleet::start(options) else {
        return;
    };
    let book = Book::default();
    let keys = import(&fleet.store, "m", VALID, &book).unwrap();
    let mut seen = Vec::new();
    for third in 0..3 {
        let rotated = &keys[third * ROTATIONS..(third + 1) * ROTATIONS];
        let kept = &keys[3 * ROTATIONS..];
        work(&fleet, &book, third as u64, kept, rotated);
        let memory = Memory::of(&fleet.gateways[0]).unwrap();
        println!("after third {}: {memory}", third + 1);
        seen.push(memory);
    }
    let [_, second, third] = seen[..] else {
        panic!("three thirds");
    };
    assert!(third.resident <= second.resident + BREATH, "{seen:?}");
    assert!(third.allocated <= second.allocated + BREATH, "{seen:?}");
    fleet.assert_no_trap();
}

/// One third: unknown keys and valid ones by turns, and some rotations.
fn work(fleet: &TestFleet, book: &Book, seed: u64, kept: &[Arc<Key>], rotated: &[Arc<Key>]) {
    let address = fleet.gateways[0].address();
    let share = |keys: &'_ [Arc<Key>], number: usize| {
        let mine = keys.iter().skip(number).step_by(AT_ONCE);
        mine.cloned().collect::<Vec<_>>()
    };
    thread::scope(|scope| {
        for number in 0..AT_ONCE {
            let (kept, rotated) = (share(kept, number), share(rotated, number));
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(seed << 8 | number as u64);
                let mut connection = Connection::to(address);
                for key in (0..UNKNOWN / AT_ONCE).map(|_| random_key(&mut random)) {
                    let answer = connection.exchange(&get(&key)).unwrap();
                    assert_eq!(answer.status, 401, "{}", answer.body);
                }
                for key in kept {
                    let answer = connection.exchange(&get(&key.text)).unwrap();
                    assert_eq!(answer.status, 200, "{}", answer.body);
                }
                for key in rotated {
                    rotate(&mut connection, &key, book).unwrap();
                }
            });
        }
    });
}
