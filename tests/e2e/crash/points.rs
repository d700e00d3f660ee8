//! The store killed at each step of a rotation's transaction: the request that
//! is under way then ends with a key that works.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::thread;

use rekey_testbed::{Artifacts, FleetOptions, Signal, StoreBinary};

use super::short_lease;
use super::verdict::{Became, Told, check};
use crate::support::fleet::{self, RETRIED, SOON, TestFleet, stat};

#[test]
fn a_rotation_outlives_the_store_at_every_step() {
    let harmless = FleetOptions {
        store_binary: StoreBinary::CrashPoints(None),
        plugin: short_lease(),
        ..FleetOptions::default()
    };
    let mut fleet = fleet::start(harmless);
    let points = all_points();
    assert!(points.len() >= 10, "{points:?}");
    for point in &points {
        println!("the store dies at {point}");
        rotate_while_the_store_dies_at(&mut fleet, point);
    }
    fleet.assert_no_trap();
}

fn rotate_while_the_store_dies_at(fleet: &mut TestFleet, point: &str) {
    let user = fleet.user();
    restart_store(fleet, Some(point));
    let retried = stat(&fleet.gateways[0], RETRIED);
    let client = fleet.client();
    let answer = thread::scope(|scope| {
        let rotation = scope.spawn(|| client.try_regenerate(&user.api_key));
        let end = fleet.store.process.wait(SOON).expect("it dies there");
        assert_eq!(end.signal(), Some(Signal::SIGKILL as i32), "{point}");
        restart_store(fleet, None);
        rotation.join().unwrap()
    });
    // X1: asked again under the same id, and answered once.
    assert!(stat(&fleet.gateways[0], RETRIED) > retried, "{point}");
    let told = Told::by(&answer);
    assert_eq!(check(fleet, &user, &told), Became::Replaced, "{point}");
}

fn restart_store(fleet: &mut TestFleet, dies_at: Option<&str>) {
    let dies_at = dies_at.map(str::to_owned);
    fleet.store.options.binary = StoreBinary::CrashPoints(dies_at);
    fleet.store.restart().unwrap();
}

/// As the store itself lists them.
fn all_points() -> Vec<String> {
    let store = Artifacts::store_with_crash_points().unwrap();
    let listed = Command::new(store).arg("crash-points").output().unwrap();
    assert!(listed.status.success(), "{listed:?}");
    let listed = String::from_utf8(listed.stdout).unwrap();
    listed.lines().map(str::to_owned).collect()
}
