//! As many rotations a second as the machine bears, over three gateways and
//! for a minute, with old and new keys everywhere beside them.

use std::time::Duration;

use rekey_load::{Book, Pace, Storm, Traffic, import};
use rekey_testbed::{Fleet, Gateway};

use crate::{Length, all_right, fleet_options, tell, times::Times};

/// More users than can be rotated in that time.
const A_SECOND: u64 = 1_500;
/// Rotations under way at once.
const AT_ONCE: usize = 12;

/// Measures and tells.
pub(crate) fn run(length: Length) -> anyhow::Result<()> {
    let seconds = match length {
        Length::Short => 5,
        Length::Full => 60,
    };
    let fleet = Fleet::start(fleet_options(3))?;
    let book = Book::default();
    let users = usize::try_from(seconds * A_SECOND)?;
    let keys = import(&fleet.store, "m", users, &book)?;
    let gateways: Vec<_> = fleet.gateways.iter().map(Gateway::address).collect();
    let traffic = Traffic::start(gateways.iter().copied(), &book, Pace::STEADY)?;
    let storm = Storm {
        gateways: &gateways,
        keys: &keys,
        book: &book,
        at_once: AT_ONCE,
        lasts: Duration::from_secs(seconds),
    };
    let stormed = storm.run()?;
    let beside = traffic.end()?;
    all_right(&stormed.checks)?;
    all_right(&beside)?;
    let times = Times::of(stormed.times);
    let (rotations, checks) = (times.len(), &stormed.checks);
    tell(format_args!(
        "minute: {rotations} rotations in {seconds} s ({} a second), {times}; beside them {} \
         requests served, {} refused, {} unavailable; 0 violations",
        rotations as u64 / seconds,
        beside.served + checks.served,
        beside.refused + checks.refused,
        beside.unavailable_count() + checks.unavailable_count(),
    ));
    Ok(())
}
