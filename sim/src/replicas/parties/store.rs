//! A store: its watch, its line, its fence and the leases that it grants.

use super::etcd::{Beat, Data, Event, Revision};
use crate::replicas::state::{Held, History, Phase, State, Store, Transaction};
use crate::replicas::world::{Margin, World};

impl Store {
    /// The history that its transactions are for.
    pub(in crate::replicas) fn history(&self) -> History {
        History(self.memory.history)
    }

    /// Forgets what one life knew, and reads.
    fn read(&mut self, data: Data) {
        self.memory = data;
        self.claimed = 0;
    }
}

impl World {
    /// R2: a beat has come back.
    pub(in crate::replicas) fn confirm(&self, state: &mut State, beat: Beat) {
        let since = match self.rules.r2_from_sending {
            true => beat.sent,
            false => state.clock(beat.store),
        };
        let store = &mut state.stores[beat.store];
        store.fence = store.fence.max(since + self.ttl);
    }

    /// A store's watch shows the next change.
    pub(in crate::replicas) fn deliver(&self, state: &mut State, store: usize) {
        let Some(event) = state.etcd.after(state.stores[store].memory.revision) else {
            return;
        };
        let of = &mut state.stores[store];
        of.memory.apply(event);
        match event {
            Event::Beaten(beat) if beat.store == store => self.confirm(state, beat),
            // R8: nothing that was known holds in another history.
            Event::Accepted(_) => of.phase = Phase::Halted,
            // R1: one life is over, and the next begins with another line.
            Event::Gone(slot) if slot == store && state.left.joins[store] > 0 => {
                (of.phase, of.fence) = (Phase::Running, 0);
            }
            _ => {}
        }
    }

    /// A store reads everything: when it begins, and when its watch has to begin again.
    pub(in crate::replicas) fn read_all(
        &self,
        state: &mut State,
        store: usize,
        revision: Revision,
    ) {
        let data = state.etcd.at(revision);
        let of = &mut state.stores[store];
        if of.phase == Phase::New {
            of.phase = Phase::Running;
        } else if !state.etcd.is_compacted(of.memory.revision) {
            state.left.broken_watches -= 1;
        }
        of.read(data);
    }

    /// The revisions that a plain read may answer with.
    pub(in crate::replicas) fn readable(
        &self,
        state: &State,
        store: usize,
    ) -> std::ops::RangeInclusive<u8> {
        let head = state.etcd.head.revision;
        let first = if self.stale {
            state.etcd.start.revision
        } else {
            head
        };
        let of = &state.stores[store];
        // R5: what is older than that is thrown away.
        let seen = match of.phase == Phase::New || !self.rules.r5_header {
            true => first,
            false => of.memory.revision,
        };
        first.max(seen)..=head
    }

    /// Without R7: a watch is opened again at the head.
    pub(in crate::replicas) fn reopen(&self, state: &mut State, store: usize) {
        state.left.broken_watches -= 1;
        state.stores[store].memory.revision = state.etcd.head.revision;
    }

    /// What a store's line may say: up to where it has seen everything, and its
    /// gateways as well.
    pub(in crate::replicas) fn upto(&self, state: &State, store: usize) -> Revision {
        let of = &state.stores[store];
        let leases = of.held.iter().flatten();
        let acked = leases.map(|held| held.acked).min();
        let seen = of.memory.revision.max(of.claimed);
        seen.min(acked.unwrap_or(Revision::MAX))
    }

    fn next_beat(&self, state: &mut State, store: usize) -> Beat {
        let (upto, sent) = (self.upto(state, store), state.clock(store));
        let of = &mut state.stores[store];
        of.beats += 1;
        of.beaten = self.prompt.then_some(sent);
        Beat {
            store,
            number: of.beats,
            upto,
            sent,
        }
    }

    /// R1: a store's line is created.
    pub(in crate::replicas) fn create(&self, state: &mut State, store: usize) {
        state.left.joins[store] -= 1;
        let beat = self.next_beat(state, store);
        // Without a part of R4 the line need not stand.
        if !self.rules.r4_line_first {
            self.confirm(state, beat);
        }
        let history = state.stores[store].history();
        state.send(Transaction::Create(beat, history));
    }

