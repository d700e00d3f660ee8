//! Recovery: from every state in which the disturbances end, every revocation
//! is answered, every gateway gets its lease back, and keys are what they
//! should be. One fair schedule is tried; that it exists is the claim.

use super::gateway::feeder::index;
use super::gateway::request::Outcome;
use super::state::{Budget, Feeder, Stage, State, Step};
use super::steps::Action;
use super::store::starts::On;
use super::world::World;

/// Steps that recovery may take; far more than it needs.
const PATIENCE: usize = 300;

/// Polls within one tick.
const MOST_POLLS: usize = 4;

/// What did not come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stuck {
    /// Some revocation is not answered, or some gateway has no lease.
    NeverQuiet,
    /// A key is not treated as the store says.
    WrongOnKey,
    /// A key that was just looked up is asked for again.
    NotCached,
}

impl World {
    /// Lets the world come to rest, and tries its keys.
    pub fn recovery(&self, state: &State) -> Result<(), Stuck> {
        let mut state = state.clone();
        state.budget = Budget {
            polls: u8::MAX,
            calls: u8::MAX,
            restores: state.budget.restores,
            ..Budget::default()
        };
        if state.store.is_restored {
            // The operator says that it is meant.
            self.restart_store(&mut state, On::AcceptedFile);
        }
        // A gateway that has asked often enough lets time pass.
        let mut polls = 0;
        for _ in 0..PATIENCE {
            let next = self.next_of_recovery(&state, polls < MOST_POLLS);
            match next {
                Some(Action::Tick) => polls = 0,
                Some(Action::SendPoll(..)) => polls += 1,
                _ => {}
            }
            match next {
                Some(action) => self.step(&mut state, action),
                None => return self.try_keys(&state),
            }
        }
        Err(Stuck::NeverQuiet)
    }

    fn next_of_recovery(&self, state: &State, may_poll: bool) -> Option<Action> {
        self.next_of_gateways(state)
            .or_else(|| self.next_of_network(state))
            .or_else(|| self.next_poll(state).filter(|_| may_poll))
            .or_else(|| self.next_of_time(state))
    }

    fn next_of_gateways(&self, state: &State) -> Option<Action> {
        (0..self.gateways).find_map(|gateway| {
            let owner = &state.gateways[gateway];
            let at = index(gateway);
            let calls = owner.calls.iter().enumerate();
            let mut calls = calls.filter_map(|(worker, call)| Some((index(worker), (*call)?)));
            let call = calls.next().map(|(worker, call)| match call.step {
                Step::Queued => Action::SendCall(at, worker),
                Step::Sent | Step::HalfRead(_) => Action::Resolve(at, worker),
                Step::Answered(_) => Action::Check(at, worker),
                Step::Checked(..) => Action::Finish(at, worker),
            });
            let look = owner.request.map(|_| Action::Look(at, 0));
            let mut feeders = owner.feeders.iter().enumerate();
            let work = feeders.find_map(|(number, feeder)| {
                if self.may_begin(feeder) {
                    Some(Action::Begin(at, index(number)))
                } else if self.next_tombstone(feeder).is_some() {
                    Some(Action::WriteTombstone(at, index(number)))
                } else {
                    let may = self.may_apply(feeder);
                    may.then(|| Action::Apply(at, index(number)))
                }
            });
            call.or(look).or(work)
        })
    }

    fn next_of_network(&self, state: &State) -> Option<Action> {
        if state.store.head < state.store.disk.revision {
            return Some(Action::Publish);
        }
        if state.store.mark < state.store.disk.revision && !state.store.is_behind {
            return Some(Action::Mark);
        }
        let poll = state.polls.iter().enumerate().next();
        if let Some((number, poll)) = poll {
            let number = index(number);
            return Some(match poll.stage {
                Stage::Travelling | Stage::ReadTooEarly(_) => Action::Register(number),
                Stage::Held(..) => Action::Read(number),
            });
        }
        self.untold(state)
            .find(|key| self.is_open(state, *key))
            .map(Action::AnswerRepeat)
    }

    fn untold<'a>(&self, state: &'a State) -> impl Iterator<Item = u8> + 'a {
        let keys = (0..).zip(state.store.disk.revoked);
        keys.filter(|(key, revoked)| *revoked > 0 && !state.rotations[usize::from(*key)].told)
            .map(|(key, _)| key)
    }

    /// A gateway polls that has no lease, or is behind.
    fn next_poll(&self, state: &State) -> Option<Action> {
        let is_waiting = self.untold(state).next().is_some();
        (0..self.gateways).find_map(|gateway| {
            let control = self.control(state, gateway);
            let is_idle = state.gateways[gateway].feeders[0] == Feeder::Idle;
            let trusts = control.trusts(&self.rules, state.moment(gateway));
            let life = control.applied.map(|applied| applied.life);
            let is_lost = life != Some(state.store.on_disk().life);
            let needs = !trusts || is_lost || is_waiting && !self.has_acknowledged(state);
            (is_idle && needs).then(|| Action::SendPoll(index(gateway), 0, self.leases[0]))
        })
    }

    fn has_acknowledged(&self, state: &State) -> bool {
        self.floor(state) >= state.store.head.into()
    }

    fn next_of_time(&self, state: &State) -> Option<Action> {
        if !self.is_waiting(state) {
            return None;
        }
        let mut gateways = state.gateways.iter();
        let behind = gateways.position(|gateway| gateway.lag != Default::default());
        Some(behind.map_or(Action::Tick, |gateway| Action::CatchUp(index(gateway))))
    }

    fn is_waiting(&self, state: &State) -> bool {
        self.untold(state).next().is_some()
            || (0..self.gateways).any(|gateway| {
                let control = self.control(state, gateway);
                !control.trusts(&self.rules, state.moment(gateway))
            })
    }

    /// Asks for every key at every gateway, twice.
    fn try_keys(&self, state: &State) -> Result<(), Stuck> {
        for gateway in 0..self.gateways {
            for key in (0..).take(self.revocable.len()) {
                let is_active = state.store.disk.revoked[usize::from(key)] == 0;
                let right = if is_active {
                    Outcome::Accepted
                } else {
                    Outcome::Refused
                };
                let mut state = state.clone();
                let mut outcome = Outcome::Undecided;
                for _ in 0..2 {
                    self.arrive(&mut state, gateway, key);
                    outcome = self.look(&mut state, gateway, 0);
                    if outcome != Outcome::Waits {
                        break;
                    }
                    self.send_call(&mut state, gateway, 0);
                    self.resolve(&mut state, gateway, 0, false);
                    self.check(&mut state, gateway, 0);
                    if self.finish(&mut state, gateway, 0) != right {
                        return Err(Stuck::WrongOnKey);
                    }
                }
                if outcome == Outcome::Waits {
                    return Err(Stuck::NotCached);
                }
                if outcome != right {
                    return Err(Stuck::WrongOnKey);
                }
            }
        }
        Ok(())
    }
}
