//! A gateway process: its workers, their events, and what their engines want
//! done.

pub mod hostcalls;
pub mod port;

use std::collections::{BTreeMap, BTreeSet};

use crate::fleet::clock::Clock;
use crate::fleet::gateway::hostcalls::{Hostcalls, Memory};
use crate::fleet::gateway::port::{Act, Happening, Outcome, Port};
use crate::fleet::plan::{Fault, Sabotage, Settings};
use crate::fleet::world::{Event, World};

/// Between two ticks of a worker, in milliseconds of its own clock.
const TICK_MS: u64 = 100;
/// How long a ring takes, in microseconds.
const RING: std::ops::Range<u64> = 200..400;

/// Events among which one is chosen to come in between.
const MOST_DUE: usize = 16;

/// Names one life of one worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct WorkerRef {
    /// Which process.
    pub process: usize,
    /// Which worker of it.
    pub worker: usize,
    /// Which life of the worker.
    pub life: u64,
}

/// One worker thread's VM under one configuration.
pub struct Worker {
    /// Its life; none while it is gone.
    pub life: Option<u64>,
    /// Its engine; none while it runs, or is gone.
    pub port: Option<Port>,
    /// The configuration.
    pub settings: Settings,
    /// Whether clients reach it: the main thread's VM serves nobody.
    pub serves: bool,
    /// Calls under way, and whether each is a poll of the feed.
    calls: BTreeSet<u64>,
}

/// A gateway.
pub struct Process {
    /// What its workers share.
    pub memory: Memory,
    /// All that it ever had.
    pub workers: Vec<Worker>,
    /// Its machine's.
    pub clock: Clock,
    /// Until when it stands still.
    pub frozen_until: u64,
    /// Whether it runs.
    pub up: bool,
    /// The configuration of its next workers.
    pub settings: usize,
    /// Until when nothing gets through to the store, and back from it.
    pub cut_until: (u64, u64),
    /// Whose doorbell each name is. Names outlive workers.
    doorbells: BTreeMap<String, WorkerRef>,
}

impl Process {
    /// A process that has not started.
    pub fn new(clock: Clock) -> Self {
        Self {
            memory: Memory::default(),
            workers: Vec::new(),
            clock,
            frozen_until: 0,
            up: false,
            settings: 0,
            cut_until: (0, 0),
            doorbells: BTreeMap::new(),
        }
    }

    /// The workers that clients reach.
    pub fn serving(&self) -> Vec<usize> {
        let serving = |(_, worker): &(usize, &Worker)| worker.serves && worker.life.is_some();
        let workers = self.workers.iter().enumerate().filter(serving);
        workers.map(|(index, _)| index).collect()
    }
}

impl World {
    /// Starts a process, with nothing in its memory.
    pub fn start_gateway(&mut self, index: usize) {
        let process = self.process_mut(index);
        process.memory = Memory::default();
        process.doorbells.clear();
        process.up = true;
        self.add_workers(index);
    }

    /// Adds the workers of the process' present configuration.
    fn add_workers(&mut self, index: usize) {
        let settings = self.plan.settings[self.process(index).settings];
        for number in 0..=self.plan.workers {
            let worker = Worker {
                life: None,
                port: None,
                settings,
                serves: number < self.plan.workers,
                calls: BTreeSet::new(),
            };
            self.process_mut(index).workers.push(worker);
            let place = self.process(index).workers.len() - 1;
            self.start_worker(index, place);
        }
    }

    fn start_worker(&mut self, process: usize, worker: usize) {
        self.lives += 1;
        let life = self.lives;
        let to = WorkerRef {
            process,
            worker,
            life,
        };
        let place = &mut self.process_mut(process).workers[worker];
        match Port::new(place.settings) {
            Ok(port) => place.port = Some(port),
            Err(error) => return self.violate(format!("configuration refused: {error}")),
        }
        place.life = Some(life);
        place.calls.clear();
        let first = self.rng.u64(0..TICK_MS * 1_000);
        self.after(first, Event::Worker(to, Happening::Tick));
    }

