//! The steps of a world, one at a time.

use super::parties::etcd::{Revision, STORES};
use super::parties::log::Hearing;
use super::state::{GATEWAYS, Phase, State, Tick, Transaction};
use super::world::World;

/// Whose clocks stand still while a tick goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Slow {
    /// The stores.
    pub stores: [bool; STORES],
    /// The gateways.
    pub gateways: [bool; GATEWAYS],
}

impl Slow {
    /// Nobody's.
    pub const NOBODY: Self = Self {
        stores: [false; STORES],
        gateways: [false; GATEWAYS],
    };
}

/// A step. Stores and gateways come by number, lines by their store's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// A tick of true time.
    Tick(Slow),
    /// etcd carries a transaction out, or it does not pass.
    CarryOut(Transaction),
    /// The same, and the answer gets lost.
    CarryOutUnheard(Transaction),
    /// A store's watch shows the next change.
    Watch(usize),
    /// A store reads everything, as of this revision.
    ReadAll(usize, Revision),
    /// Without R7: a watch is opened again at the head.
    OpenAtHead(usize),
    /// A store sends its line.
    Create(usize),
    /// A store sends a beat.
    Beat(usize),
    /// A store is to stop.
    Stop(usize),
    /// A store sends the deletion of its own line.
    End(usize),
    /// A gateway polls a store.
    Poll(usize, usize),
    /// The store that a gateway has polled answers, and the gateway hears it.
    Answer(usize),
    /// A store sends a rotation.
    Rotate(usize),
    /// A store repeats a rotation whose answer was lost.
    Repeat(usize),
    /// A store gives the 200.
    Tell(usize),
    /// A store reads how far another's line is.
    Observe(usize, usize),
    /// It sends the deletion of that line.
    Condemn(usize),
    /// Without a part of R3: it counts that line as dead.
    Conclude(usize),
    /// Without a part of R5: a store says what a plain read says, as of this revision.
    ReadActive(Revision),
    /// The cluster is restored from its first snapshot.
    Restore,
}

impl World {
    /// Carries a step out.
    pub fn step(&self, state: &mut State, action: Action) {
        match action {
            Action::Tick(slow) => tick(state, slow),
            Action::CarryOut(sent) => self.carry_out(state, sent, Hearing::Heard),
            Action::CarryOutUnheard(sent) => {
                state.left.lost -= 1;
                self.carry_out(state, sent, Hearing::Lost);
            }
            Action::Watch(store) => self.deliver(state, store),
            Action::ReadAll(store, revision) => self.read_all(state, store, revision),
            Action::OpenAtHead(store) => self.reopen(state, store),
            Action::Create(store) => self.create(state, store),
            Action::Beat(store) => self.beat(state, store),
            Action::Stop(store) => {
                state.left.stops -= 1;
                state.stores[store].phase = Phase::Ending;
            }
            Action::End(store) => self.end(state, store),
            Action::Poll(gateway, store) => self.poll(state, gateway, store),
            Action::Answer(gateway) => self.answer(state, gateway),
            Action::Rotate(store) => self.rotate(state, store),
            Action::Repeat(store) => self.repeat(state, store),
            Action::Tell(store) => self.tell(state, store),
            Action::Observe(store, slot) => self.observe(state, store, slot),
            Action::Condemn(store) => {
                if let Some(seen) = self.condemned(state, store) {
                    self.condemn(state, store, seen);
                }
            }
            Action::Conclude(store) => self.conclude(state, store),
            Action::ReadActive(revision) => {
                let is_active = state.etcd.at(revision).revoked == 0;
                state.broken.i2 |= state.told && is_active;
            }
            Action::Restore => self.restore_all(state),
        }
    }

    /// I1 and I2 are meant within one history.
    fn restore_all(&self, state: &mut State) {
        self.restore(state);
        state.told = false;
        for gateway in &mut state.gateways {
            gateway.has_refused = false;
        }
    }
}

fn tick(state: &mut State, slow: Slow) {
    state.now += 1;
    for (store, is_slow) in state.stores.iter_mut().zip(slow.stores) {
        store.lag += Tick::from(is_slow);
    }
    for (gateway, is_slow) in state.gateways.iter_mut().zip(slow.gateways) {
        gateway.lag += Tick::from(is_slow);
    }
}
