//! The store's lives: it dies, and starts on what is in its database.

use rekey_protocol::{Incarnation, lease_margin_ms};
use rekey_store::feed::core::Core;
use rekey_store::operations::incarnation::OlderData;

use crate::fleet::plan::Sabotage;
use crate::fleet::store::millis;
use crate::fleet::store::tasks::{Say, Task};
use crate::fleet::world::{Event, World};

impl World {
    /// The store dies.
    pub fn store_dies(&mut self, span: u64, accept_restore: bool) {
        if self.store.life.take().is_none() {
            return;
        }
        self.store.frozen_until = 0;
        let polls = std::mem::take(&mut self.store.polls);
        let barriers = std::mem::take(&mut self.store.barriers);
        for (_, back) in polls.into_values() {
            self.broken(back);
        }
        for waiter in barriers {
            if let Say::Gateway(back, ..) = waiter.say {
                self.broken(back);
            }
        }
        let forms: Vec<_> = self.forms.keys().copied().collect();
        for form in forms {
            self.form_broken(form);
        }
        self.after(span, Event::StartStore(accept_restore));
    }

    /// The store starts on what is in the database.
    pub fn start_store(&mut self, accept_restore: bool) {
        let mut id = [0; 16];
        self.rng.fill(&mut id);
        let moment = self.store.clock.moment(self.now);
        let older_data = match accept_restore {
            true => OlderData::Accepted,
            false => OlderData::Refused,
        };
        let data = &mut self.store.data;
        match data.start(Incarnation(id), millis(moment.wall), older_data) {
            Ok(mut start) => {
                if self.plan.sabotage == Some(Sabotage::IgnoreMark) {
                    start.restored = false;
                }
                let is_restored = start.restored;
                self.history_begins(is_restored, accept_restore);
                if self.plan.sabotage == Some(Sabotage::NoRestartHold) {
                    start.held_lease_ms = 0;
                }
                // As the server does it: when that lease is over, surely.
                let held = u64::from(start.held_lease_ms);
                let over = held + u64::from(lease_margin_ms(start.held_lease_ms));
                let over = self.store.clock.world_at(moment.monotonic + over + 1);
                self.held_until = self.held_until.max(over);
                self.store.core = Core::new(moment.monotonic, start);
                self.lives += 1;
                self.store.life = Some(self.lives);
                self.at(over, Event::Store(self.lives, Task::Settle));
                self.store.importing.clear();
                if !is_restored && let Err(error) = self.finish_imports(millis(moment.wall)) {
                    self.violate(format!("an import that was stopped: {error}"));
                }
                self.store.told_at = self.now;
                self.store.recheck_at = u64::MAX;
                self.operator_tries_again();
            }
            Err(error) => self.violate(format!("the store does not start: {error}")),
        }
    }
}