    /// Whether this life of a worker goes on.
    pub fn lives(&self, at: WorkerRef) -> bool {
        let worker = self.process(at.process).workers.get(at.worker);
        worker.is_some_and(|worker| worker.life == Some(at.life))
    }

    /// The present life of a worker.
    pub fn worker_ref(&self, process: usize, worker: usize) -> Option<WorkerRef> {
        let life = self.process(process).workers.get(worker)?.life?;
        Some(WorkerRef {
            process,
            worker,
            life,
        })
    }

    fn stop_worker(&mut self, process: usize, worker: usize) {
        let Some(at) = self.worker_ref(process, worker) else {
            return;
        };
        let place = &mut self.process_mut(process).workers[worker];
        place.life = None;
        place.port = None;
        place.calls.clear();
        self.requests_lost(at);
    }

    /// Something happens to a worker, unless it has gone or cannot be run now.
    pub fn worker_event(&mut self, to: WorkerRef, what: Happening) {
        if !self.lives(to) {
            return;
        }
        let process = self.process(to.process);
        let place = &process.workers[to.worker];
        let later = if process.frozen_until > self.now {
            Some(process.frozen_until)
        } else if place.port.is_none() {
            Some(self.busy_until.max(self.now + 200))
        } else {
            None
        };
        if let Some(later) = later {
            return self.at(later, Event::Worker(to, what));
        }
        match &what {
            Happening::Tick => {
                let next = process.clock.moment(self.now).monotonic + TICK_MS;
                let next = process.clock.world_at(next) + self.rng.u64(0..5_000);
                self.at(next, Event::Worker(to, Happening::Tick));
            }
            Happening::Headers { request, .. } => self.request_arrives(*request, to),
            // A call ends once.
            Happening::Call(call, _) => {
                let calls = &mut self.process_mut(to.process).workers[to.worker].calls;
                if !calls.remove(call) {
                    return;
                }
            }
            Happening::Root | Happening::Done(_) => {}
        }
        self.run(to, &what);
    }

    fn run(&mut self, to: WorkerRef, what: &Happening) {
        let place = &mut self.process_mut(to.process).workers[to.worker];
        let Some(mut port) = place.port.take() else {
            return;
        };
        self.running.push(to);
        self.stats.callbacks += 1;
        self.tell(&mut port, to, what);
        while self.lives(to)
            && let Some(act) = port.next_act()
        {
            if let Some(call) = self.carry_out(to, act) {
                let refused = Happening::Call(call, Outcome::NotSent);
                self.tell(&mut port, to, &refused);
            }
        }
        self.running.pop();
        if self.lives(to) {
            self.process_mut(to.process).workers[to.worker].port = Some(port);
        }
    }

    fn tell(&mut self, port: &mut Port, to: WorkerRef, what: &Happening) {
        let now = self.process(to.process).clock.moment(self.now);
        let outer = self.applying_feed;
        self.applying_feed = matches!(what, Happening::Call(_, Outcome::Answer(_, body))
            if body.starts_with(b"{\"poll\":"));
        let mut host = Hostcalls {
            world: self,
            me: to,
        };
        port.handle(what, now, &mut host);
        self.applying_feed = outer;
    }

    /// Carries out what an engine wants. Returns a call that was not sent.
    fn carry_out(&mut self, from: WorkerRef, act: Act) -> Option<u64> {
        match act {
            Act::Upstream(request, user) => self.request_passed(request, from, &user),
            Act::Reply(request, reply) => self.request_answered(request, from, &reply),
            Act::Ring => self.ring(from),
            Act::Own(name) => {
                let process = self.process_mut(from.process);
                process.doorbells.insert(name, from);
            }
            Act::RingOther(name) => {
                if let Some(owner) = self.process(from.process).doorbells.get(&name) {
                    self.ring(*owner);
                }
            }
            Act::Reset(request) => self.stream_reset(request, from),
            Act::Call {
                call,
                path,
                body,
                timeout_ms,
            } => {
                if self.rng.f64() < self.network().unsent {
                    return Some(call);
                }
                let now = self.now;
                let process = self.process_mut(from.process);
                process.workers[from.worker].calls.insert(call);
                let over = process.clock.moment(now).monotonic + u64::from(timeout_ms);
                let over = process.clock.world_at(over);
                let lost = Happening::Call(call, Outcome::Lost);
                self.at(over, Event::Worker(from, lost));
                self.send_to_store(from, call, path, body);
            }
        }
        None
    }

