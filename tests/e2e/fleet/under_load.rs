//! Hundreds of rotations, one after another and many at once, while old and
//! new keys keep arriving at every worker.

use std::time::Duration;

use rekey_load::{Faults, Storm, import};
use rekey_testbed::Gateway;
use serde_json::json;

use super::run::{Run, gateways, no_fault};

/// Rotations one after another.
const IN_A_ROW: usize = 300;
/// Users of the test that rotates as fast as it can, for so long.
const AT_FULL_SPEED: usize = 12_000;
const FOR: Duration = Duration::from_secs(8);
/// Rotations under way at once.
const AT_ONCE: usize = 9;

fn print_times(rotations: &mut [Duration]) {
    rotations.sort();
    let at = |share: usize| rotations[rotations.len() * share / 100];
    println!(
        "{} rotations: p50 {:?}, p99 {:?}",
        rotations.len(),
        at(50),
        at(99)
    );
}

/// I2, and no new key refused: checked on every worker right behind each
/// answer, and by a load beside.
#[test]
fn hundreds_of_rotations_in_a_row_under_load() {
    let run = Run::start(gateways(3, 3000), IN_A_ROW);
    let traffic = run.traffic();
    let mut probe = run.probe();
    let mut times = Vec::new();
    for (number, key) in run.keys.iter().enumerate() {
        let rotated = run.rotate_and_check(number % 3, key, &mut probe);
        times.push(rotated.took);
    }
    let tally = no_fault(traffic);
    assert_eq!((tally.unavailable_count(), tally.broken), (0, 0));
    assert!(tally.refused > 0, "no old key was tried");
    print_times(&mut times);
    run.fleet.assert_no_trap();
}

/// The same with as many rotations a second as the machine bears.
#[test]
fn rotations_at_full_speed_through_all_gateways() {
    let mut options = gateways(3, 3000);
    // Imported keys have no checksum.
    options.plugin["checksum"] = json!("off");
    let run = Run::start(options, 0);
    let keys = import(&run.fleet.store, "s", AT_FULL_SPEED, &run.book).unwrap();
    let traffic = run.traffic();
    let gateways: Vec<_> = run.fleet.gateways.iter().map(Gateway::address).collect();
    let storm = Storm {
        gateways: &gateways,
        keys: &keys,
        book: &run.book,
        at_once: AT_ONCE,
        lasts: FOR,
    };
    let mut stormed = storm.run().unwrap();
    let tally = no_fault(traffic);
    assert_eq!((tally.unavailable_count(), tally.broken), (0, 0));
    assert_eq!(stormed.checks.faults, Faults::default());
    assert_eq!(stormed.checks.unavailable_count(), 0);
    // Each was checked on each gateway: its old key and its new one.
    let rotations = stormed.times.len() as u64;
    let (refused, served) = (stormed.checks.refused, stormed.checks.served);
    assert_eq!((refused, served), (3 * rotations, 3 * rotations));
    assert!(rotations > 100, "{rotations} rotations only");
    print_times(&mut stormed.times);
    run.fleet.assert_no_trap();
}