    /// R1: it is beaten.
    pub(in crate::replicas) fn beat(&self, state: &mut State, store: usize) {
        let Some(line) = state.stores[store].memory.line(store) else {
            return;
        };
        state.left.beats[store] -= 1;
        let beat = self.next_beat(state, store);
        let history = state.stores[store].history();
        state.send(Transaction::Beat(beat, line.created, history));
    }

    /// The store deletes its own line.
    pub(in crate::replicas) fn end(&self, state: &mut State, store: usize) {
        let of = &state.stores[store];
        if let Some(line) = of.memory.line(store) {
            let history = of.history();
            // R2: a beat may be late, and come back when the line is given up.
            if self.rules.r2_ended {
                state.stores[store].phase = Phase::Ending;
            }
            state.send(Transaction::End(store, line.created, history));
        }
    }

    /// Whether a store may beat.
    pub(in crate::replicas) fn may_beat(&self, state: &State, store: usize) -> bool {
        let of = &state.stores[store];
        let clock = state.clock(store);
        let is_due = !self.prompt || of.beaten != Some(clock);
        of.phase == Phase::Running
            && of.memory.line(store).is_some()
            && state.left.beats[store] > 0
            && is_due
            && (clock < of.fence || !self.rules.r2_past_fence)
    }

    /// Whether a store may create its line.
    pub(in crate::replicas) fn may_join(&self, state: &State, store: usize) -> bool {
        let of = &state.stores[store];
        let is_sent = |sent: &Transaction| matches!(sent, Transaction::Create(beat, _) if beat.store == store);
        of.phase == Phase::Running
            && of.memory.line(store).is_none()
            && state.left.joins[store] > 0
            && !state.sent.iter().any(is_sent)
    }

    /// Whether a store may delete its own line: at a planned stop behind its leases, and
    /// past its fence, where it has none.
    pub(in crate::replicas) fn may_end(&self, state: &State, store: usize) -> bool {
        let of = &state.stores[store];
        let is_sent =
            |sent: &Transaction| matches!(sent, Transaction::End(slot, ..) if *slot == store);
        let is_quiet = of.held.iter().all(Option::is_none) || !self.rules.r3_stop;
        let may = match of.phase {
            Phase::Ending => is_quiet,
            Phase::Running => state.left.joins[store] > 0 && of.fence <= state.clock(store),
            Phase::New | Phase::Halted => false,
        };
        may && of.memory.line(store).is_some() && !state.sent.iter().any(is_sent)
    }

    fn fence_margin(&self) -> u8 {
        self.margin(Margin::when(self.rules.r2_margin))
    }

    /// R2: whether a store may say "active".
    pub(in crate::replicas) fn says_active(&self, state: &State, store: usize) -> bool {
        let of = &state.stores[store];
        let is_inside = state.clock(store) + self.fence_margin() < of.fence;
        let is_inside = is_inside || (of.fence > 0 && !self.rules.r2_when_leaving);
        of.phase == Phase::Running && is_inside && of.memory.revoked == 0
    }

    /// R2: whether a store may grant the lease.
    pub(in crate::replicas) fn may_grant(&self, state: &State, store: usize) -> bool {
        let of = &state.stores[store];
        let ends = state.clock(store) + self.lease + self.fence_margin();
        let is_inside = ends <= of.fence || !self.rules.r2_when_leaving;
        of.phase == Phase::Running && of.fence > 0 && is_inside
    }

    /// Registers a lease: what the gateway has acknowledged, and until when it holds.
    pub(in crate::replicas) fn register(&self, state: &mut State, store: usize, lease: Lease) {
        let until = state.clock(store) + self.lease + self.drift;
        let held = &mut state.stores[store].held[lease.gateway];
        let before = held.unwrap_or(Held {
            acked: lease.acked,
            until,
        });
        *held = Some(Held {
            acked: before.acked.max(lease.acked),
            until: before.until.max(until),
        });
    }
}

/// A lease as it is registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::replicas) struct Lease {
    /// Whose.
    pub gateway: usize,
    /// What the gateway has acknowledged with its poll.
    pub acked: Revision,
}

impl State {
    /// Sends a transaction.
    pub(in crate::replicas) fn send(&mut self, transaction: Transaction) {
        self.sent.push(transaction);
        self.sent.sort_unstable();
    }
}
