//! The world as the checker sees it, and what has to hold in all of its states.

use stateright::{Model, Property};

use super::state::{End, GATEWAYS, Key, OLD, PROBE, Phase, State, new_key};
use super::steps::Action;
use super::store::MOST_FAILURES;
use super::world::{OURS, World};

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
                let active = |key: &&Key| **key == Key::Active;
                state.disk.keys.iter().filter(active).count() <= 1
            }),
            Property::<Self>::always("I2: told behind the barrier", |_, state| {
                !state.broken.too_early
            }),
            Property::<Self>::always("told the one active key", |_, state| {
                !state.broken.wrong_key
            }),
            Property::<Self>::always("no is no", Self::no_is_no),
            Property::<Self>::always("nothing for a thief", |_, state| !state.broken.theft),
            Property::<Self>::always("I5: one rotation an hour", |_, state| !state.broken.twice),
            Property::<Self>::always("I4: not turned away", |_, state| !state.broken.turned_away),
            Property::<Self>::always("I4: nobody is locked out", Self::nobody_is_locked_out),
            Property::<Self>::sometimes("a new key", |_, state| {
                let mut requests = state.requests.iter();
                requests.any(|request| matches!(request.phase, Phase::Ended(End::Key(_))))
            }),
        ]
    }
}

impl World {
    /// Whoever was told that nothing happened, or that the key is another's doing,
    /// has had nothing done, and never will (X1, S11).
    fn no_is_no(&self, state: &State) -> bool {
        let mut requests = state.requests.iter().enumerate();
        requests.all(|(place, request)| {
            let is_no = matches!(
                request.phase,
                Phase::Ended(End::Revoked | End::Limited | End::Unavailable)
            );
            !is_no || state.disk.keys[new_key(place)] == Key::None
        })
    }

    /// If all went well from now on, the client that repeats its request would
    /// have its key: the one that its rotation has made, or another one if none
    /// has. Tried from every state, at every gateway.
    fn nobody_is_locked_out(&self, state: &State) -> bool {
        let mut asked = self.requests.iter().zip(&state.requests);
        let has_asked =
            asked.any(|((who, _), request)| *who == OURS && request.phase != Phase::Unsent);
        if !has_asked || !self.owes_the_client(state) {
            return true;
        }
        (0..GATEWAYS).all(|gateway| self.try_again(state, gateway))
    }

    /// Whether nothing has happened that ends what a replay is good for.
    fn owes_the_client(&self, state: &State) -> bool {
        let winner = match state.disk.keys[OLD] {
            Key::Active => return !state.disk.limited,
            Key::Revoked(_, Some(winner)) => usize::from(winner),
            _ => return false,
        };
        let is_over = state.disk.records[winner]
            .is_some_and(|record| record.expired || record.failures >= MOST_FAILURES);
        self.who(state, winner).0 == OURS
            && !is_over
            && state.disk.keys[new_key(winner)] == Key::Active
    }

    fn try_again(&self, state: &State, gateway: usize) -> bool {
        let mut state = state.clone();
        state.probed = gateway;
        self.step(&mut state, Action::Arrive(PROBE));
        self.step(&mut state, Action::Call(PROBE));
        self.step(&mut state, Action::Decide(PROBE, 0));
        state.open = state.disk.revision;
        self.step(&mut state, Action::Answer(PROBE));
        match state.requests[PROBE].phase {
            Phase::Ended(End::Key(key)) => {
                state.disk.keys[key] == Key::Active && !state.broken.wrong_key
            }
            _ => false,
        }
    }
}
