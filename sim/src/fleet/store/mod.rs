//! The key store's process in virtual time: how calls come in, and how polls go on.
//! What it decides is decided by `rekey-store`: the feed's core, the answers, and
//! the operations on its engine in memory. The simulator gives them time, waits,
//! and crashes.

pub mod barriers;
pub mod doing;
pub mod imports;
pub mod lives;
pub mod restores;
pub mod tasks;

use std::collections::BTreeMap;

use rekey_protocol::{
    ErrorBody, ErrorDetail, FEED_PATH, FeedRequest, Incarnation, RESOLVE_PATH, ResolveRequest,
    RotateRequest, USED_MOST,
};
use rekey_store::clock::UnixMillis;
use rekey_store::engine::memory::{Backup, MemoryData};
use rekey_store::feed::core::{Core, Poll, Step};
use rekey_store::operations::incarnation::OlderData;
use rekey_store::rules::answers::{self, Fault};

use crate::fleet::clock::Clock;
use crate::fleet::network::Return;
use crate::fleet::plan::Sabotage;
use crate::fleet::store::restores::Ghost;
use crate::fleet::store::tasks::{Asked, Task, Waiter};
use crate::fleet::world::{Event, World};

/// The store.
pub struct Store {
    /// The data.
    pub data: MemoryData,
    pub(in crate::fleet) core: Core,
    /// Its machine's.
    pub clock: Clock,
    /// Its life; none while it is down.
    pub life: Option<u64>,
    /// Until when it stands still.
    pub frozen_until: u64,
    /// Backups, the oldest first.
    pub backups: Vec<Backup>,
    /// A former owner whose lock file was removed, and until when gateways may
    /// reach it.
    pub ghost: Option<Ghost>,
    /// Revisions of imports that the feed has not been told of.
    pub importing: Vec<u64>,
    /// Keys that were asked for: none while the caches are warm.
    pub resolves: u64,
    pub(in crate::fleet) polls: BTreeMap<u64, (Poll, Return)>,
    pub(in crate::fleet) barriers: Vec<Waiter>,
    next_poll: u64,
    pub(in crate::fleet) told_at: u64,
    pub(in crate::fleet) recheck_at: u64,
    time: UnixMillis,
}

impl Store {
    /// A store in its first life.
    pub fn new(mut data: MemoryData, clock: Clock, id: Incarnation) -> anyhow::Result<Self> {
        let moment = clock.moment(0);
        let start = data.start(id, millis(moment.wall), OlderData::Refused)?;
        Ok(Self {
            data,
            core: Core::new(moment.monotonic, start),
            clock,
            life: Some(0),
            frozen_until: 0,
            backups: Vec::new(),
            ghost: None,
            importing: Vec::new(),
            resolves: 0,
            polls: BTreeMap::new(),
            barriers: Vec::new(),
            next_poll: 0,
            told_at: 0,
            recheck_at: u64::MAX,
            time: millis(moment.wall),
        })
    }

    /// Whether it refuses to serve an older history than gateways know (S8).
    pub fn is_restored(&self) -> bool {
        self.core.is_restored()
    }

    /// Its clock of the rate limit, which never runs backwards (S12).
    pub(in crate::fleet) fn time(&mut self, world: u64) -> UnixMillis {
        self.time = self.time.max(millis(self.clock.moment(world).wall));
        self.time
    }

    /// A change was made before anybody could ask.
    pub fn told(&mut self, revision: u64) {
        self.core.committed(revision, []);
    }

    pub(in crate::fleet) fn now(&self, world: u64) -> u64 {
        self.clock.moment(world).monotonic
    }
}

pub(in crate::fleet) fn millis(wall: u64) -> UnixMillis {
    UnixMillis(i64::try_from(wall).unwrap_or(i64::MAX))
}

impl World {
    /// Something that the store does after `delay`, if it lives until then.
    pub fn store_task(&mut self, delay: std::ops::Range<u64>, task: Task) {
        if let Some(life) = self.store.life {
            let delay = self.rng.u64(delay);
            self.after(delay, Event::Store(life, task));
        }
    }

