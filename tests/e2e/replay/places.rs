//! Where exchanges are cut: everywhere, or where something begins or ends and at
//! random places between.

use rekey_protocol::{RESOLVE_PATH, ROTATE_PATH};

use super::Cuttable;
use super::owner::Owner;
use crate::support::client::SCRAPE;
use crate::support::faults::cuts::{End, Exchange, Place, boundaries};
use crate::support::faults::moments::seeded;

/// Random places of one exchange, besides the boundaries.
const SEEDED: usize = 32;

/// A place, how it is cut there, and a number to deal cases out by.
#[derive(Debug)]
pub(super) struct Case {
    pub place: Place,
    pub end: End,
    pub number: usize,
}

/// A rotate call of this fleet. All are as long, which [`is_as_long`] looks after.
pub(super) fn of_a_rotate_call(run: &Cuttable) -> Exchange {
    let owner = Owner::new(&run.fleet, "example");
    watch(run, &owner, ROTATE_PATH, |client| {
        owner.ask(client).new_key();
    })
}

/// A resolve call.
pub(super) fn of_a_resolve_call(run: &Cuttable) -> Exchange {
    let owner = Owner::new(&run.fleet, "example");
    watch(run, &owner, RESOLVE_PATH, |client| {
        assert_eq!(client.get(SCRAPE, &owner.user.api_key).status, 200);
    })
}

/// The rotate call of a repeated request.
pub(super) fn of_a_replay(run: &Cuttable) -> Exchange {
    let owner = Owner::new(&run.fleet, "example");
    let key = owner.ask(&run.fleet.client()).new_key();
    watch(run, &owner, ROTATE_PATH, |client| {
        owner.is_told_again(client, &key);
    })
}

fn watch(
    run: &Cuttable,
    owner: &Owner,
    path: &'static str,
    act: impl FnOnce(&crate::support::client::Client),
) -> Exchange {
    let cuts = run.proxies[0].cuts();
    cuts.plan(owner.plan(path, Place::Request(0), End::Close, 0));
    act(&run.fleet.client());
    let seen = cuts.last(&owner.old_digest());
    cuts.end(&owner.old_digest());
    assert!(!seen.request.is_empty() && !seen.answer.is_empty());
    seen
}

/// Every place. Those of `shift` 1 end the other way round than those of 0.
pub(super) fn every(example: &Exchange, shift: usize) -> Vec<Case> {
    let requests = (0..=example.request.len()).map(Place::Request);
    let answers = (0..=example.answer.len()).map(Place::Answer);
    cases(requests.chain(answers), shift)
}

/// Each boundary, and some between.
pub(super) fn some(example: &Exchange, seed: u64) -> Vec<Case> {
    let mut random = seeded(seed);
    let requests = boundaries(&example.request).into_iter().map(Place::Request);
    let answers = boundaries(&example.answer).into_iter().map(Place::Answer);
    let whole = example.request.len() + example.answer.len();
    let seeded = (0..SEEDED).map(|_| match random.usize(1..whole) {
        place if place < example.request.len() => Place::Request(place),
        place => Place::Answer(place - example.request.len()),
    });
    let places: Vec<_> = requests.chain(answers).chain(seeded).collect();
    cases(places.into_iter(), random.usize(..2))
}

fn cases(places: impl Iterator<Item = Place>, shift: usize) -> Vec<Case> {
    let ends = [End::Close, End::Reset];
    let case = |(number, place)| Case {
        place,
        end: ends[(number + shift) % 2],
        number,
    };
    places.enumerate().map(case).collect()
}

/// Else a place of the example is not what it says, and some are missing.
pub(super) fn is_as_long(met: &Exchange, example: &Exchange, place: Place) {
    assert_eq!(met.request.len(), example.request.len());
    if matches!(place, Place::Answer(_)) {
        assert_eq!(met.answer.len(), example.answer.len());
    }
}
