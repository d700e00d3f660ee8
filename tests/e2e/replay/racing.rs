//! Many requests of one user at the same moment, on several gateways.

use std::thread;

use super::options;
use super::owner::{Owner, is_replay};
use crate::support::client::{Answer, REGENERATE, bearer};
use crate::support::fleet::{self, TestFleet, eventually, stat};

const GATEWAYS: usize = 3;
const CLIENTS: usize = 8;
const ROUNDS: usize = 10;

fn start() -> TestFleet {
    fleet::start(rekey_testbed::FleetOptions {
        gateways: GATEWAYS,
        ..options()
    })
}

/// Sends the old key with each of these Idempotency-Keys; the store stands still
/// until all of them wait for it.
fn at_once(fleet: &TestFleet, old: &str, idempotency_keys: &[String]) -> Vec<Answer> {
    fleet.store.process.freeze().unwrap();
    thread::scope(|scope| {
        let sent = idempotency_keys.iter().enumerate().map(|(number, once)| {
            let client = fleet.client_of(number % GATEWAYS);
            let mut headers = bearer(old);
            headers.push(("idempotency-key", once.clone()));
            scope.spawn(move || client.send("POST", REGENERATE, &headers, ""))
        });
        let sent: Vec<_> = sent.collect();
        eventually("all of them to wait for the store", || {
            let waiting = |gateway| stat(gateway, "http.edge.downstream_rq_active");
            let waiting: u64 = fleet.gateways.iter().map(waiting).sum();
            (waiting == CLIENTS as u64).then_some(())
        });
        fleet.store.process.thaw().unwrap();
        sent.into_iter().map(|one| one.join().unwrap()).collect()
    })
}

/// X2, X3: each gateway has sealed a key of its own; all tell the winner's.
#[test]
fn x3_of_racing_repetitions_all_end_with_the_winners_key() {
    let fleet = start();
    for round in 0..ROUNDS {
        let owner = Owner::new(&fleet, round);
        let same = vec![owner.idempotency_key.clone(); CLIENTS];
        let answers = at_once(&fleet, &owner.user.api_key, &same);
        let key = answers[0].new_key();
        assert!(answers.iter().all(|answer| answer.new_key() == key));
        let first = answers.iter().filter(|answer| !is_replay(answer)).count();
        assert_eq!(first, 1, "one has made it, the others were told");
        for gateway in 0..GATEWAYS {
            let client = fleet.client_of(gateway);
            owner.is_told_again(&client, &key);
            owner.has(&fleet, &client, &key);
        }
    }
    fleet.assert_no_trap();
}

/// I3: whoever else has the old key gets nothing, however close behind.
#[test]
fn x2_of_racing_clients_with_other_idempotency_keys_one_has_a_key() {
    let fleet = start();
    for round in 0..ROUNDS {
        let owner = Owner::new(&fleet, round);
        let of = |number| format!("{}-{number}", owner.idempotency_key);
        let others: Vec<_> = (0..CLIENTS).map(of).collect();
        let answers = at_once(&fleet, &owner.user.api_key, &others);
        let (told, refused): (Vec<_>, Vec<_>) =
            answers.iter().partition(|answer| answer.status == 200);
        let [told] = told.as_slice() else {
            panic!("one of them: {answers:?}");
        };
        assert!(!is_replay(told));
        for answer in refused {
            assert_eq!(answer.outcome(), (401, "api_key_revoked".to_owned()));
        }
        owner.has(&fleet, &fleet.client(), &told.new_key());
    }
    fleet.assert_no_trap();
}
