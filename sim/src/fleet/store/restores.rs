//! What the people do who run the store: they make backups, put them in the place
//! of the database, with and without what lies beside it, and remove lock files.

use rekey_protocol::FEED_PATH;
use rekey_store::engine::memory::Backup;
use rekey_store::feed::core::{Core, Poll, Step};

use crate::fleet::plan::{Fault, Restoration, Sabotage};
use crate::fleet::store::millis;
use crate::fleet::store::tasks::Asked;
use crate::fleet::world::World;

/// Backups that are kept.
const KEPT: usize = 8;

/// A former owner: what it remembers.
pub struct Ghost {
    /// Its feed.
    pub core: Core,
    /// In world time.
    pub until: u64,
}

impl World {
    /// A backup is made.
    pub fn back_up(&mut self) {
        self.store.backups.push(self.store.data.backup());
        if self.store.backups.len() > KEPT {
            self.store.backups.remove(0);
        }
    }

    /// The log is folded into the file.
    pub fn fold(&mut self) {
        let wall = millis(self.store.clock.moment(self.now).wall);
        if self.store.life.is_some() {
            self.store.data.fold(wall);
        }
    }

    /// A backup takes the place of the database.
    pub fn restore(&mut self, how: Restoration) {
        if self.store.backups.is_empty() {
            return;
        }
        let which = how.which % self.store.backups.len();
        let backup = self.store.backups[which].clone();
        self.store_dies(how.span, false);
        if how.gateways_start {
            for index in 0..self.gateways() {
                let span = self.rng.u64(1_000..how.span.max(1_001));
                self.gateway_fault(Fault::Crash(index, span));
            }
        }
        let before = self.known_states();
        if how.lock_is_lost {
            self.store.data.lose_beside();
        }
        self.put_in_place(&backup, how);
        self.lost.get_or_insert(before);
        if !self.store.data.has_record() {
            // Nobody can tell any more.
            self.loss_is_accepted();
        }
    }

    fn put_in_place(&mut self, backup: &Backup, how: Restoration) {
        let data = &mut self.store.data;
        // If the log continues the backup, the start makes the present state of the two.
        if how.log_is_left && data.continues(backup) {
            return;
        }
        match how.log_is_left && self.plan.sabotage == Some(Sabotage::IgnoreAnchor) {
            true => data.mix(backup),
            // A start refuses a log that was left, and says what to remove.
            false => data.restore(backup),
        }
    }

    /// A life of the store has begun: whether it noticed that it is older, and
    /// whether somebody meant it.
    pub fn history_begins(&mut self, is_noticed: bool, is_accepted: bool) {
        if is_accepted {
            return self.loss_is_accepted();
        }
        if is_noticed {
            return;
        }
        if let Some(lost) = self.lost.take() {
            let states = self.known_states();
            if lost
                .iter()
                .any(|(key, state)| states.get(key) != Some(state))
            {
                self.violate("S8: an older history is served, unnoticed".to_owned());
            }
        }
    }

    fn loss_is_accepted(&mut self) {
        if let Some(lost) = self.lost.take() {
            self.restores += 1;
            self.after_restore(&lost);
        }
    }

    /// The lock file is removed, and another store starts on the same database.
    pub fn lose_lock(&mut self, span: u64) {
        if self.store.life.is_none() || self.store.is_restored() {
            return;
        }
        let core = self.store.core.clone();
        let until = match self.goes_on_without_lock() {
            true => u64::MAX,
            false => self.now + span,
        };
        self.store.data.lose_beside();
        self.store_dies(1_000, false);
        self.store.ghost = Some(Ghost { core, until });
    }

    fn goes_on_without_lock(&self) -> bool {
        self.plan.sabotage == Some(Sabotage::GoOnWithoutLock)
    }

    /// A call that arrives at a former owner; whether it does. Such an owner notices,
    /// and ends.
    pub fn reaches_ghost(&mut self, asked: &Asked) -> bool {
        let now = self.store.clock.moment(self.now).monotonic;
        let Some(ghost) = &mut self.store.ghost else {
            return false;
        };
        let goes_on = self.plan.sabotage == Some(Sabotage::GoOnWithoutLock);
        if ghost.until <= self.now || self.healed && !goes_on {
            self.store.ghost = None;
            return false;
        }
        // Always the same gateways.
        if asked.back.to.process % 2 == 1 {
            return false;
        }
        if !goes_on {
            self.broken(asked.back);
            return true;
        }
        if asked.path != FEED_PATH {
            return false;
        }
        let Ok(request) = serde_json::from_slice(&asked.body) else {
            return false;
        };
        let Ok(mut poll) = Poll::new(&request) else {
            return false;
        };
        let mut step = ghost.core.step(now, &mut poll);
        if let Step::Hold { until, .. } = step {
            step = ghost.core.step(until, &mut poll);
        }
        match step {
            Step::Answer(answer) => {
                let body = serde_json::to_vec(&answer).unwrap_or_default();
                self.answer(asked.back, 200, body);
            }
            _ => self.broken(asked.back),
        }
        true
    }
}