    /// A ring may be lost; the next tick does its work.
    fn ring(&mut self, at: WorkerRef) {
        if self.plan.calm || self.rng.f64() > 0.02 {
            let delay = self.rng.u64(RING);
            self.after(delay, Event::Worker(at, Happening::Root));
        }
    }

    /// Runs an event of another worker of this process that is due soon, as if
    /// the way to it had been shorter.
    pub fn run_another_of(&mut self, process: usize) {
        let soon = if self.rng.bool() { 2_000 } else { 30_000 };
        let due = self.queue.range(..(self.now + soon, 0));
        let others = due.filter_map(|(key, event)| match event {
            // A timer does not run early.
            Event::Worker(_, Happening::Call(_, Outcome::Lost)) => None,
            Event::Worker(to, _) if to.process == process && !self.running.contains(to) => {
                Some(*key)
            }
            _ => None,
        });
        let others: Vec<_> = others.take(MOST_DUE).collect();
        if others.is_empty() {
            return;
        }
        let key = others[self.rng.usize(0..others.len())];
        if let Some(event) = self.queue.remove(&key) {
            self.stats.interleaved += 1;
            self.dispatch(event);
        }
    }

    /// A fault strikes a gateway.
    pub fn gateway_fault(&mut self, fault: Fault) {
        let now = self.now;
        match fault {
            Fault::Freeze(index, span) => {
                let process = self.process_mut(index);
                process.frozen_until = process.frozen_until.max(now + span);
            }
            Fault::Suspend(index, span) => {
                let wall_stands_still = self.plan.sabotage == Some(Sabotage::WallSuspended);
                let process = self.process_mut(index);
                // A second stand-still within the first is none.
                if process.frozen_until <= now {
                    process.frozen_until = now + span;
                    process.clock.suspend(span);
                    if wall_stands_still {
                        let millis = i64::try_from(span / 1_000).unwrap_or(0);
                        process.clock.set_wall(-millis);
                    }
                }
            }
            Fault::SetWall(index, by) => self.process_mut(index).clock.set_wall(by),
            Fault::Crash(index, span) if self.process(index).up => {
                self.process_mut(index).up = false;
                for worker in 0..self.process(index).workers.len() {
                    self.stop_worker(index, worker);
                }
                self.process_mut(index).frozen_until = 0;
                self.after(span, Event::StartGateway(index));
            }
            Fault::Trap(index) => {
                let workers = self.process(index).workers.len();
                let worker = self.rng.usize(0..workers);
                if self.worker_ref(index, worker).is_some() {
                    self.stop_worker(index, worker);
                    self.start_worker(index, worker);
                }
            }
            Fault::Update(index, span) if self.process(index).up => {
                let old: Vec<_> = (0..self.process(index).workers.len())
                    .filter_map(|worker| self.worker_ref(index, worker))
                    .collect();
                let process = self.process_mut(index);
                process.settings = (process.settings + 1) % 3;
                self.add_workers(index);
                self.after(span, Event::Drained(old));
            }
            Fault::Partition(index, span, answers_only) => {
                let cut = &mut self.process_mut(index).cut_until;
                cut.1 = cut.1.max(now + span);
                if !answers_only {
                    cut.0 = cut.0.max(now + span);
                }
            }
            _ => {}
        }
    }

    /// The workers of an old configuration go.
    pub fn drained(&mut self, old: &[WorkerRef]) {
        for at in old {
            if self.lives(*at) {
                self.stop_worker(at.process, at.worker);
            }
        }
    }
}
