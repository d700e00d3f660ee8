//! The barrier over all stores: a rotation, the lines that it waits for, and the lines
//! that are deleted because nobody beats them.

use super::etcd::Revision;
use crate::replicas::state::{Lines, Observed, Owed, Phase, State, Transaction};
use crate::replicas::world::{Margin, World};

impl World {
    /// A store sends a rotation.
    pub(in crate::replicas) fn rotate(&self, state: &mut State, store: usize) {
        state.left.rotations -= 1;
        // Without a part of R4 the lines are read before.
        let lines = match self.rules.r4_in_transaction {
            true => Lines::default(),
            false => Lines::of(&state.etcd.head),
        };
        let history = state.stores[store].history();
        state.send(Transaction::Rotate(store, lines, history));
    }

    /// A rotation whose answer was lost is repeated by this store.
    pub(in crate::replicas) fn repeat(&self, state: &mut State, store: usize) {
        state.left.repeats -= 1;
        let of = &mut state.stores[store];
        if self.rules.r4_repeat {
            let history = of.history();
            state.send(Transaction::Reread(store, history));
        } else {
            of.owed = Some(Owed {
                revision: state.etcd.head.revoked,
                lines: Lines::of(&of.memory),
            });
        }
    }

    /// Whether this store need not wait for a line any more: it says so itself, it was
    /// deleted, or it is of a later life (R4). Its own line it knows before it is written.
    fn is_past(&self, state: &State, store: usize, slot: Slot) -> bool {
        let line = state.stores[store].memory.line(slot.number);
        let says = |upto| match slot.number == store {
            true => self.upto(state, store),
            false => upto,
        };
        line.is_none_or(|line| line.created > slot.revision || says(line.upto) >= slot.revision)
    }

    /// Whether a store may give the 200. Its watch has to have come that far. It need not
    /// be in its fence, because what it has seen stays true.
    pub(in crate::replicas) fn may_tell(&self, state: &State, store: usize) -> bool {
        let of = &state.stores[store];
        let Some(owed) = of.owed else {
            return false;
        };
        let all_past = owed.lines.0.iter().enumerate().all(|(number, waits)| {
            let slot = Slot {
                number,
                revision: owed.revision,
            };
            !waits || self.is_past(state, store, slot)
        });
        of.phase != Phase::Halted
            && of.memory.history == state.etcd.head.history
            && of.memory.revision >= owed.revision
            && of.embargo <= state.clock(store)
            && all_past
    }

    /// The 200 leaves.
    pub(in crate::replicas) fn tell(&self, state: &mut State, store: usize) {
        let owed = state.stores[store].owed.take();
        state.told = owed.is_some_and(|owed| owed.revision == state.etcd.head.revoked);
    }

    /// Whether a store may read how far a line is, to see whether it stands still.
    pub(in crate::replicas) fn may_observe(
        &self,
        state: &State,
        store: usize,
        slot: usize,
    ) -> bool {
        let of = &state.stores[store];
        let line = state.etcd.head.line(slot);
        let is_observed = |modified| {
            of.observed
                .is_some_and(|seen| seen.slot == slot && seen.modified == modified)
        };
        of.phase == Phase::Running
            && slot != store
            && line.is_some_and(|line| !is_observed(line.modified))
    }

    /// R3: it does.
    pub(in crate::replicas) fn observe(&self, state: &mut State, store: usize, slot: usize) {
        let clock = state.clock(store);
        let line = state.etcd.head.line(slot);
        // Without a part of R3 the time begins when the reading was asked for, and that
        // was a tick ago.
        let since = match self.rules.r3_from_arrival {
            true => clock,
            false => clock.saturating_sub(1),
        };
        state.stores[store].observed = line.map(|line| Observed {
            slot,
            modified: line.modified,
            since,
        });
    }

    /// R3: whether a line has stood still for long enough by the observer's clock.
    pub(in crate::replicas) fn has_stood_still(
        &self,
        state: &State,
        store: usize,
        seen: Observed,
    ) -> bool {
        let margin = self.margin(Margin::when(self.rules.r3_margin));
        let end = seen.since + self.patience(seen.slot) + margin;
        end <= state.clock(store) || !self.rules.r3_waits
    }

    /// The line that a store may have deleted.
    pub(in crate::replicas) fn condemned(&self, state: &State, store: usize) -> Option<Observed> {
        let of = &state.stores[store];
        let seen = of.observed.filter(|_| of.phase == Phase::Running)?;
        let is_sent = |sent: &Transaction| matches!(sent, Transaction::Condemn(slot, ..) if *slot == seen.slot);
        let is_sent = state.sent.iter().any(is_sent);
        (!is_sent && self.has_stood_still(state, store, seen)).then_some(seen)
    }

    /// R3: the verdict is sent.
    pub(in crate::replicas) fn condemn(&self, state: &mut State, store: usize, seen: Observed) {
        let of = &mut state.stores[store];
        of.observed = None;
        let history = of.history();
        state.send(Transaction::Condemn(seen.slot, seen.modified, history));
    }

    /// Without a part of R3: whether a store counts a line as dead because its last
    /// reading is like the first. That reading is as old as its watch.
    pub(in crate::replicas) fn may_conclude(&self, state: &State, store: usize) -> bool {
        let of = &state.stores[store];
        let Some(seen) = of.observed.filter(|_| !self.rules.r3_deleted) else {
            return false;
        };
        let line = of.memory.line(seen.slot);
        self.has_stood_still(state, store, seen)
            && line.is_some_and(|line| line.modified == seen.modified)
            && of.owed.is_some_and(|owed| owed.lines.0[seen.slot])
    }

    /// It does.
    pub(in crate::replicas) fn conclude(&self, state: &mut State, store: usize) {
        let of = &mut state.stores[store];
        if let (Some(seen), Some(owed)) = (of.observed, &mut of.owed) {
            owed.lines.0[seen.slot] = false;
        }
    }
}

/// A line, and the revision that is waited for.
#[derive(Debug, Clone, Copy)]
struct Slot {
    number: usize,
    revision: Revision,
}
