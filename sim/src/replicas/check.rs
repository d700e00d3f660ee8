//! The world as the checker sees it, and what has to hold in all of its states.

use stateright::{Model, Property};

use super::state::{Phase, State, Tick};
use super::steps::Action;
use super::world::{Goal, World};

impl World {
    /// I2: after the 200 nobody says that the key is active.
    fn is_dead_everywhere(&self, state: &State) -> bool {
        let mut gateways = 0..self.gateways;
        let trusted =
            gateways.any(|gateway| state.trusts(gateway) && !state.gateways[gateway].knows);
        let said = self.stores().any(|store| self.says_active(state, store));
        !state.broken.i2 && (!state.told || !(trusted || said))
    }

    /// The longest that a rotation may take where all is prompt: a store beats until its
    /// fence is over, then its line has to stand still.
    fn longest_rotation(&self) -> Tick {
        2 * (self.ttl + self.drift) + 1
    }

    fn takes_too_long(&self, state: &State) -> bool {
        let since = state.revoked_at.filter(|_| !state.told);
        since.is_some_and(|since| state.now > since + self.longest_rotation())
    }
}

impl Goal {
    fn name(self) -> &'static str {
        match self {
            Self::Told => "told",
            Self::ToldByAll => "told while all lines stand",
            Self::ToldWithoutTheDead => "told without a dead store",
            Self::Joined => "a store that joined grants after the 200",
            Self::Stopped => "told after a planned stop",
            Self::Moved => "a gateway goes on at another store",
        }
    }

    fn is_reached(self, world: &World, state: &State) -> bool {
        let head = &state.etcd.head;
        let stands = |store: usize| head.line(store).is_some();
        match self {
            Self::Told => state.told,
            Self::ToldByAll => state.told && world.stores().all(stands),
            Self::ToldWithoutTheDead => state.told && !stands(0),
            Self::Joined => {
                let mut joining = world.joining.iter();
                let grants = |store: &usize| stands(*store) && world.may_grant(state, *store);
                state.told && joining.any(grants)
            }
            Self::Stopped => state.told && !stands(0) && state.stores[0].phase == Phase::Ending,
            Self::Moved => {
                let moved = state.stores[1].held.iter().flatten().next();
                moved.is_some() && state.gateways[0].knows && state.trusts(0)
            }
        }
    }

    fn property(self) -> Property<World> {
        let is_reached: fn(&World, &State) -> bool = match self {
            Self::Told => |world, state| Self::Told.is_reached(world, state),
            Self::ToldByAll => |world, state| Self::ToldByAll.is_reached(world, state),
            Self::ToldWithoutTheDead => {
                |world, state| Self::ToldWithoutTheDead.is_reached(world, state)
            }
            Self::Joined => |world, state| Self::Joined.is_reached(world, state),
            Self::Stopped => |world, state| Self::Stopped.is_reached(world, state),
            Self::Moved => |world, state| Self::Moved.is_reached(world, state),
        };
        Property::sometimes(self.name(), is_reached)
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
            Property::<Self>::always("I2", Self::is_dead_everywhere),
        ];
        if self.prompt {
            let name = "a rotation has a bound";
            let holds: fn(&Self, &State) -> bool = |world, state| !world.takes_too_long(state);
            properties.push(Property::<Self>::always(name, holds));
        }
        properties.extend(self.goals.iter().map(|goal| goal.property()));
        properties
    }
}
