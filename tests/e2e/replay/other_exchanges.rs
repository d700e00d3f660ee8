//! The calls beside the rotation itself, cut at every boundary and at random
//! places: the resolve before it, and the rotate call of the replay.

use rekey_protocol::{RESOLVE_PATH, ROTATE_PATH};

use super::owner::Owner;
use super::places::{self, Case, is_as_long};
use super::{Cuttable, side_by_side, timed};
use crate::support::faults::cuts::Exchange;

/// Cut once, or until the client has left.
const TIMES: [u32; 2] = [1, u32::MAX];

#[test]
fn i4_a_resolve_call_cut_anywhere_costs_no_key() {
    let run = Cuttable::start(1);
    let example = places::of_a_resolve_call(&run);
    let cases = places::some(&example, 0x4e50);
    for times in TIMES {
        let cut = |case: &Case| cut_resolve(&run, case, &example, times);
        let (refusals, took) = timed(|| side_by_side(&cases, cut));
        let refusals: usize = refusals.iter().sum();
        println!("{} places in {took:?}, {refusals} refusals", cases.len());
    }
    run.fleet.assert_no_trap();
}

fn cut_resolve(run: &Cuttable, case: &Case, example: &Exchange, times: u32) -> usize {
    let (client, cuts) = (run.fleet.client(), run.proxies[0].cuts());
    let owner = Owner::new(&run.fleet, (case, times));
    let digest = owner.old_digest();
    cuts.plan(owner.plan(RESOLVE_PATH, case.place, case.end, times));
    let told = if times == 1 {
        let told = owner.ends_with_one_key(&run.fleet, &client);
        assert_eq!(cuts.end(&digest), 1, "{case:?}");
        told
    } else {
        run.give_up(0, &owner, 1);
        is_as_long(&cuts.last(&digest), example, case.place);
        cuts.end(&digest);
        owner.ends_with_one_key(&run.fleet, &client)
    };
    told.refusals
}

#[test]
fn x3_a_replay_cut_anywhere_is_replayed_again() {
    let run = Cuttable::start(1);
    let example = places::of_a_replay(&run);
    let cases = places::some(&example, 0x4e91);
    for times in TIMES {
        let cut = |case: &Case| cut_replay(&run, case, &example, times);
        let (_, took) = timed(|| side_by_side(&cases, cut));
        println!("{} places in {took:?}", cases.len());
    }
    run.fleet.assert_no_trap();
}

fn cut_replay(run: &Cuttable, case: &Case, example: &Exchange, times: u32) {
    let (client, cuts) = (run.fleet.client(), run.proxies[0].cuts());
    let owner = Owner::new(&run.fleet, (case, times));
    let digest = owner.old_digest();
    let key = owner.ask(&client).new_key();
    cuts.plan(owner.plan(ROTATE_PATH, case.place, case.end, times));
    if times == 1 {
        // The gateway asks again by itself.
        owner.is_told_again(&client, &key);
        assert_eq!(cuts.end(&digest), 1, "{case:?}");
    } else {
        run.give_up(0, &owner, 1);
        is_as_long(&cuts.last(&digest), example, case.place);
        cuts.end(&digest);
    }
    let told = owner.ends_with_one_key(&run.fleet, &client);
    assert!(told.replayed && told.key == key, "{case:?}");
}
