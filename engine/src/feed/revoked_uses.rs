//! How often revoked keys are used, on their way to the store, which shows it to
//! their users: what goes on using the old key after a rotation is a forgotten
//! script, or the thief.
//!
//! Each worker counts by itself and, some ten times a second, adds that to an
//! entry in shared data, from which the feeder's polls tell the store. What a
//! poll told is taken off when its answer is there, not when it leaves: counts
//! must not get lost with a feeder or a store that is away for hours. So a poll
//! of which only the answer was lost tells them twice (at least once); the store
//! takes them down as it answers, which leaves little time for that.
//!
//! Only a holder of a key that was real can make a count, because only such keys have
//! tombstones.

use std::collections::BTreeMap;

use rekey_protocol::{Digest, REFUSED_MOST, RefusedUse};

use crate::config::Config;
use crate::host::env::{SharedData, SharedDataError};
use crate::shared::SharedTable;
use crate::shared::codec::{FieldReader, FieldWriter};
use crate::shared::entry::{Entries, Layout, Next, Schema, Unreadable};

/// Keys with a count, in one worker and in shared data each (I8).
const MOST_KEYS: usize = 256;

/// What became of the use of a revoked key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// It waits to be told.
    Kept,
    /// Too many keys have a count: it is forgotten.
    NoRoom,
}

/// What one worker has counted.
#[derive(Default)]
pub struct RevokedUseCounts(BTreeMap<Digest, u32>);

impl RevokedUseCounts {
    /// A revoked key was used.
    #[must_use]
    pub fn count(&mut self, digest: Digest) -> Counted {
        let has_room = self.0.len() < MOST_KEYS;
        match self.0.get_mut(&digest) {
            Some(count) => *count = count.saturating_add(1),
            None if has_room => drop(self.0.insert(digest, 1)),
            None => return Counted::NoRoom,
        }
        Counted::Kept
    }

    /// Adds all to what is to be told. What there is no room for, or what cannot
    /// be written, waits for the next time.
    pub fn hand_over(&mut self, pending: &PendingRevokedUses, shared: &mut dyn SharedData) {
        if self.0.is_empty() {
            return;
        }
        if let Ok(left) = pending.add(shared, &self.0) {
            self.0 = left;
        }
    }
}

/// What the store has not been told yet, in the order in which it is.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct RevokedUseList(Vec<RefusedUse>);

/// The uses of all workers that the store has not been told of.
pub struct PendingRevokedUses {
    entries: Entries<RevokedUseList>,
}

impl SharedTable for PendingRevokedUses {
    type Value = RevokedUseList;

    fn open(entries: Entries<RevokedUseList>, _: &Config) -> Self {
        Self { entries }
    }
}

impl PendingRevokedUses {
    /// The table in a namespace of a test's own.
    #[cfg(any(test, feature = "fuzzing"))]
    pub fn under(namespace: &str) -> Self {
        Self {
            entries: Entries::under(namespace),
        }
    }

    /// What the next poll is to tell.
    pub fn next(&self, shared: &mut dyn SharedData) -> Vec<RefusedUse> {
        let held = self.entries.only().read(shared).ok().flatten();
        let mut next = held.unwrap_or_default().0;
        next.truncate(REFUSED_MOST);
        next
    }

    /// The store has been told this.
    pub fn told(&self, shared: &mut dyn SharedData, told: &[RefusedUse]) {
        if told.is_empty() {
            return;
        }
        // If it cannot be written, it is told once more.
        let _ = self.entries.only().update(shared, |held| {
            let mut untold = held.unwrap_or_default();
            untold.subtract(told);
            Next::Write(untold, ())
        });
    }

    /// Adds counts; returns those without room.
    fn add(
        &self,
        shared: &mut dyn SharedData,
        counted: &BTreeMap<Digest, u32>,
    ) -> Result<BTreeMap<Digest, u32>, SharedDataError> {
        self.entries.only().update(shared, |held| {
            let mut untold = held.unwrap_or_default();
            let left = untold.add(counted);
            Next::Write(untold, left)
        })
    }
}

impl RevokedUseList {
    fn add(&mut self, counted: &BTreeMap<Digest, u32>) -> BTreeMap<Digest, u32> {
        let mut left = counted.clone();
        for known in &mut self.0 {
            let more = left.remove(&known.digest).unwrap_or_default();
            known.count = known.count.saturating_add(more);
        }
        while self.0.len() < MOST_KEYS
            && let Some((digest, count)) = left.pop_first()
        {
            self.0.push(RefusedUse { digest, count });
        }
        left
    }

