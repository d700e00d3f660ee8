//! Requests and the calls that they wait for, step by step: arrive and read
//! control, read the slot, ask the store, merge the answer, decide (G4 to G8).

use crate::model::gateway::feeder::index;
use crate::model::gateway::slot::View;
use crate::model::rules::Rules;
use crate::model::state::{Call, Key, Owed, Request, Resolved, Revision, State, Step};
use crate::model::world::World;

/// How a request ended, or went on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It went to the upstream.
    Accepted,
    /// 401.
    Refused,
    /// It waits for the store.
    Waits,
    /// It has to ask anew, or is told that the store is away.
    Undecided,
}

/// What a request has read of control: the generation's number, whether there
/// is a lease, what is applied.
pub type Arrival = (u8, bool, Revision);

/// The waiter rule (G7), for a request that joined a call after it was sent:
/// whether it may take an active answer of this revision. `cached`: control is
/// still in the generation that the call was sent in (G5).
pub fn may_serve(
    rules: &Rules,
    sent_in: Option<u8>,
    arrival: Arrival,
    revision: Revision,
    cached: bool,
) -> bool {
    let (generation, trusts, applied) = arrival;
    (cached || !rules.g5_share)
        && (trusts || !rules.g7_lease)
        && (sent_in == Some(generation) || !rules.g7_generation)
        && (revision >= applied || !rules.g7_revision)
}

impl World {
    /// A request arrives and reads control.
    pub fn arrive(&self, state: &mut State, gateway: usize, key: Key) {
        let early = (!self.rules.g4_control_first).then(|| self.look_early(state, gateway, key));
        let owner = &state.gateways[gateway];
        let owed = Owed {
            told: state.rotations[usize::from(key)].told,
            refused: if self.process_wide {
                let mut gateways = state.gateways.iter();
                gateways.any(|gateway| gateway.refused[usize::from(key)])
            } else {
                owner.refused[usize::from(key)]
            },
        };
        let control = self.read_control(state, gateway);
        state.gateways[gateway].request = Some(Request {
            key,
            owed,
            control,
            early,
        });
    }

    fn read_control(&self, state: &State, gateway: usize) -> Arrival {
        let control = self.control(state, gateway);
        let trusts = control.trusts(&self.rules, state.moment(gateway));
        let applied = control.applied.map_or(0, |applied| applied.revision);
        (control.generation.number, trusts, applied)
    }

    fn look_early(&self, state: &State, gateway: usize, key: Key) -> View {
        let generation = self.control(state, gateway).generation.number;
        let slot = &state.gateways[gateway].slots[self.slot_of(key)];
        slot.look(&self.rules, generation, key)
    }

    /// What the waiting request reads of its slot.
    pub fn view(&self, state: &State, gateway: usize) -> Option<(Request, View)> {
        let mut request = state.gateways[gateway].request?;
        let slot = &state.gateways[gateway].slots[self.slot_of(request.key)];
        let view = match request.early {
            None => slot.look(&self.rules, request.control.0, request.key),
            Some(early) => {
                // Without G4 control is read now, after the slot.
                request.control = self.read_control(state, gateway);
                early
            }
        };
        Some((request, view))
    }

    /// The request reads its slot and is decided, or asks the store by one of
    /// the workers.
    pub fn look(&self, state: &mut State, gateway: usize, worker: usize) -> Outcome {
        let Some((request, view)) = self.view(state, gateway) else {
            return Outcome::Undecided;
        };
        state.gateways[gateway].request = None;
        match view {
            View::Revoked => self.refuse_as_buried(state, gateway, request.key),
            View::Active if request.control.1 => self.accept(state, request.owed),
            View::Active | View::Absent => self.join(state, gateway, worker, &request),
        }
    }

    fn join(&self, state: &mut State, gateway: usize, worker: usize, asks: &Request) -> Outcome {
        let rules = &self.rules;
        let call = &mut state.gateways[gateway].calls[worker];
        let Some(call) = call else {
            if state.budget.calls == 0 {
                return Outcome::Undecided;
            }
            state.budget.calls -= 1;
            *call = Some(Call {
                key: asks.key,
                step: Step::Queued,
                generation: None,
                asker: asks.owed,
                waiter: None,
            });
            return Outcome::Waits;
        };
        if call.key != asks.key {
            return Outcome::Undecided;
        }
        if call.step == Step::Queued {
            call.asker = call.asker.and(asks.owed);
            return Outcome::Waits;
        }
        // Who cannot take this answer, or to whom nothing is owed, makes no
        // difference to what can go wrong.
        let sent_in = call.generation.map(|generation| generation.number);
        let may = may_serve(rules, sent_in, asks.control, Revision::MAX, true);
        if may && asks.owed.anything() && call.waiter.is_none() {
            call.waiter = Some((asks.owed, asks.control));
            return Outcome::Waits;
        }
        Outcome::Undecided
    }

    /// The root sends a call; it remembers the generation (G5).
    pub fn send_call(&self, state: &mut State, gateway: usize, worker: usize) {
        let control = *self.control(state, gateway);
        if let Some(call) = &mut state.gateways[gateway].calls[worker] {
            call.step = Step::Sent;
            call.generation = control.applied.map(|_| control.generation);
        }
    }

