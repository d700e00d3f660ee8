//! The world: one queue of events in virtual time, and all that they happen to.

use std::collections::BTreeMap;

use rekey_protocol::Incarnation;
use rekey_store::engine::memory::MemoryData;
use rekey_store::rules::rotation::RotationLimit;

use super::clock::Clock;
use super::gateway::port::Happening;
use super::gateway::{Process, WorkerRef};
use super::oracle::{Oracle, States};
use super::people::clients::{Request, User};
use super::people::dashboard::Form;
use super::people::streams::Stream;
use super::plan::{Fault, Plan, Rng, Sabotage};
use super::store::Store;
use super::store::imports::Imported;
use super::store::tasks::{Asked, Task};

/// What happens at a time.
#[derive(Debug, Clone)]
pub enum Event {
    /// To a worker.
    Worker(WorkerRef, Happening),
    /// Workers of an old configuration go.
    Drained(Vec<WorkerRef>),
    /// A gateway starts.
    StartGateway(usize),
    /// A call arrives at the store.
    StoreAsked(Asked),
    /// Inside one life of the store.
    Store(u64, Task),
    /// The store starts; whether a restore is accepted.
    StartStore(bool),
    /// A user does something.
    Act(usize),
    /// A user learns what became of a request.
    Heard(u32, super::people::clients::Ending),
    /// A user sends a request to the endpoint again.
    Repeat(Box<Request>),
    /// A thief tries a user's old key.
    Steal(usize, super::people::clients::Key),
    /// A user gives a request up.
    Leave(u32),
    /// A user has enough of a stream.
    CloseStream(u32),
    /// A user sends the form of a page of the dashboard.
    SendForm(u64),
    /// A user sees what came of a form.
    FormHeard(u64, super::people::clients::Ending),
    /// Somebody uses a key of an import.
    TryImported(usize),
    /// The operator gives a user a new key, by revoking and issuing.
    Operator(usize),
    /// Something bad.
    Fault(Fault),
}

/// What was done, for people.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Events.
    pub events: u64,
    /// Callbacks of engines.
    pub callbacks: u64,
    /// Callbacks that came between two accesses of another one.
    pub interleaved: u64,
    /// Streams that a gateway has ended.
    pub streams_ended: u64,
    /// Requests that were decided.
    pub requests: u64,
    /// Requests that went to the upstream.
    pub passed: u64,
    /// Keys that were looked up in the store.
    pub resolves: u64,
    /// Rotations that clients got a key from.
    pub rotations: u64,
    /// Lost answers that clients have had again.
    pub replayed: u64,
    /// Rotations whose key was read in the dashboard.
    pub read_in_dashboard: u64,
    /// Requests with a dead key that were refused.
    pub refused: u64,
    /// Faults that struck.
    pub faults: u64,
}

/// One schedule under way.
pub struct World {
    /// In microseconds.
    pub now: u64,
    /// The one source of chance.
    pub rng: Rng,
    /// What was decided beforehand.
    pub plan: Plan,
    /// All that is to come, by time and order.
    pub queue: BTreeMap<(u64, u64), Event>,
    /// The key store.
    pub store: Store,
    /// The users.
    pub users: Vec<User>,
    /// Keys of imports.
    pub imported: Vec<Imported>,
    /// Requests under way.
    pub requests: BTreeMap<u32, Request>,
    /// Requests that went to the upstream and stay open there.
    pub streams: BTreeMap<u32, Stream>,
    /// Forms of the dashboard under way, by number.
    pub forms: BTreeMap<u64, Form>,
    /// Forms so far.
    pub forms_so_far: u64,
    /// What is known to be dead, and what was broken.
    pub oracle: Oracle,
    /// The workers whose callbacks run, nested in one another.
    pub running: Vec<WorkerRef>,
    /// Until when those that run stand still.
    pub busy_until: u64,
    /// Whether the callback that runs applies an answer of the feed.
    pub applying_feed: bool,
    /// Whether all faults are over.
    pub healed: bool,
    /// How often an older history was put in place.
    pub restores: u32,
    /// What the keys were before an older history was put in place whose loss
    /// nobody has accepted yet.
    pub lost: Option<States>,
    /// Until when a restarted store may hold rotations.
    pub held_until: u64,
    /// Lives handed out.
    pub lives: u64,
    /// What was done.
    pub stats: Stats,
    /// What happened, if anyone wants to read it.
    pub trace: Option<Vec<String>>,
    processes: Vec<Process>,
    order: u64,
    /// Requests so far.
    pub order_of_requests: u32,
    /// Requests whose end is waited for, and their ends.
    pub probes: BTreeMap<u32, Option<super::people::clients::Ending>>,
}

