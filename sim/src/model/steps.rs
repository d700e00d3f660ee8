//! The steps of a world: how it begins, and what it is like after each thing
//! that can happen.

use super::gateway::feeder::{following, gateway_number};
use super::gateway::slot::Slot;
use super::state::{
    Broken, Control, Feeder, Gateway, Key, MOST, Moment, Rotation, State, Store, Tick,
};
use super::store::FIRST;
use super::store::starts::On;
use super::world::World;

/// One step of one party, or a disturbance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// A tick of the store's clock.
    Tick,
    /// A gateway's clocks catch up by a tick.
    CatchUp(u8),
    /// The revocation of a key is committed.
    Commit(Key),
    /// Without S2: the feed tells it first.
    PublishEarly(Key),
    /// The feed learns of what is on disk.
    Publish,
    /// The lock file says how far the disk is.
    Mark,
    /// The first call is answered with the 200.
    Answer(Key),
    /// A repeated call is.
    AnswerRepeat(Key),
    /// A poll is registered.
    Register(u8),
    /// Without S3: its answer is read before.
    ReadTooEarly(u8),
    /// The answer of a poll that is held is read and sent.
    Read(u8),
    /// Without S10: the former owner answers.
    GhostAnswers(u8),
    /// A poll is doubled on its way.
    Double(u8),
    /// A feeder of a gateway sends a poll that asks for a lease.
    SendPoll(u8, u8, Tick),
    /// It reads control before its tombstones.
    Begin(u8, u8),
    /// It writes a tombstone.
    WriteTombstone(u8, u8),
    /// It cannot.
    FailTombstone(u8, u8),
    /// It writes control.
    Apply(u8, u8),
    /// It gives up, and its poll is lost.
    GiveUp(u8, u8),
    /// It gives up, and its poll arrives later.
    GiveUpEarly(u8, u8),
    /// A request arrives at a gateway.
    Arrive(u8, Key),
    /// It reads its slot, at a worker.
    Look(u8, u8),
    /// A worker's call is sent.
    SendCall(u8, u8),
    /// The store answers it.
    Resolve(u8, u8),
    /// Without S1: it reads the state only.
    ResolveHalf(u8, u8),
    /// Without S1: it answers from an old snapshot.
    ResolveStale(u8, u8),
    /// The call or its answer is lost.
    LoseCall(u8, u8),
    /// The answer is compared with control.
    Check(u8, u8),
    /// It is merged, and its requests are decided.
    Finish(u8, u8),
    /// A gateway's process crashes and starts.
    RestartGateway(u8),
    /// The store crashes and starts.
    RestartStore,
    /// It crashes and starts on the backup.
    Restore(On),
}

impl World {
    fn gateway(&self, number: usize) -> Gateway {
        let exists = number < self.gateways;
        let lease = self.leases[0];
        let mut control = Control::new(gateway_number(number, 0));
        if self.warm && exists {
            control = following(number, lease);
        }
        if self.restarted {
            control.deadline = Moment::default();
        }
        let mut slots = [Slot::default(); MOST];
        if self.warm && exists {
            for key in (0..).take(self.revocable.len()) {
                let slot = &mut slots[self.slot_of(key)];
                let at = control.generation;
                let _ = slot.fill(&self.rules, self.ways, at, key, FIRST.revision);
            }
        }
        Gateway {
            control,
            slots,
            feeders: [Feeder::Idle; MOST],
            calls: [None; MOST],
            request: None,
            lag: Moment::default(),
            refused: [false; MOST],
            life: 0,
        }
    }

    /// The beginning.
    pub fn first(&self) -> State {
        let gateways = [0, 1].map(|number| self.gateway(number));
        let follows = gateways.iter().take(self.gateways);
        let follows = follows.filter(|gateway| gateway.control.applied.is_some());
        let ids: Vec<_> = follows.map(|gateway| gateway.control.id).collect();
        State {
            now: 0,
            store: if self.restarted {
                Store::second(self.leases[0])
            } else {
                Store::first(&ids, self.leases[0])
            },
            rotations: [Rotation::default(); MOST],
            gateways,
            polls: Vec::new(),
            budget: self.budget,
            broken: Broken::default(),
        }
    }

