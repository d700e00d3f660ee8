//! The way between gateways and store: calls are delayed, lost, doubled, and
//! overtake each other.

use super::gateway::WorkerRef;
use super::gateway::port::{Happening, Outcome};
use super::plan::Network;
use super::store::tasks::Asked;
use super::world::{Event, World};

/// Where an answer goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Return {
    /// Who asked.
    pub to: WorkerRef,
    /// Its call.
    pub call: u64,
}

impl World {
    /// How the network is at this time.
    pub fn network(&self) -> Network {
        let mut network = self.plan.network;
        if self.healed {
            network.lose_request = 0.0;
            network.lose_answer = 0.0;
            network.double = 0.0;
            network.slow = 0.0;
            network.unsent = 0.0;
        }
        network
    }

    fn delay(&mut self) -> u64 {
        let network = self.network();
        if self.rng.f64() < network.slow {
            self.rng.u64(1_000..network.slow_micros.max(1_001))
        } else {
            self.rng.u64(50..2_000)
        }
    }

    /// A call leaves for the store.
    pub fn send_to_store(&mut self, to: WorkerRef, call: u64, path: &'static str, body: Vec<u8>) {
        let network = self.network();
        let cut = self.process(to.process).cut_until.0 > self.now;
        if cut || self.rng.f64() < network.lose_request {
            return;
        }
        let asked = Asked {
            back: Return { to, call },
            path,
            body,
        };
        if self.rng.f64() < network.double {
            let delay = self.delay();
            self.after(delay, Event::StoreAsked(asked.clone()));
        }
        let delay = self.delay();
        self.after(delay, Event::StoreAsked(asked));
    }

    /// An answer leaves the store.
    pub fn answer(&mut self, back: Return, status: u16, body: Vec<u8>) {
        let cut = self.process(back.to.process).cut_until.1 > self.now;
        if cut || self.rng.f64() < self.network().lose_answer {
            return;
        }
        let delay = self.delay();
        let happening = Happening::Call(back.call, Outcome::Answer(status, body));
        self.after(delay, Event::Worker(back.to, happening));
    }

    /// The connection on which a call was made broke.
    pub fn broken(&mut self, back: Return) {
        if self.process(back.to.process).cut_until.1 > self.now {
            return;
        }
        let delay = self.delay();
        let lost = Happening::Call(back.call, Outcome::Lost);
        self.after(delay, Event::Worker(back.to, lost));
    }
}
