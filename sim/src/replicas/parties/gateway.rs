//! A gateway: it polls any store, and trusts its cache for the lease from the sending
//! of its poll on (G1).

use super::store::Lease;
use crate::replicas::state::{Cursor, Poll, State};
use crate::replicas::world::World;

impl World {
    /// A gateway polls a store. It gives up the poll that it has sent before.
    pub(in crate::replicas) fn poll(&self, state: &mut State, gateway: usize, store: usize) {
        let sent = state.gateway_clock(gateway);
        state.left.polls[gateway] -= 1;
        state.gateways[gateway].poll = Some(Poll { store, sent });
    }

    /// Whether the gateway's cursor is of the store's history, and so can be served.
    fn is_served(&self, state: &State, gateway: usize, store: usize) -> bool {
        let applied = state.gateways[gateway].applied;
        applied.history == state.stores[store].memory.history || !self.rules.r8_cursor
    }

    fn is_behind(&self, state: &State, gateway: usize, store: usize) -> bool {
        state.stores[store].memory.revision < state.gateways[gateway].applied.revision
    }

    /// Whether the store that a gateway has asked can answer with a lease.
    pub(in crate::replicas) fn may_answer(&self, state: &State, gateway: usize) -> bool {
        let Some(poll) = state.gateways[gateway].poll else {
            return false;
        };
        let history = state.gateways[gateway].applied.history;
        let is_late = history > state.stores[poll.store].memory.history && self.rules.r8_later;
        let is_behind = self.rules.r8_behind
            && self.is_served(state, gateway, poll.store)
            && self.is_behind(state, gateway, poll.store);
        !is_late && !is_behind && self.may_grant(state, poll.store)
    }

    /// The store registers the poll and answers with the lease. The gateway writes the
    /// tombstone, then it raises its deadline (G3).
    pub(in crate::replicas) fn answer(&self, state: &mut State, gateway: usize) {
        let Some(poll) = state.gateways[gateway].poll else {
            return;
        };
        let applied = state.gateways[gateway].applied;
        let is_reset = !self.is_served(state, gateway, poll.store)
            || self.is_behind(state, gateway, poll.store);
        let acked = if is_reset { 0 } else { applied.revision };
        self.register(state, poll.store, Lease { gateway, acked });
        let memory = state.stores[poll.store].memory;
        let is_news = is_reset || memory.revoked > applied.revision;
        let tells = memory.revoked > 0 && is_news;
        let of = &mut state.gateways[gateway];
        // I1 is meant within one history, and the later one begins without its refusals.
        of.has_refused &= memory.history <= applied.history;
        of.poll = None;
        of.knows = tells || (of.knows && !is_reset);
        of.applied = Cursor {
            history: memory.history,
            revision: memory.revision,
        };
        let deadline = if is_reset { 0 } else { of.deadline };
        of.deadline = deadline.max(poll.sent + self.lease);
        of.has_refused |= of.knows;
        let accepts = state.trusts(gateway) && !state.gateways[gateway].knows;
        state.broken.i1 |= accepts && state.gateways[gateway].has_refused;
    }
}