    /// The store answers a resolve; `stale`: from a snapshot before the last
    /// change (without S1).
    pub fn resolve(&self, state: &mut State, gateway: usize, worker: usize, stale: bool) {
        let Some(mut call) = state.gateways[gateway].calls[worker] else {
            return;
        };
        let disk = state.store.disk.revoked[usize::from(call.key)];
        let mut head = state.store.on_disk();
        let mut revoked = match call.step {
            Step::HalfRead(seen) => seen,
            _ => disk,
        };
        if stale {
            revoked = if revoked == head.revision { 0 } else { revoked };
            head.revision -= 1;
        }
        call.step = Step::Answered(Resolved { revoked, head });
        let answered = (!state.store.is_restored).then_some(call);
        state.gateways[gateway].calls[worker] = answered;
    }

    /// Without S1: the state is read, the revision is not.
    pub fn resolve_half(&self, state: &mut State, gateway: usize, worker: usize) {
        if let Some(call) = &mut state.gateways[gateway].calls[worker] {
            call.step = Step::HalfRead(state.store.disk.revoked[usize::from(call.key)]);
        }
    }

    /// The answer has arrived: control is read, and another life of the store
    /// ends lease and generation first (G5).
    pub fn check(&self, state: &mut State, gateway: usize, worker: usize) {
        let Some(mut call) = state.gateways[gateway].calls[worker] else {
            return;
        };
        let Step::Answered(resolved) = call.step else {
            return;
        };
        let now = self.control(state, gateway).generation.number;
        let sent_in = call.generation.map(|generation| generation.number);
        if self.rules.g5_incarnation && sent_in == Some(now) {
            self.heed_answer_of(state, gateway, resolved.head.life);
        }
        call.step = Step::Checked(resolved, self.control(state, gateway).generation);
        state.gateways[gateway].calls[worker] = Some(call);
    }

    /// The answer is merged into the slot, and all who wait are decided.
    pub fn finish(&self, state: &mut State, gateway: usize, worker: usize) -> Outcome {
        let Some(call) = state.gateways[gateway].calls[worker].take() else {
            return Outcome::Undecided;
        };
        let Step::Checked(resolved, now) = call.step else {
            return Outcome::Undecided;
        };
        let rules = &self.rules;
        let slot = &mut state.gateways[gateway].slots[self.slot_of(call.key)];
        let sent_in = call.generation;
        if resolved.revoked > 0 {
            // Whatever is sent in this generation is read after it began, so what
            // was read before needs no trace; and it may be of a history that a
            // restored backup does not remember.
            let is_of_now = resolved.head.revision >= now.began || !rules.g5_this_history;
            let at = if rules.g5_bury_now {
                Some(now)
            } else {
                sent_in
            };
            if let Some(at) = at.filter(|_| rules.g5_store_revoked && is_of_now)
                && !slot.bury(rules, self.ways, at, call.key, resolved.revoked)
                && rules.g5_bury_again
            {
                // It is of a newer generation: once more from the start.
                let step = Step::Answered(resolved);
                state.gateways[gateway].calls[worker] = Some(Call { step, ..call });
                return Outcome::Waits;
            }
            return self.refuse(state, gateway, call.key, resolved.revoked);
        }
        let is_same = sent_in.is_some_and(|sent_in| sent_in.number == now.number);
        let revision = resolved.head.revision;
        let mut view = View::Active;
        if is_same || !rules.g5_cache {
            view = slot.fill(rules, self.ways, now, call.key, revision);
        }
        match view {
            View::Revoked if rules.g6_merged => {
                return self.refuse_as_buried(state, gateway, call.key);
            }
            View::Absent if rules.g6_merged => return Outcome::Undecided,
            _ => {}
        }
        let sent_in = sent_in.map(|sent_in| sent_in.number);
        if let Some((owed, control)) = call.waiter
            && may_serve(rules, sent_in, control, revision, is_same)
        {
            self.accept(state, owed);
        }
        self.accept(state, call.asker)
    }

    fn accept(&self, state: &mut State, owed: Owed) -> Outcome {
        state.broken.i1 |= owed.refused;
        state.broken.i2 |= owed.told;
        Outcome::Accepted
    }

    fn refuse_as_buried(&self, state: &mut State, gateway: usize, key: Key) -> Outcome {
        let slot = &state.gateways[gateway].slots[self.slot_of(key)];
        let revision = slot.revision_of(key);
        self.refuse(state, gateway, key, revision)
    }

    /// A 401, for the key was revoked at this revision.
    fn refuse(&self, state: &mut State, gateway: usize, key: Key, revision: Revision) -> Outcome {
        let revoked = state.store.disk.revoked[usize::from(key)];
        if revoked == revision {
            state.gateways[gateway].refused[usize::from(key)] = true;
        } else if revoked == 0 && state.budget.restores == self.budget.restores {
            // Within one history nobody refuses what the store holds active.
            state.broken.lock_out = true;
        }
        Outcome::Refused
    }

    /// The workers that a request may be at: of those with nothing to do one is
    /// as good as another.
    pub fn workers(&self, state: &State, gateway: usize) -> Vec<u8> {
        let calls = &state.gateways[gateway].calls[..self.workers];
        let mut seen_idle = false;
        let mut workers = Vec::new();
        for (worker, call) in calls.iter().enumerate() {
            let is_idle = call.is_none();
            if !(is_idle && seen_idle) {
                workers.push(index(worker));
            }
            seen_idle |= is_idle;
        }
        workers
    }
}
