//! Answers lost on one gateway, and asked for again where nobody remembers the
//! request: on another gateway, or after the gateway or the store was restarted.

use rekey_protocol::ROTATE_PATH;

use super::owner::Owner;
use super::places::{self, Case, is_as_long};
use super::{Cuttable, side_by_side};
use crate::support::client::{Client, SCRAPE};
use crate::support::faults::cuts::Exchange;
use crate::support::faults::death::Death;
use crate::support::fleet::eventually;

/// Users at each boundary and at random places whose clients have given up, and
/// whose calls are cut still.
fn all_give_up(run: &Cuttable, seed: u64) -> Vec<Owner> {
    let example = places::of_a_rotate_call(run);
    let cases = places::some(&example, seed);
    side_by_side(&cases, |case| gives_up(run, case, &example))
}

fn gives_up(run: &Cuttable, case: &Case, example: &Exchange) -> Owner {
    let cuts = run.proxies[0].cuts();
    let owner = Owner::new(&run.fleet, case);
    cuts.plan(owner.plan(ROTATE_PATH, case.place, case.end, u32::MAX));
    run.give_up(0, &owner, 1);
    is_as_long(&cuts.last(&owner.old_digest()), example, case.place);
    owner
}

fn heal(run: &Cuttable, owners: &[Owner]) {
    for owner in owners {
        run.proxies[0].cuts().end(&owner.old_digest());
    }
}

/// Each of them, on this gateway.
fn all_end_with_one_key(run: &Cuttable, owners: &[Owner], gateway: usize) {
    let client = run.fleet.client_of(gateway);
    let told = side_by_side(owners, |owner| owner.ends_with_one_key(&run.fleet, &client));
    let replayed = told.iter().filter(|told| told.replayed).count();
    println!("{} places, {replayed} told by a replay", told.len());
    // All whose call had come to the store whole, and not only them.
    assert!(replayed > told.len() / 4 && replayed < told.len());
}

fn until_served(client: &Client, key: &str) {
    eventually("the first answer of the upstream", || {
        let answer = client.try_get(SCRAPE, key).ok()?;
        assert!(matches!(answer.status, 200 | 503), "{answer:?}");
        (answer.status == 200).then_some(())
    });
}

#[test]
fn i4_another_gateway_answers_again() {
    let run = Cuttable::start(2);
    // Cut still: only the other gateway helps.
    let owners = all_give_up(&run, 0x07e4);
    all_end_with_one_key(&run, &owners, 1);
    heal(&run, &owners);
    // And the first one, which learned of it from others only.
    all_end_with_one_key_again(&run, &owners);
    run.fleet.assert_no_trap();
}

fn all_end_with_one_key_again(run: &Cuttable, owners: &[Owner]) {
    let [first, other] = [run.fleet.client_of(0), run.fleet.client_of(1)];
    side_by_side(owners, |owner| {
        let told = owner.until_told(&other);
        owner.is_told_again(&first, &told.key);
    });
}

#[test]
fn i4_a_restarted_gateway_answers_again() {
    let mut run = Cuttable::start(1);
    for (death, seed) in Death::BOTH.into_iter().zip(0x6a7e..) {
        let owners = all_give_up(&run, seed);
        death.bring_to(&run.fleet.gateways[0].process);
        run.fleet.gateways[0].restart().unwrap();
        heal(&run, &owners);
        all_end_with_one_key(&run, &owners, 0);
    }
    run.fleet.assert_no_trap();
}

/// Also from a life of the store that has not made the rotation.
#[test]
fn x6_a_restarted_store_answers_again() {
    let mut run = Cuttable::start(1);
    let other = run.fleet.user();
    for (death, seed) in Death::BOTH.into_iter().zip(0x5702e..) {
        let owners = all_give_up(&run, seed);
        death.bring_to(&run.fleet.store.process);
        run.fleet.store.restart().unwrap();
        heal(&run, &owners);
        until_served(&run.fleet.client(), &other.api_key);
        all_end_with_one_key(&run, &owners, 0);
    }
    run.fleet.assert_no_trap();
}
