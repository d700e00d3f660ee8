//! States that differ by nothing that matters are one: what is over is forgotten.

use super::parties::etcd::{Event, LOST};
use super::state::{Phase, State, Tick, Transaction};
use super::world::{Restore, World};

impl State {
    /// The same state without what is over.
    pub(super) fn canonical(mut self, world: &World) -> Self {
        world.forget_transactions(&mut self);
        for store in 0..self.stores.len() {
            world.forget_in_store(&mut self, store);
        }
        for gateway in 0..self.gateways.len() {
            world.forget_in_gateway(&mut self, gateway);
        }
        world.forget_log(&mut self);
        self
    }
}

impl World {
    /// Revisions only grow, so a comparison that has failed fails for ever; unless the
    /// cluster is restored.
    fn forget_transactions(&self, state: &mut State) {
        // No transaction of a lost history passes either, if that is accepted.
        let fails_for_ever = self.restore == Restore::Accepted && self.rules.r8_history;
        if state.left.restores > 0 && !fails_for_ever {
            return;
        }
        let (etcd, told) = (&state.etcd, state.told);
        let mut sent = std::mem::take(&mut state.sent);
        sent.retain(|sent| match sent {
            Transaction::Create(..) => true,
            Transaction::Condemn(..) if told => false,
            sent => self.passes(etcd, *sent),
        });
        state.sent = sent;
    }

    fn forget_in_store(&self, state: &mut State, place: usize) {
        let clock = state.clock(place);
        let (told, etcd) = (state.told, &state.etcd);
        let of = &mut state.stores[place];
        for held in &mut of.held {
            *held = held.filter(|held| held.until > clock);
        }
        if of.fence <= clock && clock > 0 {
            of.fence = of.fence.min(1);
        }
        if of.embargo <= clock {
            of.embargo = 0;
        }
        if told {
            (of.owed, of.observed) = (None, None);
        }
        if let Some(seen) = &mut of.observed {
            let patience = match seen.slot {
                LOST => self.ttl.max(self.lease),
                _ => self.ttl,
            };
            let is_over = |since: Tick| since + patience + self.drift <= clock;
            if is_over(seen.since) {
                seen.since = 0;
            }
            let line = etcd.head.line(seen.slot);
            let moved = line.is_none_or(|line| line.modified != seen.modified);
            if moved && self.rules.r3_compare && self.rules.r3_deleted && state.left.restores == 0 {
                of.observed = None;
            }
        }
        if of.phase == Phase::Halted {
            (of.owed, of.observed, of.fence) = (None, None, 0);
        }
    }

    fn forget_in_gateway(&self, state: &mut State, place: usize) {
        let clock = state.gateway_clock(place);
        let of = &mut state.gateways[place];
        if of.deadline <= clock {
            of.deadline = 0;
        }
        if let Some(poll) = &mut of.poll
            && poll.sent + self.lease <= clock
            && self.lease <= clock
        {
            poll.sent = 0;
        }
    }

    /// Nobody reads what all watches have shown; nobody asks when a beat was sent that
    /// has come back.
    fn forget_log(&self, state: &mut State) {
        let watching = self.stores().map(|store| &state.stores[store]);
        let watching = watching.filter(|of| matches!(of.phase, Phase::Running | Phase::Ending));
        let seen = watching.map(|of| of.memory.revision).min();
        if let Some(seen) = seen
            && !self.stale
            && state.left.restores == 0
        {
            state.etcd.forget(seen);
        }
        let start = state.etcd.start.revision;
        for (revision, event) in (start + 1..).zip(&mut state.etcd.log) {
            if let Event::Beaten(beat) = event
                && state.stores[beat.store].memory.revision >= revision
            {
                beat.sent = 0;
            }
        }
    }
}