    fn tick(&self, state: &mut State) {
        self.tick_store(state);
        for gateway in &mut state.gateways[..self.gateways] {
            let stretch = |lag: Tick, is_free: bool| {
                if is_free {
                    lag + 1
                } else {
                    (lag + 1).min(self.drift)
                }
            };
            gateway.lag.monotonic = stretch(gateway.lag.monotonic, self.suspends);
            gateway.lag.wall = stretch(gateway.lag.wall, self.set_back);
        }
    }

    /// All gateways of a process crash together.
    fn crash_gateway(&self, state: &mut State, gateway: usize) {
        state.budget.gateway_crashes -= 1;
        self.restart_gateway(state, gateway);
        if self.one_process {
            self.restart_gateway(state, 1);
        }
    }

    /// Makes one step.
    pub fn step(&self, state: &mut State, action: Action) {
        let place = usize::from;
        match action {
            Action::Tick => self.tick(state),
            Action::CatchUp(gateway) => state.gateways[place(gateway)].lag.catch_up(),
            Action::Commit(key) => self.commit(state, key),
            Action::PublishEarly(key) => state.store.publish_early(key),
            Action::Publish => state.store.head = state.store.disk.revision,
            Action::Mark => state.store.mark = state.store.disk.revision,
            Action::Answer(key) | Action::AnswerRepeat(key) => {
                state.rotations[place(key)] = Rotation::TOLD;
            }
            Action::Register(poll) => self.register(state, place(poll)),
            Action::ReadTooEarly(poll) => self.read_too_early(state, place(poll)),
            Action::Read(poll) => self.read(state, place(poll)),
            Action::GhostAnswers(poll) => self.ghost_answers(state, place(poll)),
            Action::Double(poll) => state.double(place(poll)),
            Action::SendPoll(gateway, feeder, lease) => {
                self.send_poll(state, place(gateway), place(feeder), lease);
            }
            Action::Begin(gateway, feeder) => self.begin(state, place(gateway), place(feeder)),
            Action::WriteTombstone(gateway, feeder) => {
                self.write_tombstone(state, place(gateway), place(feeder), false);
            }
            Action::FailTombstone(gateway, feeder) => {
                state.budget.unwritable -= 1;
                self.write_tombstone(state, place(gateway), place(feeder), true);
            }
            Action::Apply(gateway, feeder) => self.apply(state, place(gateway), place(feeder)),
            Action::GiveUp(gateway, feeder) => {
                self.give_up(state, place(gateway), place(feeder), false);
            }
            Action::GiveUpEarly(gateway, feeder) => {
                self.give_up(state, place(gateway), place(feeder), true);
            }
            Action::Arrive(gateway, key) => self.arrive(state, place(gateway), key),
            Action::Look(gateway, worker) => {
                self.look(state, place(gateway), place(worker));
            }
            Action::SendCall(gateway, worker) => {
                self.send_call(state, place(gateway), place(worker));
            }
            Action::Resolve(gateway, worker) => {
                self.resolve(state, place(gateway), place(worker), false);
            }
            Action::ResolveHalf(gateway, worker) => {
                self.resolve_half(state, place(gateway), place(worker));
            }
            Action::ResolveStale(gateway, worker) => {
                self.resolve(state, place(gateway), place(worker), true);
            }
            Action::LoseCall(gateway, worker) => {
                state.gateways[place(gateway)].calls[place(worker)] = None;
            }
            Action::Check(gateway, worker) => self.check(state, place(gateway), place(worker)),
            Action::Finish(gateway, worker) => {
                self.finish(state, place(gateway), place(worker));
            }
            Action::RestartGateway(gateway) => self.crash_gateway(state, place(gateway)),
            Action::RestartStore => {
                state.budget.store_crashes -= 1;
                self.restart_store(state, On::ItsFile);
            }
            Action::Restore(on) => {
                state.budget.restores -= 1;
                self.restart_store(state, on);
            }
        }
    }
}
