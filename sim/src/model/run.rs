//! Explores a world and reports.

use std::time::{Duration, Instant};

use stateright::{Checker, HasDiscoveries, Model};

use super::steps::Action;
use super::world::World;

/// What an exploration found.
#[derive(Debug, Clone)]
pub struct Report {
    /// Different states that were reached.
    pub states: usize,
    /// Steps from the beginning to the farthest of them.
    pub depth: usize,
    /// How long it took.
    pub took: Duration,
    /// The invariant that broke first, and the shortest way there.
    pub broken: Option<(&'static str, Vec<Action>)>,
    /// Whether nothing was left to explore, or an invariant was broken.
    pub is_complete: bool,
    /// What should have been reached and was not.
    pub missing: Vec<&'static str>,
}

impl Report {
    /// In a few words.
    pub fn verdict(&self) -> String {
        match &self.broken {
            Some((what, path)) => format!("{what} breaks in {} steps", path.len()),
            None if !self.is_complete => "holds so far".to_owned(),
            None if self.missing.is_empty() => "holds".to_owned(),
            None => format!("never reached: {}", self.missing.join(", ")),
        }
    }
}

/// Explores all that can happen in a world, breadth first, until an invariant
/// breaks, nothing is left, or the time is up.
pub fn explore(world: &World, threads: usize, limit: Option<Duration>) -> Report {
    let began = Instant::now();
    let mut checker = world
        .clone()
        .checker()
        .threads(threads)
        .finish_when(HasDiscoveries::AnyFailures);
    if let Some(limit) = limit {
        checker = checker.timeout(limit);
    }
    let checker = checker.spawn_bfs().join();
    let properties = world.properties();
    let discoveries = checker.discoveries();
    let broken = properties.iter().find_map(|property| {
        let path = discoveries.get(property.name)?;
        let fails = property.expectation.discovery_is_failure();
        fails.then(|| (property.name, path.clone().into_actions()))
    });
    let missing = properties
        .iter()
        .filter(|property| !property.expectation.discovery_is_failure())
        .map(|property| property.name)
        .filter(|name| !discoveries.contains_key(name))
        .collect();
    let took = began.elapsed();
    Report {
        states: checker.unique_state_count(),
        depth: checker.max_depth(),
        took,
        is_complete: broken.is_some() || limit.is_none_or(|limit| took < limit),
        broken,
        missing,
    }
}
