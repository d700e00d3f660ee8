//! The shortest schedule that breaks a property. The checker alone does not find it,
//! because it goes on for a while and keeps the last schedule that it has met.

use std::hash::Hash;

use stateright::{Checker, HasDiscoveries, Model};

/// A schedule that breaks a property.
#[derive(Debug, Clone)]
pub struct Schedule<A> {
    /// The property.
    pub breaks: &'static str,
    /// The steps.
    pub steps: Vec<A>,
}

/// Explores breadth first, then again and again for a shorter schedule, until there is
/// none.
pub fn shortest<M>(world: &M) -> Option<Schedule<M::Action>>
where
    M: Model + Clone + Send + Sync + 'static,
    M::State: Clone + std::fmt::Debug + Hash + PartialEq + Send + Sync + 'static,
    M::Action: Clone + std::fmt::Debug + PartialEq,
{
    let mut found = broken(world, None);
    while let Some(shorter) = found
        .as_ref()
        .and_then(|last| broken(world, Some(last.steps.len())))
    {
        found = Some(shorter);
    }
    found
}

/// A schedule with fewer steps than these.
fn broken<M>(world: &M, fewer_than: Option<usize>) -> Option<Schedule<M::Action>>
where
    M: Model + Clone + Send + Sync + 'static,
    M::State: Clone + std::fmt::Debug + Hash + PartialEq + Send + Sync + 'static,
    M::Action: Clone + std::fmt::Debug + PartialEq,
{
    let mut checker = world
        .clone()
        .checker()
        .finish_when(HasDiscoveries::AnyFailures);
    if let Some(steps) = fewer_than {
        // The first state is of depth 1, and no state of this depth is looked at.
        checker = checker.target_max_depth(steps + 1);
    }
    let discoveries = checker.spawn_bfs().join().discoveries();
    let properties = world.properties().into_iter();
    let schedules = properties.filter_map(|property| {
        let path = discoveries.get(property.name)?;
        let breaks = property.name;
        let steps = path.clone().into_actions();
        let fails = property.expectation.discovery_is_failure();
        fails.then_some(Schedule { breaks, steps })
    });
    schedules.min_by_key(|schedule| schedule.steps.len())
}
