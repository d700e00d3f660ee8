//! What the operator does on the command line holds the barrier too (S7): when
//! the command returns, the key is dead on every gateway.

use std::process::Stdio;
use std::time::{Duration, Instant};

use rekey_load::Key;
use serde_json::Value;

use crate::fleet::run::{LEASE_MS, Run, SLACK, accepted, expiry, gateways, no_fault, refused};

/// Keys that are revoked.
const TIMES: usize = 30;

/// Revokes a user's key, and says how long the command took.
fn revoke(run: &Run, key: &Key) -> Duration {
    key.is_dying();
    let began = Instant::now();
    let mut command = run.fleet.store.cli();
    command.args(["keys", "revoke", "--user", &key.user]);
    let status = command.stdout(Stdio::null()).status().unwrap();
    let ended = Instant::now();
    assert!(status.success(), "{status}");
    key.is_dead(ended);
    ended - began
}

/// Issues a key to a user who has none.
fn issue(run: &Run, user: &str) -> std::sync::Arc<Key> {
    let mut command = run.fleet.store.cli();
    command.args(["keys", "issue", "--user", user, "--json"]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let issued: Value = serde_json::from_slice(&output.stdout).unwrap();
    let key = Key::alive(issued["api_key"].as_str().unwrap(), user);
    run.book.enter(key.clone());
    key
}

#[test]
fn a_revoked_key_is_dead_everywhere_when_the_command_returns() {
    let run = Run::start(gateways(3, 3000), TIMES);
    let traffic = run.traffic();
    let mut probe = run.probe();
    for key in &run.keys {
        accepted(&mut probe, key);
        revoke(&run, key);
        refused(&mut probe, key);
        let issued = issue(&run, &key.user);
        accepted(&mut probe, &issued);
        refused(&mut probe, key);
    }
    let tally = no_fault(traffic);
    assert_eq!((tally.unavailable_count(), tally.broken), (0, 0));
    run.fleet.assert_no_trap();
}

/// The command waits for a gateway that cannot be told, as a rotation does.
#[test]
fn a_revocation_waits_for_a_gateway_that_stands_still() {
    let run = Run::start(gateways(2, LEASE_MS), 1);
    let (mut here, mut there) = (run.probe_of(0), run.probe_of(1));
    let key = &run.keys[0];
    accepted(&mut here, key);
    accepted(&mut there, key);
    run.gateway(1).process.freeze().unwrap();
    let took = revoke(&run, key);
    println!("the command took {took:?}");
    // It polls every eighth of its lease, so it had half of it at least.
    assert!(took >= expiry(LEASE_MS) / 2, "{took:?}");
    assert!(took <= expiry(LEASE_MS) + SLACK, "{took:?}");
    refused(&mut here, key);
    // What lay before it while it stood still is not let in afterwards.
    there.send(&key.text).unwrap();
    run.gateway(1).process.thaw().unwrap();
    for answer in there.receive().unwrap() {
        assert!(matches!(answer.status, 401 | 503), "{}", answer.body);
    }
    run.fleet.assert_no_trap();
}
