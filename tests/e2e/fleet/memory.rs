//! A gateway's memory does not grow with the keys that it sees: random ones,
//! valid ones, rotated ones (I8). `cargo xtask bench memory` does the same
//! with a million.

use rekey_load::{Book, Churn, Memory, import};
use rekey_testbed::FleetOptions;
use serde_json::json;

use crate::support::fleet;

/// The table is much smaller than what passes through it.
const SLOTS: u32 = 256;
/// Valid keys, in each third others.
const VALID: usize = 5_000;
/// Keys that nobody has, in each third.
const UNKNOWN: usize = 6_000;
/// Rotations in each third.
const ROTATIONS: usize = 300;
/// Connections at once.
const AT_ONCE: usize = 6;
/// What a third may add to what Envoy has allocated, shared data among it, in
/// bytes. A table that kept what it saw would add a megabyte.
const ALLOCATED_BREATH: u64 = 400 << 10;
/// What a third may add to the process, VMs and all: its allocators breathe.
const RESIDENT_BREATH: u64 = 3 << 20;

#[test]
fn it_does_not_grow_with_the_keys_that_are_seen() {
    let options = FleetOptions {
        plugin: json!({
            "checksum": "off", "cache_slots": SLOTS, "unknown_keys_per_second": 100_000,
            "store": { "resolve_timeout_ms": 10_000 },
        }),
        ..FleetOptions::default()
    };
    let fleet = fleet::start(options);
    let book = Book::default();
    let keys = import(&fleet.store, "m", 3 * (VALID + ROTATIONS), &book).unwrap();
    let mut seen = Vec::new();
    for (third, keys) in keys.chunks(VALID + ROTATIONS).enumerate() {
        let (rotated, valid) = keys.split_at(ROTATIONS);
        let churn = Churn {
            gateway: fleet.gateways[0].address(),
            unknown: UNKNOWN,
            valid,
            rotated,
            book: &book,
            at_once: AT_ONCE,
        };
        churn.run().unwrap();
        let memory = Memory::of(&fleet.gateways[0]).unwrap();
        println!("after third {}: {memory}", third + 1);
        seen.push(memory);
    }
    let [_, second, third] = seen[..] else {
        panic!("three thirds");
    };
    assert!(
        third.resident <= second.resident + RESIDENT_BREATH,
        "{seen:?}"
    );
    assert!(
        third.allocated <= second.allocated + ALLOCATED_BREATH,
        "{seen:?}"
    );
    fleet.assert_no_trap();
}
