//! A gateway's memory does not grow with the keys that it sees: random ones,
//! valid ones, rotated ones (I8). `cargo xtask bench memory` does the same
//! with a million.

use serde_json::json;
use xtask::load::{Book, Churn, Memory, import};
use xtask::testbed::FleetOptions;

use crate::support::fleet;

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
        let churn = Churn {
            gateway: fleet.gateways[0].address(),
            unknown: UNKNOWN,
            valid: &keys[3 * ROTATIONS..],
            rotated: &keys[third * ROTATIONS..(third + 1) * ROTATIONS],
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
    assert!(third.resident <= second.resident + BREATH, "{seen:?}");
    assert!(third.allocated <= second.allocated + BREATH, "{seen:?}");
    fleet.assert_no_trap();
}
