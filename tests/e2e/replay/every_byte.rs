//! The rotate call, cut at every byte of its request and of its answer: once,
//! so that the gateway asks again; and until the client has given up, so that
//! the client does.

use rekey_protocol::ROTATE_PATH;

use super::owner::{Owner, Told, is_replay};
use super::places::{self, Case, is_as_long};
use super::{Cuttable, side_by_side, timed};
use crate::support::faults::cuts::{Exchange, Place};

const GATEWAYS: usize = 2;
/// Exchanges that a client that gives up has seen cut, by turns: mostly it goes
/// at once, sometimes when the gateway has asked again.
const CUTS_BEFORE_IT_LEAVES: [u32; 4] = [1, 1, 1, 2];

#[test]
fn i4_a_rotate_call_cut_once_at_any_byte_is_made_good_by_the_gateway() {
    let run = Cuttable::start(GATEWAYS);
    let example = places::of_a_rotate_call(&run);
    let cases = places::every(&example, 0);
    let (_, took) = timed(|| side_by_side(&cases, |case| cut_once(&run, case, &example)));
    println!("{} positions, cut once, in {took:?}", cases.len());
    run.fleet.assert_no_trap();
}

fn cut_once(run: &Cuttable, case: &Case, example: &Exchange) {
    let gateway = case.number % GATEWAYS;
    let (client, cuts) = (run.fleet.client_of(gateway), run.proxies[gateway].cuts());
    let owner = Owner::new(&run.fleet, case);
    cuts.plan(owner.plan(ROTATE_PATH, case.place, case.end, 1));
    let first = owner.ask(&client);
    is_as_long(&cuts.last(&owner.old_digest()), example, case.place);
    assert_eq!(cuts.end(&owner.old_digest()), 1, "{case:?}");
    // The gateway has asked again under the same id: this is no replay.
    assert!(!is_replay(&first), "{case:?}");
    let key = first.new_key();
    owner.is_told_again(&client, &key);
    owner.has(&run.fleet, &client, &key);
}

#[test]
fn i4_a_client_that_gave_up_in_a_rotate_call_cut_at_any_byte_gets_the_one_key() {
    let run = Cuttable::start(GATEWAYS);
    let example = places::of_a_rotate_call(&run);
    let cases = places::every(&example, 1);
    let (told, took) = timed(|| side_by_side(&cases, |case| cut_until_left(&run, case, &example)));
    let replayed = told.iter().filter(|told| told.replayed).count();
    let refusals: usize = told.iter().map(|told| told.refusals).sum();
    println!(
        "{} positions, cut until the client left, in {took:?}: {replayed} were told by a replay \
         at first, {refusals} refusals on the way",
        cases.len()
    );
    // Where the store has answered, the rotation is made.
    for (case, told) in cases.iter().zip(&told) {
        let is_made = matches!(case.place, Place::Answer(_));
        assert!(told.replayed || !is_made, "{case:?}: {told:?}");
    }
    run.fleet.assert_no_trap();
}

fn cut_until_left(run: &Cuttable, case: &Case, example: &Exchange) -> Told {
    let gateway = case.number % GATEWAYS;
    let (client, cuts) = (run.fleet.client_of(gateway), run.proxies[gateway].cuts());
    let owner = Owner::new(&run.fleet, case);
    let digest = owner.old_digest();
    cuts.plan(owner.plan(ROTATE_PATH, case.place, case.end, u32::MAX));
    // A whole answer, though its connection ends, is an answer.
    let is_answered = case.place == Place::Answer(example.answer.len());
    let patience = CUTS_BEFORE_IT_LEAVES[case.number / GATEWAYS % CUTS_BEFORE_IT_LEAVES.len()];
    run.give_up(gateway, &owner, if is_answered { 1 } else { patience });
    is_as_long(&cuts.last(&digest), example, case.place);
    cuts.end(&digest);
    owner.ends_with_one_key(&run.fleet, &client)
}
