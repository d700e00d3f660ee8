//! The barriers of the store: what the feed is told, and what is answered when it
//! has reached the fleet.

use rekey_protocol::Revocation;
use rekey_store::feed::core::Barrier;
use rekey_store::rules::answers;

use crate::fleet::plan::Sabotage;
use crate::fleet::store::tasks::{Say, Task, Waiter};
use crate::fleet::world::{Event, World};

impl World {
    /// The feed learns of a commit a little later than the disk (S2), in order.
    pub fn tell_feed(&mut self, revision: u64, changes: Vec<Revocation>, waiter: Waiter) {
        let at = (self.now + self.rng.u64(1..400)).max(self.store.told_at + 1);
        self.store.told_at = at;
        if let Some(life) = self.store.life {
            let told = Task::Told(revision, changes, Box::new(waiter));
            self.at(at, Event::Store(life, told));
        }
    }

    /// The feed learns of it, and so does everything that waits for the feed.
    pub(in crate::fleet) fn feed_is_told(
        &mut self,
        revision: u64,
        changes: Vec<Revocation>,
        waiter: Waiter,
    ) {
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
        self.store.barriers.push(waiter);
        self.look_at_barriers();
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
    pub(in crate::fleet) fn look_at_barriers(&mut self) {
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
                let interval = self.store.data.interval();
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