impl World {
    /// A world in which everybody is about to start.
    pub fn new(seed: u64, sabotage: Option<Sabotage>, trace: bool) -> anyhow::Result<Self> {
        let mut rng = Rng::with_seed(seed);
        let plan = Plan::new(&mut rng, sabotage);
        let interval = RotationLimit::new(std::time::Duration::from_secs(1))?;
        let clock = Clock::new(&mut rng, 0);
        let mut id = [0; 16];
        rng.fill(&mut id);
        let store = Store::new(MemoryData::new(interval), clock, Incarnation(id))?;
        let slowness = match sabotage {
            Some(Sabotage::SlowClock) => 300,
            _ => 0,
        };
        let processes = (0..plan.gateways)
            .map(|_| Process::new(Clock::new(&mut rng, slowness)))
            .collect();
        let mut world = Self {
            now: 0,
            rng,
            plan,
            queue: BTreeMap::new(),
            store,
            users: Vec::new(),
            imported: Vec::new(),
            requests: BTreeMap::new(),
            streams: BTreeMap::new(),
            forms: BTreeMap::new(),
            forms_so_far: 0,
            oracle: Oracle::default(),
            running: Vec::new(),
            busy_until: 0,
            applying_feed: false,
            healed: false,
            restores: 0,
            lost: None,
            held_until: 0,
            lives: 0,
            stats: Stats::default(),
            trace: trace.then(Vec::new),
            processes,
            order: 0,
            order_of_requests: 0,
            probes: BTreeMap::new(),
        };
        world.populate()?;
        for index in 0..world.plan.gateways {
            world.start_gateway(index);
        }
        for (at, fault) in world.plan.faults.clone() {
            world.at(at, Event::Fault(fault));
        }
        Ok(world)
    }

    /// A process.
    pub fn process(&self, index: usize) -> &Process {
        &self.processes[index]
    }

    /// A process.
    pub fn process_mut(&mut self, index: usize) -> &mut Process {
        &mut self.processes[index]
    }

    /// How many processes there are.
    pub fn gateways(&self) -> usize {
        self.processes.len()
    }

    /// Puts an event at a time, now at the earliest.
    pub fn at(&mut self, time: u64, event: Event) {
        self.order += 1;
        self.queue.insert((time.max(self.now), self.order), event);
    }

    /// Puts an event so many microseconds from now.
    pub fn after(&mut self, delay: u64, event: Event) {
        self.at(self.now + delay, event);
    }

    /// Writes down what happened, if anyone wants to read it.
    pub fn note(&mut self, text: impl FnOnce(&Self) -> String) {
        if self.trace.is_some() {
            let line = format!("{:>12} {}", self.now, text(self));
            if let Some(trace) = &mut self.trace {
                trace.push(line);
            }
        }
    }

    /// A rule was broken; the schedule ends.
    pub fn violate(&mut self, what: String) {
        let what = format!("at {} µs: {what}", self.now);
        self.note(|_| what.clone());
        self.oracle.violation.get_or_insert(what);
    }

    /// Whether a rule was broken.
    pub fn is_over(&self) -> bool {
        self.oracle.violation.is_some()
    }