    /// A call arrives.
    pub fn store_asked(&mut self, asked: Asked) {
        if self.reaches_ghost(&asked) {
            return;
        }
        if self.store.life.is_none() {
            return self.broken(asked.back);
        }
        if self.store.frozen_until > self.now {
            return self.at(self.store.frozen_until, Event::StoreAsked(asked));
        }
        let back = asked.back;
        match asked.path {
            FEED_PATH => match serde_json::from_slice::<FeedRequest>(&asked.body) {
                Ok(request) => self.poll_arrives(back, &request),
                Err(error) => self.violate(format!("a poll does not parse: {error}")),
            },
            RESOLVE_PATH => match serde_json::from_slice::<ResolveRequest>(&asked.body) {
                Ok(_) if self.store.is_restored() => self.refuse(back, answers::RESTORED),
                Ok(request) => self.store_task(30..300, Task::Resolve(back, request.digest)),
                Err(error) => self.violate(format!("a resolve does not parse: {error}")),
            },
            _ => match serde_json::from_slice::<RotateRequest>(&asked.body) {
                Ok(request) => match answers::check_rotate(&request) {
                    Ok(()) if self.store.is_restored() => self.refuse(back, answers::RESTORED),
                    Ok(()) => self.store_task(100..3_000, Task::Rotate(back, request)),
                    Err(fault) => self.violate(format!("a bad rotate: {fault:?}")),
                },
                Err(error) => self.violate(format!("a rotate does not parse: {error}")),
            },
        }
    }

    pub(in crate::fleet) fn refuse(&mut self, back: Return, fault: Fault) {
        let error = ErrorDetail {
            code: fault.code,
            message: fault.message.to_owned(),
        };
        let body = serde_json::to_vec(&ErrorBody {
            error,
            head: fault.head,
        })
        .unwrap_or_default();
        self.answer(back, answers::status(fault.code), body);
    }

    fn poll_arrives(&mut self, back: Return, request: &FeedRequest) {
        let poll = match Poll::new(request) {
            Ok(poll) => poll,
            Err(error) => return self.violate(error.to_string()),
        };
        if self.plan.sabotage == Some(Sabotage::ReadBeforeRegister) {
            return self.read_before_register(back, poll);
        }
        self.store.next_poll += 1;
        let number = self.store.next_poll;
        self.store.polls.insert(number, (poll, back));
        self.step(number);
    }

    /// Takes a poll as far as it goes.
    pub(in crate::fleet) fn step(&mut self, number: u64) {
        let now = self.store.now(self.now);
        let Some((poll, back)) = self.store.polls.get_mut(&number) else {
            return;
        };
        let back = *back;
        match self.store.core.step(now, poll) {
            Step::RecordLease(lease) => self.store_task(50..1_500, Task::Record(number, lease)),
            Step::Hold { until, .. } => {
                if let Some(life) = self.store.life {
                    let until = self.store.clock.world_at(until);
                    self.at(until, Event::Store(life, Task::Step(number)));
                }
            }
            Step::ReadAfter(after) => self.store_task(30..500, Task::Read(number, after)),
            Step::Answer(mut answer) => {
                self.store.polls.remove(&number);
                if self.plan.sabotage == Some(Sabotage::LoseChange) {
                    answer.changes.pop();
                }
                // Gateways tell last uses, on which nothing else depends.
                answer.used_most = u32::try_from(USED_MOST).unwrap_or_default();
                let body = serde_json::to_vec(&answer).unwrap_or_default();
                self.answer(back, 200, body);
            }
            Step::Restored => {
                self.store.polls.remove(&number);
                self.refuse(back, answers::RESTORED);
                // The operator reads the log in the end.
                if self.rng.f64() < 0.03 {
                    self.store_dies(100_000, true);
                    return;
                }
            }
        }
        self.look_at_barriers();
    }

    /// The sabotaged order: the answer is made, and what happens before it is
    /// sent does not count.
    fn read_before_register(&mut self, back: Return, poll: Poll) {
        let now = self.store.now(self.now);
        let mut early = self.store.core.clone();
        let mut copy = poll.clone();
        let mut step = early.step(now, &mut copy);
        if let Step::RecordLease(lease) = step {
            early.lease_recorded(lease);
            self.store.core.lease_recorded(lease);
            step = early.step(now, &mut copy);
        }
        if let Step::Hold { until, .. } = step {
            step = early.step(until, &mut copy);
        }
        if let Step::Answer(answer) = step {
            let body = serde_json::to_vec(&answer).unwrap_or_default();
            self.store_task(5_000..60_000, Task::Late(back, Box::new(poll), body));
        }
    }
}
