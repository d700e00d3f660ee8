//! What the store does at a time of its own: it carries out what was asked, and
//! answers, or waits for a barrier.

use rekey_protocol::{Digest, RotateRequest};
use rekey_store::clock::UnixMillis;
use rekey_store::engine::Impossible;
use rekey_store::operations::feed::ChangesAfter;
use rekey_store::operations::keys::Unknown;
use rekey_store::operations::keys::rotate::{Rotate, Rotated};
use rekey_store::rules::answers;

use crate::fleet::network::Return;
use crate::fleet::plan::Sabotage;
use crate::fleet::store::tasks::{By, Say, Task, Waiter};
use crate::fleet::world::{Event, World};

impl World {
    /// What the store does now without being asked.
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

    fn store_does(&mut self, task: Task) -> Result<(), Impossible> {
        let time = self.store.time(self.now);
        match task {
            Task::Step(number) => self.step(number),
            Task::Record(number, lease) => {
                self.store.data.record_lease(lease)?;
                self.store.core.lease_recorded(lease);
                self.step(number);
            }
            Task::Settle => self.store.data.settle(),
            Task::Read(number, after) => {
                let later = self.store.data.read(&ChangesAfter(after), time)?;
                if let Some((poll, _)) = self.store.polls.get_mut(&number) {
                    poll.read(later.revocations, later.head);
                }
                self.step(number);
            }
            Task::Resolve(back, digest) => self.key_is_looked_up(back, digest, time)?,
            Task::Rotate(back, request) => self.rotation_arrives(back, request, time)?,
            Task::Form(number) => self.form_arrives(number, time)?,
            // Refused, and begun again in the next life.
            Task::Revoke(..) | Task::Issue(..) | Task::LoadImport(..) | Task::CountImport(..)
                if self.store.is_restored() => {}
            Task::LoadImport(first, count) => self.import_loads((first, count), time)?,
            Task::CountImport(first, count, import) => {
                self.import_counts((first, count), import, time)?;
            }
            // What was begun again is not done twice.
            Task::Revoke(user, operation, _) | Task::Issue(user, operation, ..)
                if !self.users[user].is_in(operation) => {}
            Task::Revoke(user, operation, by) => self.revokes((user, operation), by, time)?,
            Task::Issue(user, operation, digest, by) => {
                self.issues((user, operation), digest, by, time)?;
            }
            Task::Told(revision, changes, waiter) => {
                self.feed_is_told(revision, changes, *waiter);
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

    fn key_is_looked_up(
        &mut self,
        back: Return,
        digest: Digest,
        time: UnixMillis,
    ) -> Result<(), Impossible> {
        self.store.resolves += 1;
        let mut found = self.store.data.resolve(&digest, time)?;
        if self.plan.sabotage == Some(Sabotage::RefuseValid)
            && self.rng.f64() < 0.02
            && let Ok(known) = &found
        {
            found = Err(Unknown(known.key.head));
        }
        // X4: only a client's request makes a gateway ask.
        self.store.data.used(&digest, time)?;
        match answers::resolve(found, self.store.data.interval()) {
            Ok(answer) => {
                let body = serde_json::to_vec(&answer).unwrap_or_default();
                self.answer(back, 200, body);
            }
            Err(fault) => self.refuse(back, fault),
        }
        Ok(())
    }

    fn rotation_arrives(
        &mut self,
        back: Return,
        mut request: RotateRequest,
        time: UnixMillis,
    ) -> Result<(), Impossible> {
        let is_repeatable = request.replay.is_some();
        if self.plan.sabotage == Some(Sabotage::KeepNoRecord) {
            request.replay = None;
        }
        let rotate = Rotate(request);
        let done = self.store.data.run(&rotate, time)?;
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
        Ok(())
    }

    fn revokes(
        &mut self,
        (user, operation): (usize, u64),
        by: By,
        time: UnixMillis,
    ) -> Result<(), Impossible> {
        let (revision, committed, revoked) = self.revoke(user, by, time)?;
        let waiter = Waiter {
            revision: Some(revision),
            say: Say::Revoked(user, operation, by),
        };
        self.tell_feed(committed, revoked, waiter);
        Ok(())
    }

    fn issues(
        &mut self,
        (user, operation): (usize, u64),
        digest: Digest,
        by: By,
        time: UnixMillis,
    ) -> Result<(), Impossible> {
        let (given, committed, revoked) = self.issue((user, digest), by, time)?;
        let waiter = Waiter {
            revision: given,
            say: Say::Issued(user, operation, given.is_some()),
        };
        self.tell_feed(committed, revoked, waiter);
        Ok(())
    }
}
