//! One slot of a gateway's table: what is known of the keys that share it.
//!
//! A small twin of the engine's slot, with the number of its records as a
//! parameter (one is enough to make evictions common) and each rule a switch.

use crate::model::rules::Rules;
use crate::model::state::{Generation, Key, Revision};

/// Records that fit at most, whatever the world says.
pub const MOST_WAYS: usize = 4;

/// The slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Slot {
    /// The generation in which all of it was written; 0: it was never written.
    pub generation: u8,
    /// Below it no fill is cached.
    pub floor: Revision,
    records: [Option<Record>; MOST_WAYS],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Record {
    key: Key,
    is_active: bool,
    revision: Revision,
}

/// What it says of a key, or says after a fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum View {
    /// Nothing, or after a fill: the answer is too old. The store is to be asked.
    Absent,
    /// There is a tombstone.
    Revoked,
    /// To be believed under a lease.
    Active,
}

impl Slot {
    /// What it says of a key in this generation.
    pub fn look(&self, rules: &Rules, generation: u8, key: Key) -> View {
        if rules.g8_absent && self.generation != generation {
            return View::Absent;
        }
        match self.find(key) {
            None => View::Absent,
            Some(record) if record.is_active => View::Active,
            Some(_) => View::Revoked,
        }
    }

    /// The revision of what is held of a key; 0: nothing.
    pub fn revision_of(&self, key: Key) -> Revision {
        self.find(key).map_or(0, |record| record.revision)
    }

    /// Writes a tombstone; false if the slot is of a later generation (G3, G5).
    #[must_use]
    pub fn bury(
        &mut self,
        rules: &Rules,
        ways: usize,
        at: Generation,
        key: Key,
        revision: Revision,
    ) -> bool {
        if !self.enter(rules, at) {
            return false;
        }
        let held = self.take(key).filter(|record| !record.is_active);
        let revision = held.map_or(revision, |held| held.revision.max(revision));
        let tombstone = Record {
            key,
            is_active: false,
            revision,
        };
        self.put(rules, ways, tombstone);
        true
    }

    /// Merges an active answer, and says what the slot says then (G6, G8).
    pub fn fill(
        &mut self,
        rules: &Rules,
        ways: usize,
        at: Generation,
        key: Key,
        revision: Revision,
    ) -> View {
        if !self.enter(rules, at) {
            return View::Absent;
        }
        match self.find(key) {
            Some(held)
                if !held.is_active && (rules.g8_tombstone_stays || revision < held.revision) =>
            {
                return View::Revoked;
            }
            Some(held) if !held.is_active => {}
            Some(held) if held.revision > revision && rules.g8_older => return View::Active,
            _ => {}
        }
        let pushed = match self.records[ways - 1] {
            Some(oldest) if self.find(key).is_none() && !oldest.is_active => oldest.revision,
            _ => 0,
        };
        let pushed = if rules.g8_newer_tombstone { pushed } else { 0 };
        if revision < self.floor.max(pushed) {
            return View::Absent;
        }
        self.take(key);
        let active = Record {
            key,
            is_active: true,
            revision,
        };
        self.put(rules, ways, active);
        View::Active
    }

    /// Makes it a slot of this generation, unless it is of a later one.
    fn enter(&mut self, rules: &Rules, at: Generation) -> bool {
        if self.generation < at.number || self.generation == 0 {
            *self = Self {
                generation: at.number,
                floor: if rules.g8_start_floor { at.began } else { 0 },
                // Without G8 the records of the past stay in force.
                records: if rules.g8_absent {
                    Default::default()
                } else {
                    self.records
                },
            };
        }
        self.generation == at.number
    }

    fn find(&self, key: Key) -> Option<Record> {
        let mut records = self.records.iter().flatten();
        records.find(|record| record.key == key).copied()
    }

    fn take(&mut self, key: Key) -> Option<Record> {
        let is_it = |record: &Option<Record>| record.is_some_and(|record| record.key == key);
        let place = self.records.iter().position(is_it)?;
        let taken = self.records[place].take();
        self.records[place..].rotate_left(1);
        taken
    }

    fn put(&mut self, rules: &Rules, ways: usize, record: Record) {
        if let Some(evicted) = self.records[ways - 1].take()
            && !evicted.is_active
            && rules.g8_evict_floor
        {
            self.floor = self.floor.max(evicted.revision);
        }
        self.records[..ways].rotate_right(1);
        self.records[0] = Some(record);
    }
}
