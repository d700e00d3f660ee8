//! The steps of attempts: gateways call stores, stores read and write.

use super::state::{Age, End, Id, OLD, Phase, State, Wish, Write, new_key};
use super::world::World;
use crate::replicas::parties::log::Hearing;

/// Ticks after that of its writing for which an id is kept.
const KEPT: Age = 1;

/// A step. Requests come by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// A client sends its request; its gateway draws an id.
    Send(usize),
    /// The gateway makes an attempt, at any store.
    Call(usize),
    /// A store takes the attempt: it answers by what it has read, or writes.
    Take(usize, Choice),
    /// etcd carries the write out, or it does not pass.
    CarryOut(Write, Hearing),
    /// The gateway gives the request up.
    GiveUp(usize),
    /// The tick key is rewritten.
    Tick,
    /// An old id is deleted.
    Prune(usize),
}

/// What a store makes of an attempt that it may carry out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Choice {
    /// It carries it out, if the old key is active.
    CarryOut,
    /// It refuses: too early, or it is about to stop.
    Refuse,
}

impl World {
    /// Everything that can happen.
    pub fn possible(&self, state: &State, actions: &mut Vec<Action>) {
        for request in 0..self.requests {
            let of = &state.requests[request];
            match of.phase {
                Phase::Unsent => actions.push(Action::Send(request)),
                Phase::Open => actions.push(Action::GiveUp(request)),
                Phase::Ended(_) => {}
            }
            // A gateway has less patience than a tick takes.
            let is_patient = state.records.tick <= of.born + 1;
            if of.phase == Phase::Open && of.attempts > 0 && is_patient {
                actions.push(Action::Call(request));
            }
            if state.calls.contains(&request) {
                actions.push(Action::Take(request, Choice::CarryOut));
                actions.push(Action::Take(request, Choice::Refuse));
            }
            if self.may_prune(state, request) {
                actions.push(Action::Prune(request));
            }
        }
        for write in &state.sent {
            actions.push(Action::CarryOut(*write, Hearing::Heard));
            actions.push(Action::CarryOut(*write, Hearing::Lost));
        }
        if state.ticks > 0 {
            actions.push(Action::Tick);
        }
    }

    /// R6: an id is kept for longer than any transaction that could be late.
    fn may_prune(&self, state: &State, request: usize) -> bool {
        match state.records.ids[request] {
            Id::Absent => false,
            Id::Used(at) | Id::Burned(at) => {
                self.prunes && (state.records.tick > at + KEPT || !self.rules.r6_kept)
            }
        }
    }

    /// Carries a step out.
    pub fn step(&self, state: &mut State, action: Action) {
        match action {
            Action::Send(request) => {
                state.requests[request].phase = Phase::Open;
                state.requests[request].born = state.records.tick;
            }
            Action::Call(request) => {
                state.requests[request].attempts -= 1;
                state.call(request);
            }
            Action::Take(request, choice) => self.take(state, request, choice),
            Action::CarryOut(write, hearing) => self.carry_out(state, write, hearing),
            Action::GiveUp(request) => {
                let end = match self.rules.r6_unknown {
                    true => End::Unknown,
                    false => End::Nothing,
                };
                state.hear(request, end);
            }
            Action::Tick => {
                state.ticks -= 1;
                state.records.tick += 1;
            }
            Action::Prune(request) => state.records.ids[request] = Id::Absent,
        }
    }

    /// A store takes an attempt. What it reads may be old when its write is carried out.
    fn take(&self, state: &mut State, request: usize, choice: Choice) {
        if let Some(place) = state.calls.iter().position(|call| *call == request) {
            state.calls.remove(place);
        }
        let records = state.records;
        let born = state.requests[request].born;
        match records.ids[request] {
            Id::Used(_) => return state.hear(request, End::Rotated),
            Id::Burned(_) => return state.hear(request, End::Nothing),
            Id::Absent => {}
        }
        let has_age = self.rules.r6_tick && self.rules.r6_tick_at_birth;
        if has_age && records.tick > born {
            // No attempt of this id can be carried out any more. Whether one was is known
            // only while its id would still be there.
            let is_known = records.tick <= born + KEPT || !self.rules.r6_aged;
            let end = if is_known { End::Nothing } else { End::Unknown };
            return state.hear(request, end);
        }
        let wish = match choice {
            Choice::CarryOut if records.active[OLD] => Wish::Rotate,
            _ => Wish::Burn,
        };
        if wish == Wish::Burn && !self.rules.r6_burned {
            return state.hear(request, End::Nothing);
        }
        let tick = match self.rules.r6_tick_at_birth {
            true => born,
            false => records.tick,
        };
        state.sent.push(Write {
            request,
            wish,
            user: records.user,
            tick,
        });
        state.sent.sort_unstable();
    }

    /// etcd compares and writes, or says what it has of the id.
    fn carry_out(&self, state: &mut State, write: Write, hearing: Hearing) {
        if let Some(place) = state.sent.iter().position(|sent| *sent == write) {
            state.sent.remove(place);
        }
        let records = &mut state.records;
        let request = write.request;
        let id = records.ids[request];
        let is_absent = id == Id::Absent || !self.rules.r6_id;
        let is_in_time = records.tick == write.tick || !self.rules.r6_tick;
        let is_as_read = records.user == write.user || !self.rules.r5_compare;
        let passes = is_absent && is_in_time && (is_as_read || write.wish == Wish::Burn);
        let end = match (write.wish, id) {
            (Wish::Rotate, _) if passes => {
                records.ids[request] = Id::Used(records.tick);
                records.user += 1;
                records.active[OLD] = false;
                records.active[new_key(request)] = true;
                state.made[request] = true;
                Some(End::Rotated)
            }
            (Wish::Burn, _) if passes => {
                records.ids[request] = Id::Burned(records.tick);
                Some(End::Nothing)
            }
            (_, Id::Used(_)) => Some(End::Rotated),
            (_, Id::Burned(_)) => Some(End::Nothing),
            (_, Id::Absent) => None,
        };
        match (hearing, end) {
            (Hearing::Heard, Some(end)) => state.hear(request, end),
            // The store reads again.
            (Hearing::Heard, None) => state.call(request),
            (Hearing::Lost, _) => {}
        }
    }
}

impl State {
    fn call(&mut self, request: usize) {
        self.calls.push(request);
        self.calls.sort_unstable();
    }

    /// The client of a request that is under way hears its end.
    fn hear(&mut self, request: usize, end: End) {
        let of = &mut self.requests[request];
        if of.phase == Phase::Open {
            of.phase = Phase::Ended(end);
        }
    }
}
