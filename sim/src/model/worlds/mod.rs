//! The worlds that are explored. Several small ones, each with the troubles that
//! some rules are there for, see more than a large one that has them all.

mod big;
mod fleets;
mod gateway;
mod limits;
mod starts;

use super::world::World;

impl World {
    /// The small worlds, all of them explored by the tests.
    pub fn small() -> Vec<Self> {
        [
            gateway::of_the_cache(),
            gateway::of_the_feeders(),
            gateway::of_generations(),
            starts::crashes(),
            starts::restores(),
            fleets::of_leases(),
            fleets::of_bad_ways(),
        ]
        .concat()
    }

    /// What the protocol does not promise: worlds in which an invariant, read
    /// more strictly than it is meant, breaks.
    pub fn limits() -> Vec<Self> {
        limits::limits()
    }

    /// Larger worlds, to be explored by hand.
    pub fn big() -> Vec<Self> {
        [big::slow(), big::starts()].concat()
    }
}
