//! Many rotations of one key at once, and clients that leave before their
//! answer.

use std::collections::BTreeMap;
use std::thread;

use rekey_testbed::{Account, FleetOptions};
use serde_json::json;

use crate::support::client::{Answer, Client, REGENERATE, SCRAPE, raw_request};
use crate::support::faults::moments::Moments;
use crate::support::fleet::{self, ABANDONED, TestFleet, eventually, stat};
use crate::support::store_view;
use crate::support::wire::raw_http::RawConnection;

/// Rotations of one key at the same moment.
const RACING: usize = 200;
/// Clients that leave, each at another moment.
const LEAVING: usize = 80;

#[test]
fn of_200_rotations_of_one_key_exactly_one_wins() {
    let fleet = fleet::start(with_patience(1));
    exactly_one_wins(&fleet);
    fleet.assert_no_trap();
}

#[test]
fn of_200_rotations_over_two_gateways_exactly_one_wins() {
    let fleet = fleet::start(with_patience(2));
    exactly_one_wins(&fleet);
    fleet.assert_no_trap();
}

#[test]
fn rotations_of_different_users_do_not_disturb_each_other() {
    let fleet = fleet::start(with_patience(1));
    let users: Vec<_> = (0..RACING).map(|_| fleet.user()).collect();
    let keys: Vec<_> = users.iter().map(|user| user.api_key.as_str()).collect();
    let answers = rotate_at_once(&fleet, &keys);
    for (user, answer) in users.iter().zip(&answers) {
        let held = store_view::keys(&fleet.store, &user.user_id);
        assert_eq!(held.active, [store_view::digest(&answer.new_key())]);
        assert_eq!(held.rotations, 1);
    }
}

/// Gateways that wait for the store longer than a test lets it stand still.
fn with_patience(gateways: usize) -> FleetOptions {
    FleetOptions {
        gateways,
        plugin: json!({ "store": { "resolve_timeout_ms": 20_000 } }),
        ..FleetOptions::default()
    }
}

fn exactly_one_wins(fleet: &TestFleet) {
    let user = fleet.user();
    let answers = rotate_at_once(fleet, &[user.api_key.as_str(); RACING]);
    let mut outcomes = BTreeMap::new();
    for answer in &answers {
        *outcomes.entry(answer.outcome()).or_insert(0) += 1;
    }
    let revoked = (401, "api_key_revoked".to_owned());
    let expected = [((200, "ok".to_owned()), 1), (revoked, RACING - 1)];
    assert_eq!(outcomes, expected.into());
    // Few of the losers were refused by `resolve`: they had found the key active,
    // and lost against another one of their worker, or in the store's transaction.
    let told_apart = store_view::rotations_ended(&fleet.store, "revoked");
    let queued = "wasmcustom.rekey.rotations.event.queued";
    let queued = fleet.gateways.iter().map(|one| stat(one, queued));
    let queued: u64 = queued.sum();
    println!("{queued} waited for another one, {told_apart} lost in the store's transaction");
    assert!(queued > 0, "they did not race");

    let winner = answers.iter().find(|answer| answer.status == 200).unwrap();
    let keys = store_view::keys(&fleet.store, &user.user_id);
    assert_eq!(keys.active, [store_view::digest(&winner.new_key())]);
    assert_eq!(keys.rotations, 1, "one row in the audit log");
    for gateway in 0..fleet.gateways.len() {
        let client = fleet.client_of(gateway);
        assert_eq!(client.get(SCRAPE, &winner.new_key()).status, 200);
        assert_eq!(client.get(SCRAPE, &user.api_key).status, 401);
    }
}

