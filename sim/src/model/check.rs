//! The world as the checker sees it, and what has to hold in all of its states.

use stateright::{Model, Property};

use super::state::{Control, Revision, State, Tick};
use super::steps::Action;
use super::world::World;

impl World {
    /// The longest that a barrier may take, in ticks: the lease that may be
    /// renewed once more just before it ends, twice its length with margin.
    fn longest_barrier(&self) -> Tick {
        2 * (self.cap() + 1)
    }

    fn takes_too_long(&self, state: &State) -> bool {
        let mut rotations = state.rotations.iter();
        rotations.any(|rotation| {
            rotation
                .since
                .is_some_and(|since| state.now > since + self.longest_barrier())
        })
    }

    /// Whether there is time for the leases of an earlier life of the store to
    /// end, and so for an answer.
    fn may_end(&self) -> bool {
        self.until > 0 || self.budget.store_crashes == 0
    }

    /// A gateway works under a lease after a revocation was answered.
    fn goes_on(&self, state: &State) -> bool {
        let is_over = |revoked: Revision, control: &Control| {
            let applied = control.applied.map_or(0, |applied| applied.revision);
            revoked > 0 && applied >= revoked
        };
        (0..self.gateways).any(|gateway| {
            let control = self.control(state, gateway);
            let mut rotations = state.rotations.iter().zip(state.store.disk.revoked);
            control.trusts(&self.rules, state.moment(gateway))
                && rotations.any(|(rotation, revoked)| rotation.told && is_over(revoked, control))
        })
    }
}

impl Model for World {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![self.first()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.possible(state, actions);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        self.step(&mut next, action);
        let next = next.canonical(self);
        (next != *state).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::<Self>::always("I1", |_, state| !state.broken.i1),
            Property::<Self>::always("I2", |_, state| !state.broken.i2),
            Property::<Self>::always("no lock-out", |_, state| !state.broken.lock_out),
        ];
        if self.may_end() {
            properties.push(Property::<Self>::sometimes("answered", |_, state| {
                state.rotations.iter().any(|rotation| rotation.told)
            }));
            let name = "goes on under a lease";
            properties.push(Property::<Self>::sometimes(name, Self::goes_on));
        }
        if self.prompt {
            let name = "the barrier has a bound";
            properties.push(Property::<Self>::always(name, |world, state| {
                !world.takes_too_long(state)
            }));
        }
        if self.recovers {
            let name = "recovers";
            properties.push(Property::<Self>::always(name, |world, state| {
                world.recovery(state).is_ok()
            }));
        }
        properties
    }
}
