//! The key store's process in virtual time. What it decides is decided by
//! `rekey-store`: the feed's core, the answers, and the transactions on a
//! database in memory. This file gives them time, waits, and crashes.

use std::collections::BTreeMap;

use rekey_protocol::{
    Change, ErrorBody, ErrorDetail, FEED_PATH, FeedRequest, Incarnation, RESOLVE_PATH,
    ResolveRequest, RotateRequest, USED_MOST,
};
use rekey_store::answers::{self, Fault};
use rekey_store::clock::UnixMillis;
use rekey_store::engine::sqlite::direct::Ledger;
use rekey_store::feed::core::{Barrier, Core, Poll, Step};
use rekey_store::operations::feed::ChangesAfter;
use rekey_store::operations::keys::Unknown;
use rekey_store::operations::rotate::{Rotate, Rotated};

use super::clock::Clock;
use super::network::Return;
use super::plan::Sabotage;
use super::restores::Ghost;
use super::tasks::{Asked, Say, Task, Waiter};
use super::world::{Event, World};

/// The store.
pub struct Store {
    /// The database.
    pub ledger: Ledger,
    pub(super) core: Core,
    /// Its machine's.
    pub clock: Clock,
    /// Its life; none while it is down.
    pub life: Option<u64>,
    /// Until when it stands still.
    pub frozen_until: u64,
    /// Backups, the oldest first.
    pub backups: Vec<Vec<u8>>,
    /// A former owner whose lock file was removed, and until when gateways may
    /// reach it.
    pub ghost: Option<Ghost>,
    /// Revisions of imports that the feed has not been told of.
    pub importing: Vec<u64>,
    /// Keys that were asked for: none while the caches are warm.
    pub resolves: u64,
    pub(super) polls: BTreeMap<u64, (Poll, Return)>,
    pub(super) barriers: Vec<Waiter>,
    next_poll: u64,
    pub(super) told_at: u64,
    pub(super) recheck_at: u64,
    time: UnixMillis,
}

