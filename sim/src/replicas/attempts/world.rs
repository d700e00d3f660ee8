//! A world of attempts.

use super::state::{Id, KEYS, OLD, Phase, REQUESTS, Records, Request, State};
use crate::replicas::mutants::Mutant;
use crate::replicas::rules::Rules;

/// Who asks, and what may go wrong.
#[derive(Debug, Clone)]
pub struct World {
    /// Its name.
    pub name: &'static str,
    /// What happens in it.
    pub about: &'static str,
    /// The rules that hold.
    pub rules: Rules,
    /// Requests that race.
    pub requests: usize,
    /// Attempts of each.
    pub attempts: u8,
    /// How often the tick key is rewritten.
    pub ticks: u8,
    /// Whether ids are pruned.
    pub prunes: bool,
}

impl World {
    /// All of them.
    pub fn all() -> Vec<Self> {
        let world = Self {
            name: "repeats",
            about: "an attempt that is repeated at other stores",
            rules: Rules::ALL,
            requests: 1,
            attempts: 3,
            ticks: 0,
            prunes: false,
        };
        vec![
            world.clone(),
            Self {
                name: "races",
                about: "two requests with one key, repeated at other stores",
                requests: 2,
                attempts: 2,
                ..world.clone()
            },
            Self {
                name: "old-ids",
                about: "attempts that come when their ids are pruned",
                ticks: 3,
                prunes: true,
                ..world
            },
        ]
    }

    /// Larger ones, to be explored by hand.
    pub fn big() -> Vec<Self> {
        let races = Self {
            name: "big-old-races",
            about: "two requests with one key while ids are pruned",
            rules: Rules::ALL,
            requests: 2,
            attempts: 2,
            ticks: 3,
            prunes: true,
        };
        vec![races]
    }

    /// One of them.
    pub fn named(name: &str) -> Option<Self> {
        Self::all().into_iter().find(|world| world.name == name)
    }

    /// The world of a mutant; none if there is no such world or rule.
    pub fn of(mutant: &Mutant) -> Option<Self> {
        let rules = Rules::without(mutant.without)?;
        let world = Self::named(mutant.world)?;
        Some(Self { rules, ..world })
    }

    /// Before anything was asked.
    pub fn first(&self) -> State {
        let mut active = [false; KEYS];
        active[OLD] = true;
        State {
            records: Records {
                tick: 0,
                user: 0,
                active,
                ids: [Id::Absent; REQUESTS],
            },
            requests: [Request {
                phase: Phase::Unsent,
                born: 0,
                attempts: self.attempts,
            }; REQUESTS],
            calls: Vec::new(),
            sent: Vec::new(),
            made: [false; REQUESTS],
            ticks: self.ticks,
        }
    }
}
