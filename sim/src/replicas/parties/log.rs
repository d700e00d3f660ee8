//! What etcd does with a transaction: it compares, writes and answers. That may be
//! long after it was sent.

use super::etcd::{Beat, Etcd, Event, Heir, LOST};
use crate::replicas::state::{History, Lines, Owed, State, Transaction};
use crate::replicas::world::{Restore, World};

/// Whether the sender hears the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hearing {
    /// It does.
    Heard,
    /// The answer gets lost.
    Lost,
}

impl World {
    /// R8: a transaction is for one history.
    fn is_for(&self, etcd: &Etcd, history: History) -> bool {
        etcd.head.history == history.0 || !self.rules.r8_history
    }

    /// Whether a transaction would write now.
    pub(in crate::replicas) fn passes(&self, etcd: &Etcd, transaction: Transaction) -> bool {
        let rules = &self.rules;
        let line = |slot| etcd.head.line(slot);
        match transaction {
            Transaction::Create(beat, history) => {
                self.is_for(etcd, history) && line(beat.store).is_none()
            }
            Transaction::Beat(beat, created, history) => {
                let stands = line(beat.store).is_some_and(|line| line.created == created);
                let is_newer = line(beat.store).is_none_or(|line| line.beat < beat.number);
                self.is_for(etcd, history)
                    && (stands || !rules.r1_own_line)
                    && (is_newer || !rules.r1_newer)
            }
            Transaction::Condemn(slot, modified, history) => {
                let stands_still = |modified_now| modified_now == modified || !rules.r3_compare;
                self.is_for(etcd, history)
                    && line(slot).is_some_and(|line| stands_still(line.modified))
            }
            Transaction::End(slot, created, history) => {
                self.is_for(etcd, history) && line(slot).is_some_and(|line| line.created == created)
            }
            Transaction::Rotate(_, _, history) => {
                self.is_for(etcd, history) && etcd.head.revoked == 0
            }
            Transaction::Reread(_, history) => self.is_for(etcd, history),
        }
    }

    /// Carries a transaction out, or finds that it does not pass.
    pub(in crate::replicas) fn carry_out(
        &self,
        state: &mut State,
        transaction: Transaction,
        hearing: Hearing,
    ) {
        let place = state.sent.iter().position(|sent| *sent == transaction);
        if let Some(place) = place {
            state.sent.remove(place);
        }
        if !self.passes(&state.etcd, transaction) {
            return;
        }
        let etcd = &mut state.etcd;
        match transaction {
            Transaction::Create(beat, _) | Transaction::Beat(beat, ..) => {
                etcd.write(Event::Beaten(beat));
                self.is_answered(state, beat);
            }
            Transaction::Condemn(slot, ..) | Transaction::End(slot, ..) => {
                etcd.write(Event::Gone(slot));
            }
            Transaction::Rotate(store, lines, _) => {
                etcd.write(Event::Revoked);
                let lines = match self.rules.r4_in_transaction {
                    true => Lines::of(&etcd.head),
                    false => lines,
                };
                state.revoked_at = self.prompt.then_some(state.now);
                if hearing == Hearing::Heard {
                    let revision = state.etcd.head.revision;
                    state.stores[store].owed = Some(Owed { revision, lines });
                }
            }
            Transaction::Reread(store, _) => {
                etcd.write(Event::Other);
                state.stores[store].owed = Some(Owed {
                    revision: etcd.head.revoked,
                    lines: Lines::of(&etcd.head),
                });
            }
        }
    }

    /// The sender of a beat has its answer. That says nothing, given R2; without one of
    /// its parts it ends the wait or stands for what was not seen.
    fn is_answered(&self, state: &mut State, beat: Beat) {
        if !self.rules.r2_own_watch {
            self.confirm(state, beat);
        }
        if !self.rules.r2_marker {
            state.stores[beat.store].claimed = state.etcd.head.revision;
        }
    }

    /// The cluster is restored from its first snapshot, while stores and gateways, and
    /// what they have sent, are of the history that is lost.
    pub(in crate::replicas) fn restore(&self, state: &mut State) {
        state.left.restores -= 1;
        let mut data = state.etcd.start;
        if self.restore == Restore::Higher {
            data.revision = state.etcd.head.revision + 2;
        }
        state.etcd = Etcd::new(data);
        if self.restore == Restore::Accepted {
            let is_for_all = self.rules.r8_wait && self.rules.r8_everybody;
            let heir = if is_for_all { Heir::Line } else { Heir::Nobody };
            state.etcd.write(Event::Accepted(heir));
            // Without a part of R8 the store that accepts waits, and no other.
            let accepts = self
                .joining
                .first()
                .filter(|_| self.rules.r8_wait && !is_for_all);
            if let Some(store) = accepts {
                state.stores[*store].embargo = state.now + self.ttl;
            }
        }
    }

    /// How long a line has to stand still before it may be deleted (R3, R8). Without a part
    /// of R3 the observer has a shorter TTL.
    pub(in crate::replicas) fn patience(&self, slot: usize) -> u8 {
        if slot == LOST && !self.rules.r8_longest {
            return self.lease;
        }
        match self.rules.r3_own_ttl {
            true => self.ttl,
            false => self.ttl - 1,
        }
    }
}
