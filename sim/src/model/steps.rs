//! What can happen next in a world, and what the world is like then: the model
//! as the checker sees it.

use stateright::{Model, Property};

use super::feeder::{following, gateway_number, index};
use super::slot::{Slot, View};
use super::state::{
    Broken, Control, Feeder, Gateway, Key, MOST, Moment, Revision, Rotation, Stage, State, Step,
    Store, Tick,
};
use super::store::FIRST;
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
    /// It starts from the backup; whether that is accepted.
    Restore(bool),
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

    fn store_actions(&self, state: &State, actions: &mut Vec<Action>) {
        let store = &state.store;
        for key in (0..).take(self.revocable.len()) {
            if self.can_commit(state, key) {
                if store.early.is_none_or(|early| early == key) {
                    actions.push(Action::Commit(key));
                }
                if !self.rules.s2_durable_first
                    && store.early.is_none()
                    && store.head == store.disk.revision
                {
                    actions.push(Action::PublishEarly(key));
                }
            }
            let rotation = state.rotations[usize::from(key)];
            if store.disk.revoked[usize::from(key)] == 0 || rotation.told {
                continue;
            }
            if rotation.waits && (self.is_open(state, key) || !self.rules.s7_first) {
                actions.push(Action::Answer(key));
            }
            let may_repeat = !rotation.waits || !self.rules.s7_repeat;
            if may_repeat
                && !store.is_restored
                && (self.is_open(state, key) || !self.rules.s7_repeat)
            {
                actions.push(Action::AnswerRepeat(key));
            }
        }
        if store.head < store.disk.revision {
            actions.push(Action::Publish);
        }
        if state.budget.store_crashes > 0 {
            actions.push(Action::RestartStore);
        }
        if state.budget.restores > 0 {
            actions.push(Action::Restore(true));
            if self.unaccepted {
                actions.push(Action::Restore(false));
            }
        }
    }

    fn poll_actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (number, poll) in (0..).zip(&state.polls) {
            match poll.stage {
                Stage::Travelling => {
                    actions.push(Action::Register(number));
                    if !self.rules.s3_register_then_read {
                        actions.push(Action::ReadTooEarly(number));
                    }
                    if state.store.ghost.is_some() && poll.cursor.is_some() {
                        actions.push(Action::GhostAnswers(number));
                    }
                    if state.budget.doubled > 0 {
                        actions.push(Action::Double(number));
                    }
                }
                Stage::ReadTooEarly(_) => actions.push(Action::Register(number)),
                Stage::Held(..) => actions.push(Action::Read(number)),
            }
        }
    }

    fn feeder_actions(&self, state: &State, gateway: u8, actions: &mut Vec<Action>) {
        let feeders = &state.gateways[usize::from(gateway)].feeders[..self.feeders];
        let mut seen_idle = false;
        for (number, feeder) in (0..).zip(feeders) {
            if *feeder == Feeder::Idle {
                if state.budget.polls > 0 && !seen_idle {
                    for lease in self.leases {
                        actions.push(Action::SendPoll(gateway, number, *lease));
                    }
                }
                seen_idle = true;
                continue;
            }
            actions.push(Action::GiveUp(gateway, number));
            if state.budget.late > 0 && matches!(feeder, Feeder::Waiting(_)) {
                actions.push(Action::GiveUpEarly(gateway, number));
            }
            if self.may_begin(feeder) {
                actions.push(Action::Begin(gateway, number));
            }
            if self.next_tombstone(feeder).is_some() {
                actions.push(Action::WriteTombstone(gateway, number));
                if state.budget.unwritable > 0 {
                    actions.push(Action::FailTombstone(gateway, number));
                }
            }
            if self.may_apply(feeder) {
                actions.push(Action::Apply(gateway, number));
            }
        }
    }

    fn request_actions(&self, state: &State, gateway: u8, actions: &mut Vec<Action>) {
        let place = usize::from(gateway);
        match self.view(state, place) {
            None => {
                for key in (0..).take(self.revocable.len()) {
                    actions.push(Action::Arrive(gateway, key));
                }
            }
            Some((request, view)) => {
                let asks = view == View::Absent || view == View::Active && !request.control.1;
                let workers = self.workers(state, place);
                let workers = workers.into_iter().take(if asks { MOST } else { 1 });
                actions.extend(workers.map(|worker| Action::Look(gateway, worker)));
            }
        }
        let calls = &state.gateways[place].calls[..self.workers];
        for (worker, call) in (0..).zip(calls) {
            let Some(call) = call else { continue };
            match call.step {
                Step::Queued => actions.push(Action::SendCall(gateway, worker)),
                Step::Sent => {
                    actions.push(Action::Resolve(gateway, worker));
                    if !self.rules.s1_one_snapshot {
                        actions.push(Action::ResolveHalf(gateway, worker));
                    }
                    if !self.rules.s1_fresh_snapshot && state.store.disk.revision > FIRST.revision {
                        actions.push(Action::ResolveStale(gateway, worker));
                    }
                }
                Step::HalfRead(_) => actions.push(Action::Resolve(gateway, worker)),
                Step::Answered(_) => actions.push(Action::Check(gateway, worker)),
                Step::Checked(..) => actions.push(Action::Finish(gateway, worker)),
            }
            if !matches!(call.step, Step::Checked(..)) {
                actions.push(Action::LoseCall(gateway, worker));
            }
        }
    }

    /// Whether time may pass: where the barrier is measured, the store and its
    /// clients do at once what they can.
    fn may_tick(&self, state: &State) -> bool {
        if !self.prompt {
            return state.now < self.until;
        }
        let store = &state.store;
        let is_due = (0..)
            .zip(&state.rotations)
            .any(|(key, rotation)| rotation.waits && !rotation.told && self.is_open(state, key));
        let is_published = store.head == store.disk.revision;
        state.now < self.until && is_published && !is_due
    }

    /// Where the barrier is measured: a poll that the store answers at once.
    fn due_poll(&self, state: &State) -> Option<u8> {
        let is_due = |poll: &super::state::Poll| {
            let head = state.store.head;
            let has_news = poll.cursor.is_none_or(|cursor| cursor.revision < head);
            matches!(poll.stage, Stage::Held(..)) && has_news
        };
        let due = state.polls.iter().position(is_due).filter(|_| self.prompt);
        due.map(index)
    }

    /// Everything that can happen.
    pub fn possible(&self, state: &State, actions: &mut Vec<Action>) {
        if let Some(poll) = self.due_poll(state) {
            return actions.push(Action::Read(poll));
        }
        if self.may_tick(state) {
            actions.push(Action::Tick);
        }
        self.store_actions(state, actions);
        self.poll_actions(state, actions);
        for gateway in (0..).take(self.gateways) {
            let owner = &state.gateways[usize::from(gateway)];
            if owner.lag != Moment::default() {
                actions.push(Action::CatchUp(gateway));
            }
            if state.budget.gateway_crashes > 0 && (gateway == 0 || !self.one_process) {
                actions.push(Action::RestartGateway(gateway));
            }
            self.feeder_actions(state, gateway, actions);
            self.request_actions(state, gateway, actions);
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

    /// Makes one step.
    pub fn step(&self, state: &mut State, action: Action) {
        let place = usize::from;
        match action {
            Action::Tick => self.tick(state),
            Action::CatchUp(gateway) => {
                let lag = &mut state.gateways[place(gateway)].lag;
                lag.monotonic = lag.monotonic.saturating_sub(1);
                lag.wall = lag.wall.saturating_sub(1);
            }
            Action::Commit(key) => self.commit(state, key),
            Action::PublishEarly(key) => {
                state.store.early = Some(key);
                state.store.head += 1;
                state.store.highest = state.store.highest.max(state.store.head);
            }
            Action::Publish => state.store.head = state.store.disk.revision,
            Action::Answer(key) | Action::AnswerRepeat(key) => {
                state.rotations[place(key)] = Rotation {
                    waits: false,
                    since: None,
                    told: true,
                };
            }
            Action::Register(poll) => {
                let early = match state.polls[place(poll)].stage {
                    Stage::ReadTooEarly(page) => Some(page),
                    _ => None,
                };
                self.register(state, place(poll), early);
            }
            Action::ReadTooEarly(poll) => self.read_too_early(state, place(poll)),
            Action::Read(poll) => self.read(state, place(poll)),
            Action::GhostAnswers(poll) => self.ghost_answers(state, place(poll)),
            Action::Double(poll) => {
                let mut double = state.polls[place(poll)].clone();
                double.feeder = None;
                state.polls.push(double);
                state.budget.doubled -= 1;
            }
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
            Action::RestartGateway(gateway) => {
                state.budget.gateway_crashes -= 1;
                self.restart_gateway(state, place(gateway));
                if self.one_process {
                    self.restart_gateway(state, 1);
                }
            }
            Action::RestartStore => {
                state.budget.store_crashes -= 1;
                self.restart_store(state, false, false);
            }
            Action::Restore(accepts) => {
                state.budget.restores -= 1;
                self.restart_store(state, true, accepts);
            }
        }
    }

    /// The longest that a barrier may take, in ticks: the lease that may be
    /// renewed once more just before it ends, twice its length with margin.
    fn longest_barrier(&self) -> Tick {
        2 * (self.cap() + 1)
    }

    fn takes_too_long(&self, state: &State) -> bool {
        let mut rotations = state.rotations.iter();
        rotations.any(|rotation| {
            rotation
                .since
                .is_some_and(|since| state.now > since + self.longest_barrier())
        })
    }

    /// Whether there is time for the leases of an earlier life of the store to
    /// end, and so for an answer.
    fn may_end(&self) -> bool {
        self.until > 0 || self.budget.store_crashes == 0
    }

    /// A gateway works under a lease after a revocation was answered.
    fn goes_on(&self, state: &State) -> bool {
        let is_over = |revoked: Revision, control: &Control| {
            let applied = control.applied.map_or(0, |applied| applied.revision);
            revoked > 0 && applied >= revoked
        };
        (0..self.gateways).any(|gateway| {
            let control = self.control(state, gateway);
            let mut rotations = state.rotations.iter().zip(state.store.disk.revoked);
            control.trusts(&self.rules, state.moment(gateway))
                && rotations.any(|(rotation, revoked)| rotation.told && is_over(revoked, control))
        })
    }
}

impl Model for World {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![self.first()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.possible(state, actions);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        self.step(&mut next, action);
        let next = next.canonical(self);
        (next != *state).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::<Self>::always("I1", |_, state| !state.broken.i1),
            Property::<Self>::always("I2", |_, state| !state.broken.i2),
            Property::<Self>::always("no lock-out", |_, state| !state.broken.lock_out),
        ];
        if self.may_end() {
            properties.push(Property::<Self>::sometimes("answered", |_, state| {
                state.rotations.iter().any(|rotation| rotation.told)
            }));
            let name = "goes on under a lease";
            properties.push(Property::<Self>::sometimes(name, Self::goes_on));
        }
        if self.prompt {
            let name = "the barrier has a bound";
            properties.push(Property::<Self>::always(name, |world, state| {
                !world.takes_too_long(state)
            }));
        }
        if self.recovers {
            let name = "recovers";
            properties.push(Property::<Self>::always(name, |world, state| {
                world.recovery(state).is_ok()
            }));
        }
        properties
    }
}
