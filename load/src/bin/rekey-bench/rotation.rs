//! How long a rotation takes that a client asks of a gateway.

use std::sync::Arc;

use rekey_load::{Book, Connection, Key, Pace, Probe, Traffic, import, rotate};
use rekey_testbed::{Fleet, Gateway};

use crate::{
    Length, all_right, fleet_options, tell,
    times::{Rounds, Times},
};

/// What else the gateways do meanwhile.
#[derive(Clone, Copy)]
enum Surroundings {
    Quiet,
    /// Many clients call all the time.
    Loaded,
}

/// One case: a fleet, with or without a load.
struct Case {
    name: &'static str,
    fleet: Fleet,
    surroundings: Surroundings,
    book: Book,
    keys: Vec<Arc<Key>>,
    rounds: Rounds,
}

impl Case {
    fn new(
        name: &'static str,
        gateways: usize,
        surroundings: Surroundings,
        users: usize,
    ) -> anyhow::Result<Self> {
        let fleet = Fleet::start(fleet_options(gateways))?;
        let book = Book::default();
        let keys = import(&fleet.store, "r", users, &book)?;
        let rounds = Rounds::default();
        Ok(Self {
            name,
            fleet,
            surroundings,
            book,
            keys,
            rounds,
        })
    }

    /// Rotates so many keys one after another, by turns through all gateways;
    /// each is in the caches of all of them.
    fn round(&mut self, rotations: usize) -> anyhow::Result<()> {
        let addresses = || self.fleet.gateways.iter().map(Gateway::address);
        let traffic = match self.surroundings {
            Surroundings::Quiet => None,
            Surroundings::Loaded => Some(Traffic::start(addresses(), &self.book, Pace::STEADY)?),
        };
        let mut probe = Probe::of_every_worker(&self.fleet.gateways)?;
        let mut gateways: Vec<_> = addresses().map(Connection::to).collect();
        let turns = gateways.len();
        let mut times = Vec::new();
        for turn in 0..rotations {
            let (Some(key), Some(gateway)) = (self.keys.pop(), gateways.get_mut(turn % turns))
            else {
                break;
            };
            probe.ask(&key.text)?;
            times.push(rotate(gateway, &key, &self.book)?.took);
        }
        self.rounds.push(Times::of(times));
        if let Some(traffic) = traffic {
            all_right(&traffic.end()?)?;
        }
        Ok(())
    }
}

/// Measures and tells.
pub(crate) fn run(length: Length) -> anyhow::Result<()> {
    let (rounds, rotations) = match length {
        Length::Short => (2, 30),
        Length::Full => (9, 200),
    };
    let users = rounds * rotations;
    let mut cases = [
        Case::new("one gateway, quiet", 1, Surroundings::Quiet, users)?,
        Case::new("three gateways, quiet", 3, Surroundings::Quiet, users)?,
        Case::new("three gateways, under load", 3, Surroundings::Loaded, users)?,
    ];
    for _ in 0..rounds {
        for case in &mut cases {
            case.round(rotations)?;
        }
    }
    for case in &cases {
        tell(format_args!("rotation, {}: {}", case.name, case.rounds));
    }
    Ok(())
}
