//! What can happen next in a world.

use super::gateway::feeder::index;
use super::gateway::slot::View;
use super::state::{Feeder, MOST, Moment, Poll, Stage, State, Step};
use super::steps::Action;
use super::store::FIRST;
use super::store::starts::On;
use super::world::World;

impl World {
    fn store_actions(&self, state: &State, actions: &mut Vec<Action>) {
        let store = &state.store;
        for key in (0..).take(self.revocable.len()) {
            if self.can_commit(state, key) {
                if store.early.is_none_or(|early| early == key) {
                    actions.push(Action::Commit(key));
                }
                if !self.rules.s2_durable_first
                    && store.early.is_none()
                    && store.head == store.disk.revision
                {
                    actions.push(Action::PublishEarly(key));
                }
            }
            let rotation = state.rotations[usize::from(key)];
            if store.disk.revoked[usize::from(key)] == 0 || rotation.told {
                continue;
            }
            if rotation.waits && (self.is_open(state, key) || !self.rules.s7_first) {
                actions.push(Action::Answer(key));
            }
            let may_repeat = !rotation.waits || !self.rules.s7_repeat;
            if may_repeat
                && !store.is_restored
                && (self.is_open(state, key) || !self.rules.s7_repeat)
            {
                actions.push(Action::AnswerRepeat(key));
            }
        }
        if store.head < store.disk.revision {
            actions.push(Action::Publish);
        }
        if store.mark < store.disk.revision && !store.is_behind {
            actions.push(Action::Mark);
        }
        if state.budget.store_crashes > 0 {
            actions.push(Action::RestartStore);
        }
        if state.budget.restores > 0 {
            actions.push(Action::Restore(On::AcceptedBackup));
            if self.unaccepted {
                actions.push(Action::Restore(On::Backup));
            }
        }
    }

    fn poll_actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (number, poll) in (0..).zip(&state.polls) {
            match poll.stage {
                Stage::Travelling => {
                    actions.push(Action::Register(number));
                    if !self.rules.s3_register_then_read {
                        actions.push(Action::ReadTooEarly(number));
                    }
                    if state.store.ghost.is_some() && poll.cursor.is_some() {
                        actions.push(Action::GhostAnswers(number));
                    }
                    if state.budget.doubled > 0 {
                        actions.push(Action::Double(number));
                    }
                }
                Stage::ReadTooEarly(_) => actions.push(Action::Register(number)),
                Stage::Held(..) => actions.push(Action::Read(number)),
            }
        }
    }

    fn feeder_actions(&self, state: &State, gateway: u8, actions: &mut Vec<Action>) {
        let feeders = &state.gateways[usize::from(gateway)].feeders[..self.feeders];
        let mut seen_idle = false;
        for (number, feeder) in (0..).zip(feeders) {
            if *feeder == Feeder::Idle {
                if state.budget.polls > 0 && !seen_idle {
                    for lease in self.leases {
                        actions.push(Action::SendPoll(gateway, number, *lease));
                    }
                }
                seen_idle = true;
                continue;
            }
            actions.push(Action::GiveUp(gateway, number));
            if state.budget.late > 0 && matches!(feeder, Feeder::Waiting(_)) {
                actions.push(Action::GiveUpEarly(gateway, number));
            }
            if self.may_begin(feeder) {
                actions.push(Action::Begin(gateway, number));
            }
            if self.next_tombstone(feeder).is_some() {
                actions.push(Action::WriteTombstone(gateway, number));
                if state.budget.unwritable > 0 {
                    actions.push(Action::FailTombstone(gateway, number));
                }
            }
            if self.may_apply(feeder) {
                actions.push(Action::Apply(gateway, number));
            }
        }
    }

    fn request_actions(&self, state: &State, gateway: u8, actions: &mut Vec<Action>) {
        let place = usize::from(gateway);
        match self.view(state, place) {
            None => {
                for key in (0..).take(self.revocable.len()) {
                    actions.push(Action::Arrive(gateway, key));
                }
            }
            Some((request, view)) => {
                let asks = view == View::Absent || view == View::Active && !request.control.1;
                let workers = self.workers(state, place);
                let workers = workers.into_iter().take(if asks { MOST } else { 1 });
                actions.extend(workers.map(|worker| Action::Look(gateway, worker)));
            }
        }
        let calls = &state.gateways[place].calls[..self.workers];
        for (worker, call) in (0..).zip(calls) {
            let Some(call) = call else { continue };
            match call.step {
                Step::Queued => actions.push(Action::SendCall(gateway, worker)),
                Step::Sent => {
                    actions.push(Action::Resolve(gateway, worker));
                    if !self.rules.s1_one_snapshot {
                        actions.push(Action::ResolveHalf(gateway, worker));
                    }
                    if !self.rules.s1_fresh_snapshot && state.store.disk.revision > FIRST.revision {
                        actions.push(Action::ResolveStale(gateway, worker));
                    }
                }
                Step::HalfRead(_) => actions.push(Action::Resolve(gateway, worker)),
                Step::Answered(_) => actions.push(Action::Check(gateway, worker)),
                Step::Checked(..) => actions.push(Action::Finish(gateway, worker)),
            }
            if !matches!(call.step, Step::Checked(..)) {
                actions.push(Action::LoseCall(gateway, worker));
            }
        }
    }

    /// Whether time may pass: where the barrier is measured, the store and its
    /// clients do at once what they can.
    fn may_tick(&self, state: &State) -> bool {
        if !self.prompt {
            return state.now < self.until;
        }
        let store = &state.store;
        let is_due = (0..)
            .zip(&state.rotations)
            .any(|(key, rotation)| rotation.waits && !rotation.told && self.is_open(state, key));
        let is_published = store.head == store.disk.revision;
        state.now < self.until && is_published && !is_due
    }

    /// Where the barrier is measured: a poll that the store answers at once.
    fn due_poll(&self, state: &State) -> Option<u8> {
        let is_due = |poll: &Poll| {
            let head = state.store.head;
            let has_news = poll.cursor.is_none_or(|cursor| cursor.revision < head);
            matches!(poll.stage, Stage::Held(..)) && has_news
        };
        let due = state.polls.iter().position(is_due).filter(|_| self.prompt);
        due.map(index)
    }

    /// Everything that can happen.
    pub fn possible(&self, state: &State, actions: &mut Vec<Action>) {
        if let Some(poll) = self.due_poll(state) {
            return actions.push(Action::Read(poll));
        }
        if self.may_tick(state) {
            actions.push(Action::Tick);
        }
        self.store_actions(state, actions);
        self.poll_actions(state, actions);
        for gateway in (0..).take(self.gateways) {
            let owner = &state.gateways[usize::from(gateway)];
            if owner.lag != Moment::default() {
                actions.push(Action::CatchUp(gateway));
            }
            if state.budget.gateway_crashes > 0 && (gateway == 0 || !self.one_process) {
                actions.push(Action::RestartGateway(gateway));
            }
            self.feeder_actions(state, gateway, actions);
            self.request_actions(state, gateway, actions);
        }
    }
}