    /// Lets the world go on until this time, or until a rule is broken.
    pub fn run_until(&mut self, until: u64) {
        while !self.is_over()
            && let Some(entry) = self.queue.first_entry()
            && entry.key().0 <= until
        {
            let ((time, _), event) = entry.remove_entry();
            self.now = self.now.max(time);
            self.dispatch(event);
        }
        self.now = self.now.max(until);
    }

    /// The workers that run stand still, in the middle of their callbacks, and
    /// the world goes on without them.
    pub fn stall_until(&mut self, mut until: u64) {
        let outer = self.busy_until;
        loop {
            self.busy_until = self.busy_until.max(until);
            self.run_until(until);
            // A process that was frozen meanwhile does not come back in it.
            let frozen = self.running.iter().map(|at| self.process(at.process));
            let frozen = frozen.map(|process| process.frozen_until).max();
            match frozen.filter(|frozen| *frozen > self.now && !self.is_over()) {
                Some(frozen) => until = frozen,
                None => break,
            }
        }
        self.busy_until = outer;
    }

    /// Lets an event happen.
    pub fn dispatch(&mut self, event: Event) {
        self.stats.events += 1;
        if self.trace.is_some() {
            self.note(|_| describe(&event));
        }
        match event {
            Event::Worker(to, what) => self.worker_event(to, what),
            Event::Drained(old) => self.drained(&old),
            Event::StartGateway(index) => self.start_gateway(index),
            Event::StoreAsked(asked) => self.store_asked(asked),
            Event::Store(life, task) => self.store_event(life, task),
            Event::StartStore(accept) => self.start_store(accept),
            Event::Act(user) => self.act(user),
            Event::Heard(request, ending) => self.heard(request, ending),
            Event::Repeat(request) => self.repeat(*request),
            Event::TryImported(number) => self.try_imported(number),
            Event::Steal(user, key) => self.steal(user, key),
            Event::Leave(request) => self.leave(request),
            Event::CloseStream(stream) => self.close_stream(stream),
            Event::SendForm(form) => self.send_form(form),
            Event::FormHeard(form, ending) => self.form_heard(form, ending),
            Event::Operator(user) => {
                if !self.users[user].certain {
                    self.operate(user);
                }
            }
            Event::Fault(fault) => self.fault(fault),
        }
    }

    fn fault(&mut self, fault: Fault) {
        self.stats.faults += 1;
        match fault {
            Fault::StoreCrash(span) => self.store_dies(span, false),
            Fault::StoreFreeze(span) => {
                let until = self.now + span;
                self.store.frozen_until = self.store.frozen_until.max(until);
            }
            Fault::Backup => self.back_up(),
            Fault::Restore(how) => self.restore(how),
            Fault::LoseLock(span) => self.lose_lock(span),
            Fault::Fold => self.fold(),
            Fault::Import => self.import(),
            Fault::Revoke => {
                let user = self.rng.usize(0..self.users.len());
                self.operate(user);
            }
            gateway => self.gateway_fault(gateway),
        }
    }
}

/// An event in a trace: without keys and bodies, which nobody wants to read.
fn describe(event: &Event) -> String {
    match event {
        Event::Worker(
            to,
            Happening::Headers {
                request,
                key,
                errand,
            },
        ) => {
            let tail = key.get(key.len().saturating_sub(4)..).unwrap_or_default();
            format!("{to:?} headers of request {request}, key …{tail}, {errand:?}")
        }
        Event::Worker(
            to,
            Happening::Call(call, super::gateway::port::Outcome::Answer(status, body)),
        ) => {
            let body = String::from_utf8_lossy(body);
            format!("{to:?} call {call}: {status} {body}")
        }
        Event::StoreAsked(asked) => {
            let body = String::from_utf8_lossy(&asked.body);
            format!("store asked {} by {:?}: {body}", asked.path, asked.back)
        }
        other => format!("{other:?}"),
    }
}