    /// What is left of a key that was told goes to the end: all get their turn.
    fn subtract(&mut self, told: &[RefusedUse]) {
        let mut again = Vec::new();
        self.0.retain(|known| {
            let told = told.iter().find(|told| told.digest == known.digest);
            let Some(told) = told else { return true };
            let count = known.count.saturating_sub(told.count);
            if count > 0 {
                again.push(RefusedUse { count, ..*known });
            }
            false
        });
        self.0.append(&mut again);
    }
}

impl Layout for RevokedUseList {
    const SCHEMA: Schema = Schema {
        table: "uses",
        version: 1,
        unreadable: Unreadable::IsReplaced,
    };

    fn encode(&self) -> Vec<u8> {
        let all = self.0.iter();
        let written = all.fold(FieldWriter::default(), |entry, known| {
            let entry = entry.bytes(known.digest.as_bytes());
            entry.bytes(&known.count.to_be_bytes())
        });
        written.finish()
    }

    fn decode(value: &[u8]) -> Option<Self> {
        let mut fields = FieldReader::new(value);
        let mut untold = Vec::new();
        while !fields.is_empty() {
            untold.push(RefusedUse {
                digest: Digest::from_bytes(fields.array()?),
                count: u32::from_be_bytes(fields.array()?),
            });
        }
        Some(Self(untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Memory;

    fn digest(number: usize) -> Digest {
        Digest::of(&number.to_be_bytes())
    }

    fn pending() -> PendingRevokedUses {
        PendingRevokedUses::under("n.")
    }

    fn used(uses: &mut RevokedUseCounts, number: usize, times: usize) {
        for _ in 0..times {
            assert_eq!(uses.count(digest(number)), Counted::Kept);
        }
    }

    fn total(told: &[RefusedUse]) -> u32 {
        told.iter().map(|told| told.count).sum()
    }

    #[test]
    fn the_counts_of_all_workers_are_told_once() {
        let mut memory = Memory::default();
        let (mut one, mut other) = (RevokedUseCounts::default(), RevokedUseCounts::default());
        used(&mut one, 1, 3);
        used(&mut other, 1, 2);
        used(&mut other, 2, 1);
        one.hand_over(&pending(), &mut memory);
        other.hand_over(&pending(), &mut memory);
        one.hand_over(&pending(), &mut memory);
        let told = pending().next(&mut memory);
        let count = |number| told.iter().find(|told| told.digest == digest(number));
        assert_eq!(count(1).unwrap().count, 5);
        assert_eq!(count(2).unwrap().count, 1);
        // Used once more while the poll is in flight.
        used(&mut one, 1, 1);
        one.hand_over(&pending(), &mut memory);
        pending().told(&mut memory, &told);
        let rest = pending().next(&mut memory);
        assert_eq!((rest.len(), total(&rest)), (1, 1));
        pending().told(&mut memory, &rest);
        assert_eq!(pending().next(&mut memory), []);
    }

    #[test]
    fn what_was_not_answered_is_told_again() {
        let mut memory = Memory::default();
        let mut uses = RevokedUseCounts::default();
        used(&mut uses, 1, 4);
        uses.hand_over(&pending(), &mut memory);
        for _ in 0..3 {
            assert_eq!(total(&pending().next(&mut memory)), 4);
        }
    }

    #[test]
    fn what_cannot_be_written_waits() {
        let mut memory = Memory::default();
        let mut uses = RevokedUseCounts::default();
        used(&mut uses, 1, 4);
        memory.lose_races = 100;
        uses.hand_over(&pending(), &mut memory);
        memory.lose_races = 0;
        assert_eq!(pending().next(&mut memory), []);
        uses.hand_over(&pending(), &mut memory);
        assert_eq!(total(&pending().next(&mut memory)), 4);
    }

    #[test]
    fn i8_is_bounded_and_all_get_their_turn() {
        let mut memory = Memory::default();
        let mut workers = [RevokedUseCounts::default(), RevokedUseCounts::default()];
        for (worker, uses) in workers.iter_mut().enumerate() {
            for number in 0..MOST_KEYS {
                used(uses, worker * MOST_KEYS + number, 1);
            }
            assert_eq!(uses.count(digest(usize::MAX)), Counted::NoRoom);
            uses.hand_over(&pending(), &mut memory);
        }
        let value = &memory.entries["n.uses"].value;
        assert!(value.len() <= 36 * MOST_KEYS, "{} bytes", value.len());
        let mut polls = 0;
        let mut told = 0;
        while told < 2 * MOST_KEYS {
            let next = pending().next(&mut memory);
            assert!(next.len() <= REFUSED_MOST);
            told += next.len();
            // The first goes on being used, and does not keep the others back.
            used(&mut workers[0], 0, 1);
            pending().told(&mut memory, &next);
            for uses in &mut workers {
                uses.hand_over(&pending(), &mut memory);
            }
            polls += 1;
            assert!(polls < 10);
        }
    }
}
