//! What can happen next.

use super::state::{Phase, State, Transaction};
use super::steps::{Action, Slow};
use super::world::World;

impl World {
    /// Everything that can happen.
    pub fn possible(&self, state: &State, actions: &mut Vec<Action>) {
        // A 200 that may leave leaves at once: a later one forbids less.
        let told = self.stores().find(|store| self.may_tell(state, *store));
        if let Some(store) = told {
            return actions.push(Action::Tell(store));
        }
        self.of_etcd(state, actions);
        for store in self.stores() {
            self.of_line(state, store, actions);
            self.of_rotation(state, store, actions);
        }
        // Where all is prompt, time waits for whatever can be done.
        if state.now < self.until && (!self.prompt || actions.is_empty()) {
            self.ticks(state, actions);
        }
        for gateway in 0..self.gateways {
            self.of_gateway(state, gateway, actions);
        }
    }

    fn of_etcd(&self, state: &State, actions: &mut Vec<Action>) {
        for sent in &state.sent {
            actions.push(Action::CarryOut(*sent));
            if state.left.lost > 0 && matches!(sent, Transaction::Rotate(..)) {
                actions.push(Action::CarryOutUnheard(*sent));
            }
        }
        if state.left.restores > 0 {
            actions.push(Action::Restore);
        }
        if !self.rules.r5_active && self.stale {
            let readable = state.etcd.start.revision..=state.etcd.head.revision;
            actions.extend(readable.map(Action::ReadActive));
        }
    }

    /// A store's watch and its line.
    fn of_line(&self, state: &State, store: usize, actions: &mut Vec<Action>) {
        let of = &state.stores[store];
        let watches = of.phase != Phase::New && self.silent != Some(store);
        let revision = of.memory.revision;
        if watches && state.etcd.after(revision).is_some() {
            actions.push(Action::Watch(store));
        }
        let is_cut_off = watches && state.left.broken_watches > 0 && of.phase == Phase::Running;
        let is_compacted = watches && state.etcd.is_compacted(revision);
        if of.phase == Phase::New || is_cut_off || is_compacted {
            let readable = self.readable(state, store);
            actions.extend(readable.map(|revision| Action::ReadAll(store, revision)));
        }
        if is_cut_off && !self.rules.r7_last_revision && revision < state.etcd.head.revision {
            actions.push(Action::OpenAtHead(store));
        }
        if self.may_join(state, store) {
            actions.push(Action::Create(store));
        }
        if self.may_beat(state, store) {
            actions.push(Action::Beat(store));
        }
        if of.phase == Phase::Running && state.left.stops > 0 && self.follows.contains(&store) {
            actions.push(Action::Stop(store));
        }
        if self.may_end(state, store) {
            actions.push(Action::End(store));
        }
    }

    fn of_rotation(&self, state: &State, store: usize, actions: &mut Vec<Action>) {
        let of = &state.stores[store];
        let runs = of.phase == Phase::Running;
        if runs && self.rotates.contains(&store) {
            let is_revoked = state.etcd.head.revoked > 0;
            let is_restored = state.left.restores == 0;
            if state.left.rotations > 0 && is_restored && of.memory.revoked == 0 {
                actions.push(Action::Rotate(store));
            }
            if state.left.repeats > 0 && is_revoked && of.owed.is_none() && !state.told {
                actions.push(Action::Repeat(store));
            }
        }
        // Where the 200 is out nobody waits for a line any more.
        if !self.observes.contains(&store) || state.told {
            return;
        }
        for slot in self.observed {
            if self.may_observe(state, store, *slot) {
                actions.push(Action::Observe(store, *slot));
            }
        }
        if self.condemned(state, store).is_some() {
            actions.push(Action::Condemn(store));
        }
        if self.may_conclude(state, store) {
            actions.push(Action::Conclude(store));
        }
    }

    fn of_gateway(&self, state: &State, gateway: usize, actions: &mut Vec<Action>) {
        if state.left.polls[gateway] > 0 {
            let follows = self.follows.iter();
            actions.extend(follows.map(|store| Action::Poll(gateway, *store)));
        }
        if self.may_answer(state, gateway) {
            actions.push(Action::Answer(gateway));
        }
    }

    /// A tick, in which any clock may stand still that is not yet as slow as it can be.
    fn ticks(&self, state: &State, actions: &mut Vec<Action>) {
        let mut ticks = vec![Slow::NOBODY];
        for store in self.stores() {
            if state.stores[store].lag < self.drift {
                let mut slower = ticks.clone();
                slower.iter_mut().for_each(|slow| slow.stores[store] = true);
                ticks.extend(slower);
            }
        }
        for gateway in 0..self.gateways {
            if state.gateways[gateway].lag < self.drift {
                let mut slower = ticks.clone();
                slower
                    .iter_mut()
                    .for_each(|slow| slow.gateways[gateway] = true);
                ticks.extend(slower);
            }
        }
        actions.extend(ticks.into_iter().map(Action::Tick));
    }
}
