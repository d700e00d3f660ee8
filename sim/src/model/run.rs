//! Explores a world and reports.

use std::hash::Hash;
use std::time::{Duration, Instant};

use stateright::{Checker, HasDiscoveries, Model};

/// What an exploration found; `A` are the steps of the model.
#[derive(Debug, Clone)]
pub struct Report<A> {
    /// Different states that were reached.
    pub states: usize,
    /// Steps from the beginning to the farthest of them.
    pub depth: usize,
    /// How long it took.
    pub took: Duration,
    /// The invariant that broke first, and the shortest way there.
    pub broken: Option<(&'static str, Vec<A>)>,
    /// Whether nothing was left to explore, or an invariant was broken.
    pub is_complete: bool,
    /// What should have been reached and was not.
    pub missing: Vec<&'static str>,
}

impl<A> Report<A> {
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
pub fn explore<M>(world: &M, threads: usize, limit: Option<Duration>) -> Report<M::Action>
where
    M: Model + Clone + Send + Sync + 'static,
    M::State: Clone + std::fmt::Debug + Hash + PartialEq + Send + Sync + 'static,
    M::Action: Clone + std::fmt::Debug + PartialEq,
{
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