/// Rotates all these keys at the same moment, by turns at each of the gateways.
fn rotate_at_once(fleet: &TestFleet, keys: &[&str]) -> Vec<Answer> {
    // Half of the connections to the store are made before: more than 128 at
    // a time would wait for the frozen store's kernel to accept them. Requests
    // with one key would share one.
    let others: Vec<_> = (0..keys.len() / 2).map(|_| fleet.user().api_key).collect();
    let others: Vec<_> = others.iter().map(String::as_str).collect();
    for answer in at_once(fleet, &others, |client, key| client.get(SCRAPE, key)) {
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    at_once(fleet, keys, Client::regenerate)
}

/// Sends a request for each key, on a connection of its own; the store stands
/// still until all of them wait for it.
fn at_once(fleet: &TestFleet, keys: &[&str], send: fn(&Client, &str) -> Answer) -> Vec<Answer> {
    let gateways = fleet.gateways.len();
    let clients: Vec<_> = (0..gateways).map(|turn| fleet.client_of(turn)).collect();
    fleet.store.process.freeze().unwrap();
    thread::scope(|scope| {
        let turns = keys.iter().zip(clients.iter().cycle());
        let running: Vec<_> = turns
            .map(|(key, client)| scope.spawn(move || send(client, key)))
            .collect();
        eventually("all of them to wait for the store", || {
            let waiting = |gateway| stat(gateway, "http.edge.downstream_rq_active");
            let waiting: u64 = fleet.gateways.iter().map(waiting).sum();
            (waiting == keys.len() as u64).then_some(())
        });
        fleet.store.process.thaw().unwrap();
        let ended = running.into_iter().map(|request| request.join().unwrap());
        ended.collect()
    })
}

/// I4: who leaves before the answer finds either the old key as it was, or a
/// rotation that is whole; gateway and store agree which.
#[test]
fn a_client_that_leaves_loses_its_answer_and_nothing_else() {
    let fleet = fleet::start(FleetOptions::default());
    let mut moments = Moments::of_a_rotation(&fleet, 0x1ea5e);
    let (mut stayed, mut rotated) = (0, 0);
    for _ in 0..LEAVING {
        let user = fleet.user();
        leave_while_the_store_stands_still(&fleet, &user, &mut moments);
        if is_untouched(&fleet, &user) {
            stayed += 1;
        } else {
            rotated += 1;
        }
    }
    println!("{stayed} old keys stayed, {rotated} were rotated");
    let abandoned = stat(&fleet.gateways[0], ABANDONED);
    assert!(abandoned > 0, "no client left in a rotation");
    assert!(
        stayed > 0 && rotated > 0,
        "{stayed} stayed, {rotated} rotated"
    );
    fleet.assert_no_trap();
}

/// Sends a rotation, freezes the store at some moment of it, leaves, and lets
/// the store go on; returns when nothing is under way any more.
fn leave_while_the_store_stands_still(fleet: &TestFleet, user: &Account, moments: &mut Moments) {
    let gateway = &fleet.gateways[0];
    let mut connection = RawConnection::open(gateway.address());
    connection.send(raw_request("POST", REGENERATE, &user.api_key));
    thread::sleep(moments.draw());
    fleet.store.process.freeze().unwrap();
    drop(connection);
    eventually("the gateway to see that the client has left", || {
        (stat(gateway, "http.edge.downstream_cx_active") == 0).then_some(())
    });
    fleet.store.process.thaw().unwrap();
    eventually("the end of all calls to the store", || {
        let active = "cluster.rekey_store_rotations.upstream_rq_active";
        (stat(gateway, active) == 0).then_some(())
    });
}

/// Whether the old key is still the active one; that it is either this or a
/// whole rotation is checked.
fn is_untouched(fleet: &TestFleet, user: &Account) -> bool {
    let (client, old) = (fleet.client(), &user.api_key);
    let keys = store_view::keys(&fleet.store, &user.user_id);
    assert_eq!(keys.active.len(), 1, "{keys:?}");
    let is_old = keys.active == [store_view::digest(old)];
    assert_eq!(keys.rotations, usize::from(!is_old));
    for _ in 0..3 {
        let answer = client.get(SCRAPE, old);
        let expected = if is_old {
            (200, "ok".to_owned())
        } else {
            (401, "api_key_revoked".to_owned())
        };
        assert_eq!(answer.outcome(), expected);
    }
    if is_old {
        let new = client.regenerate(old).new_key();
        assert_eq!(client.get(SCRAPE, &new).status, 200);
    }
    is_old
}
