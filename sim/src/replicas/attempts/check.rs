//! The world of attempts as the checker sees it.

use stateright::{Model, Property};

use super::state::{End, Phase, State};
use super::steps::Action;
use super::world::World;

impl State {
    fn is_told(&self, request: usize, end: End) -> bool {
        self.requests[request].phase == Phase::Ended(end)
    }

    fn any_told(&self, end: End) -> bool {
        (0..self.requests.len()).any(|request| self.is_told(request, end))
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
        (next != *state).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::<Self>::always("I3: one active key", |_, state| {
                state
                    .records
                    .active
                    .iter()
                    .filter(|active| **active)
                    .count()
                    == 1
            }),
            Property::<Self>::always("I4: no is no", |_, state| {
                let mut made = state.made.iter().enumerate();
                made.all(|(request, made)| !(*made && state.is_told(request, End::Nothing)))
            }),
            Property::<Self>::always("I4: yes is yes", |_, state| {
                let mut made = state.made.iter().enumerate();
                made.all(|(request, made)| *made || !state.is_told(request, End::Rotated))
            }),
            Property::<Self>::sometimes("rotated", |_, state| state.any_told(End::Rotated)),
            Property::<Self>::sometimes("nothing", |_, state| state.any_told(End::Nothing)),
        ]
    }
}