impl Store {
    /// A store in its first life.
    pub fn new(mut ledger: Ledger, clock: Clock, id: Incarnation) -> anyhow::Result<Self> {
        let moment = clock.moment(0);
        let start = ledger.start(id, millis(moment.wall), false)?;
        Ok(Self {
            ledger,
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
    fn time(&mut self, world: u64) -> UnixMillis {
        self.time = self.time.max(millis(self.clock.moment(world).wall));
        self.time
    }

    /// A change was made before anybody could ask.
    pub fn told(&mut self, revision: u64) {
        self.core.committed(revision, []);
    }

    fn now(&self, world: u64) -> u64 {
        self.clock.moment(world).monotonic
    }
}

pub(super) fn millis(wall: u64) -> UnixMillis {
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

    fn refuse(&mut self, back: Return, fault: Fault) {
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
    fn step(&mut self, number: u64) {
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

    /// What the store does at this time of its own.
    pub fn store_event(&mut self, life: u64, task: Task) {
        if self.store.life != Some(life) {
            return;
        }
        if self.store.frozen_until > self.now {
            return self.at(self.store.frozen_until, Event::Store(life, task));
        }
        if let Err(error) = self.store_does(task) {
            self.violate(format!("the store's database: {error}"));
        }
    }

    fn store_does(&mut self, task: Task) -> rusqlite::Result<()> {
        let time = self.store.time(self.now);
        match task {
            Task::Step(number) => self.step(number),
            Task::Record(number, lease) => {
                self.store.ledger.record_lease(lease)?;
                self.store.core.lease_recorded(lease);
                self.step(number);
            }
            Task::Settle => self.store.ledger.settle(),
            Task::Read(number, after) => {
                let (changes, head) = self.store.ledger.read(&ChangesAfter(after), time)?;
                if let Some((poll, _)) = self.store.polls.get_mut(&number) {
                    poll.read(changes, head);
                }
                self.step(number);
            }
            Task::Resolve(back, digest) => {
                self.store.resolves += 1;
                let mut found = self.store.ledger.resolve(&digest, time)?;
                if self.plan.sabotage == Some(Sabotage::RefuseValid)
                    && self.rng.f64() < 0.02
                    && let Ok((resolved, _)) = &found
                {
                    found = Err(Unknown(resolved.head));
                }
                // X4: only a client's request makes a gateway ask.
                self.store.ledger.used(&digest, time)?;
                let resolved = found.as_ref().ok().map(|(resolved, _)| resolved);
                let replayable = resolved.is_some_and(|key| key.is_replayable(time));
                let interval = self.store.ledger.interval();
                match answers::resolve(found, replayable, interval) {
                    Ok(answer) => {
                        let body = serde_json::to_vec(&answer).unwrap_or_default();
                        self.answer(back, 200, body);
                    }
                    Err(fault) => self.refuse(back, fault),
                }
            }
            Task::Rotate(back, mut request) => {
                let is_repeatable = request.replay.is_some();
                if self.plan.sabotage == Some(Sabotage::KeepNoRecord) {
                    request.replay = None;
                }
                let rotate = Rotate(request);
                let done = self.store.ledger.run(&rotate, time)?;
                let Rotate(request) = rotate;
                if let Rotated::Done { user, repeated, .. } = &done.result
                    && !repeated
                {
                    self.rotation_committed(user.clone(), time);
                    if is_repeatable {
                        self.record_kept(request.old_digest, request.new_digest);
                    }
                }
                let is_early = self.plan.sabotage == Some(Sabotage::RepeatEarly)
                    && matches!(done.result, Rotated::Replayed(_));
                let revision = answers::waits_for(&done.result).filter(|_| !is_early);
                let say = Say::Gateway(back, done.result, request.new_digest);
                self.tell_feed(done.revision, done.revoked, Waiter { revision, say });
            }
            Task::Form(number) => self.form_arrives(number, time)?,
            // Refused, and begun again in the next life.
            Task::Revoke(..) | Task::Issue(..) | Task::LoadImport(..) | Task::CountImport(..)
                if self.store.is_restored() => {}
            Task::LoadImport(first, count) => self.import_loads((first, count), time)?,
            Task::CountImport(first, count, loading) => {
                self.import_counts((first, count), loading, time)?;
            }
            // What was begun anew is not done twice.
            Task::Revoke(user, operation, _) | Task::Issue(user, operation, ..)
                if !self.users[user].is_in(operation) => {}
            Task::Revoke(user, operation, by) => {
                let (revision, committed, revoked) = self.revoke(user, by, time)?;
                let waiter = Waiter {
                    revision: Some(revision),
                    say: Say::Revoked(user, operation, by),
                };
                self.tell_feed(committed, revoked, waiter);
            }
            Task::Issue(user, operation, digest, by) => {
                let (given, committed, revoked) = self.issue((user, digest), by, time)?;
                let waiter = Waiter {
                    revision: given,
                    say: Say::Issued(user, operation, given.is_some()),
                };
                self.tell_feed(committed, revoked, waiter);
            }
            Task::Told(revision, changes, waiter) => {
                self.store.core.committed(revision, changes);
                self.store.importing.retain(|imported| {
                    let is_told = *imported <= revision;
                    if is_told {
                        self.store.core.imported(*imported);
                    }
                    !is_told
                });
                let held: Vec<_> = self.store.polls.keys().copied().collect();
                for number in held {
                    self.step(number);
                }
                self.store.barriers.push(*waiter);
                self.look_at_barriers();
            }
            Task::Late(back, mut poll, body) => {
                let now = self.store.now(self.now);
                let _ = self.store.core.step(now, &mut poll);
                self.answer(back, 200, body);
                self.look_at_barriers();
            }
            Task::Recheck => {
                self.store.recheck_at = u64::MAX;
                self.look_at_barriers();
            }
        }
        Ok(())
    }

    /// The feed learns of a commit a little later than the disk (S2), in order.
    pub fn tell_feed(&mut self, revision: u64, changes: Vec<Change>, waiter: Waiter) {
        let at = (self.now + self.rng.u64(1..400)).max(self.store.told_at + 1);
        self.store.told_at = at;
        if let Some(life) = self.store.life {
            let told = Task::Told(revision, changes, Box::new(waiter));
            self.at(at, Event::Store(life, told));
        }
    }

    /// Whether the answer to this form waits for its barrier.
    pub fn waits_for(&self, form: u64) -> bool {
        let is_its = |waiter: &Waiter| matches!(waiter.say, Say::NewKey(number) if number == form);
        let told = self.queue.values().any(|event| match event {
            Event::Store(life, Task::Told(_, _, waiter)) => {
                Some(*life) == self.store.life && is_its(waiter)
            }
            Event::FormHeard(number, _) => *number == form,
            _ => false,
        });
        told || self.store.barriers.iter().any(is_its)
    }

    /// Says what has waited long enough.
    fn look_at_barriers(&mut self) {
        let now = self.store.now(self.now);
        let mut recheck = u64::MAX;
        let mut open = Vec::new();
        let skip = self.plan.sabotage == Some(Sabotage::SkipBarrier);
        let core = &mut self.store.core;
        core.floor(now);
        self.store.barriers.retain(|waiter| {
            let barrier = waiter.revision.map(|revision| core.barrier(now, revision));
            match barrier {
                Some(Barrier::Closed { recheck_at }) if !skip => {
                    recheck = recheck.min(recheck_at);
                    true
                }
                _ => {
                    open.push(waiter.say.clone());
                    false
                }
            }
        });
        // One alarm, for the earliest of them.
        if recheck < self.store.recheck_at
            && let Some(life) = self.store.life
        {
            self.store.recheck_at = recheck;
            let at = self.store.clock.world_at(recheck);
            self.at(at, Event::Store(life, Task::Recheck));
        }
        for say in open {
            self.say(say);
        }
    }

    fn say(&mut self, say: Say) {
        match say {
            Say::Gateway(back, rotated, new_digest) => {
                let interval = self.store.ledger.interval();
                match answers::rotate(rotated, new_digest, interval) {
                    Ok(answer) => {
                        let body = serde_json::to_vec(&answer).unwrap_or_default();
                        self.answer(back, 200, body);
                    }
                    Err(fault) => self.refuse(back, fault),
                }
            }
            Say::NewKey(form) => self.page_leaves(form),
            Say::Imported(first, count) => self.import_is_heard(first, count),
            Say::Revoked(user, operation, by) => self.operator_heard_revoked(user, operation, by),
            Say::Issued(user, operation, given) => {
                self.operator_heard_issued(user, operation, given);
            }
        }
    }
}
