//! When active keys were last used, on the way to the store, which shows it to
//! their users to the hour.
//!
//! A warm key is decided on without a call, so only the gateway knows of its
//! uses. Each worker notes the first use of a key in an hour ([`LastUseTracker`]) and,
//! some ten times a second, adds what it noted to an entry in shared data
//! ([`PendingLastUses`]). From there the feeder's polls tell the store. A use leaves the
//! entry when the poll's answer is there, so none is lost with a feeder or a poll.
//! To tell one twice does no harm.
//!
//! All of it is bounded (I8). Where there is no room, the oldest use is dropped,
//! counted, and told with the key's next use.

use std::collections::{BTreeMap, VecDeque};

use rekey_protocol::{Digest, KeyUse};

use crate::cache::lease::Moment;
use crate::config::Config;
use crate::host::env::{SharedData, SharedDataError};
use crate::shared::SharedTable;
use crate::shared::codec::{FieldReader, FieldWriter};
use crate::shared::entry::{Entries, Layout, Next, Schema, Unreadable};

/// How exact it is, in milliseconds.
const HOUR_MS: u64 = 3_600_000;
/// Uses that wait in one worker: 160 KiB.
const MOST_WAITING: usize = 4096;
/// Uses that wait in shared data: 40 KiB, of which each change writes all.
const MOST_TO_TELL: usize = 1024;
/// Fingerprints in one set, the newest first.
const WAYS: usize = 4;
/// Sets for each slot of the table, which holds four keys: one. At least 64 KiB
/// of fingerprints and at most 1 MiB; a key that is pushed out is told once more.
const LEAST_SETS: u32 = 1 << 12;
const MOST_SETS: u32 = 1 << 16;

/// A use as the gateway keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ActiveKeyUse {
    digest: Digest,
    /// The gateway's monotonic time, in milliseconds: its wall clock may be wrong,
    /// or be set.
    at: u64,
}

impl ActiveKeyUse {
    /// As it is told at this monotonic time.
    pub(crate) fn told_at(self, now: u64) -> KeyUse {
        let age = now.saturating_sub(self.at);
        KeyUse {
            digest: self.digest,
            age_ms: u32::try_from(age).unwrap_or(u32::MAX),
        }
    }
}

/// What became of a use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Noted {
    /// It waits to be told, or has been in this hour.
    Kept,
    /// It took the place of the oldest one.
    InPlaceOfAnother,
}

/// What one worker has noted.
pub(crate) struct LastUseTracker {
    noted: ThisHour,
    /// The oldest first.
    waiting: VecDeque<ActiveKeyUse>,
}

impl LastUseTracker {
    /// Beside a table of so many slots.
    pub(crate) fn new(slots: u32) -> Self {
        Self {
            noted: ThisHour::new(slots),
            waiting: VecDeque::new(),
        }
    }

    /// An active key was used. Costs a look at one set of fingerprints, and more at
    /// the key's first use in an hour.
    #[must_use]
    pub(crate) fn note(&mut self, digest: Digest, now: Moment) -> Noted {
        // The hours of the wall clock, as people read them.
        if !self.noted.add(&digest, now.wall / HOUR_MS) {
            return Noted::Kept;
        }
        let used = ActiveKeyUse {
            digest,
            at: now.monotonic,
        };
        let is_full = self.waiting.len() >= MOST_WAITING;
        let dropped = is_full.then(|| self.waiting.pop_front()).flatten();
        self.waiting.push_back(used);
        match dropped {
            // Its next use is noted again.
            Some(dropped) => self.noted.remove(&dropped.digest),
            None => return Noted::Kept,
        }
        Noted::InPlaceOfAnother
    }

    /// Adds all to what is to be told. What there is no room for, or what cannot
    /// be written, waits for the next time.
    pub(crate) fn hand_over(&mut self, to_tell: &PendingLastUses, shared: &mut dyn SharedData) {
        if self.waiting.is_empty() {
            return;
        }
        if let Ok(taken) = to_tell.add(shared, &self.waiting) {
            self.waiting.drain(..taken.min(self.waiting.len()));
        }
    }
}

/// Short fingerprints of the keys that were noted in this hour. Two keys share
/// one in some billions of cases; then one of them is not told for an hour.
struct ThisHour {
    hour: u64,
    most_sets: usize,
    sets: Vec<[u32; WAYS]>,
}

/// Where the fingerprint of a key belongs.
struct PlaceThisHour<'a> {
    set: &'a mut [u32; WAYS],
    /// Never 0, which is an empty place.
    fingerprint: u32,
}

impl ThisHour {
    fn new(slots: u32) -> Self {
        let sets = slots.clamp(LEAST_SETS, MOST_SETS);
        Self {
            hour: 0,
            most_sets: usize::try_from(sets).unwrap_or(1),
            sets: Vec::new(),
        }
    }

    /// Whether it was not there. Forgets everything when the hour is another.
    fn add(&mut self, digest: &Digest, hour: u64) -> bool {
        if self.sets.is_empty() {
            self.sets.resize(self.most_sets, [0; WAYS]);
        }
        if self.hour != hour {
            self.hour = hour;
            self.sets.fill([0; WAYS]);
        }
        let Some(PlaceThisHour { set, fingerprint }) = self.place(digest) else {
            return false;
        };
        if set.contains(&fingerprint) {
            return false;
        }
        set.rotate_right(1);
        if let Some(newest) = set.first_mut() {
            *newest = fingerprint;
        }
        true
    }

    fn remove(&mut self, digest: &Digest) {
        if let Some(PlaceThisHour { set, fingerprint }) = self.place(digest) {
            let held = set.iter_mut().filter(|held| **held == fingerprint);
            held.for_each(|held| *held = 0);
        }
    }

    /// Chosen by bytes of the digest that choose neither the key's slot in the table
    /// nor its place among the seen keys.
    fn place(&mut self, digest: &Digest) -> Option<PlaceThisHour<'_>> {
        let mut words = digest.as_bytes().chunks_exact(4).skip(3);
        let mut word = || {
            let word = words.next().and_then(|word| word.first_chunk());
            u32::from_be_bytes(word.copied().unwrap_or_default())
        };
        let (place, fingerprint) = (word(), word().max(1));
        let place = usize::try_from(place).unwrap_or_default();
        let set = place.checked_rem(self.sets.len())?;
        let set = self.sets.get_mut(set)?;
        Some(PlaceThisHour { set, fingerprint })
    }
}

/// By key, with the time of its newest use.
#[derive(Debug, Default)]
pub(crate) struct LastUseMap(BTreeMap<Digest, u64>);

/// The last uses of all workers that the store has not been told of.
pub(crate) struct PendingLastUses {
    entries: Entries<LastUseMap>,
}

impl SharedTable for PendingLastUses {
    type Value = LastUseMap;

    fn open(entries: Entries<LastUseMap>, _: &Config) -> Self {
        Self { entries }
    }
}

impl PendingLastUses {
    /// What the next poll is to tell, at most so many: the oldest first, so that
    /// all get their turn.
    pub(crate) fn next(&self, shared: &mut dyn SharedData, most: usize) -> Vec<ActiveKeyUse> {
        if most == 0 {
            return Vec::new();
        }
        let held = self.entries.only().read(shared).ok().flatten();
        let LastUseMap(untold) = held.unwrap_or_default();
        let uses = untold
            .into_iter()
            .map(|(digest, at)| ActiveKeyUse { digest, at });
        let mut uses: Vec<_> = uses.collect();
        uses.sort_by_key(|used| used.at);
        uses.truncate(most);
        uses
    }

    /// The store has been told this. A use after it stays.
    pub(crate) fn told(&self, shared: &mut dyn SharedData, told: &[ActiveKeyUse]) {
        if told.is_empty() {
            return;
        }
        // If it cannot be written, it is told once more.
        let _ = self.entries.only().update(shared, |held| {
            let LastUseMap(mut untold) = held.unwrap_or_default();
            for told in told {
                if untold.get(&told.digest).is_some_and(|at| *at <= told.at) {
                    untold.remove(&told.digest);
                }
            }
            Next::Write(LastUseMap(untold), ())
        });
    }

    /// Adds uses in their order; returns how many of them there was room for.
    fn add(
        &self,
        shared: &mut dyn SharedData,
        uses: &VecDeque<ActiveKeyUse>,
    ) -> Result<usize, SharedDataError> {
        self.entries.only().update(shared, |held| {
            let LastUseMap(mut untold) = held.unwrap_or_default();
            let mut taken = 0;
            for used in uses {
                let has_room = untold.len() < MOST_TO_TELL;
                match untold.get_mut(&used.digest) {
                    Some(at) => *at = used.at.max(*at),
                    None if has_room => drop(untold.insert(used.digest, used.at)),
                    None => break,
                }
                taken += 1;
            }
            match taken {
                0 => Next::Keep(taken),
                _ => Next::Write(LastUseMap(untold), taken),
            }
        })
    }
}

impl Layout for LastUseMap {
    const SCHEMA: Schema = Schema {
        table: "last_uses",
        version: 1,
        unreadable: Unreadable::IsReplaced,
    };

    fn encode(&self) -> Vec<u8> {
        let all = self.0.iter();
        let written = all.fold(FieldWriter::default(), |entry, (digest, at)| {
            entry.bytes(digest.as_bytes()).u64(*at)
        });
        written.finish()
    }

    fn decode(value: &[u8]) -> Option<Self> {
        let mut fields = FieldReader::new(value);
        let mut untold = BTreeMap::new();
        while !fields.is_empty() {
            untold.insert(Digest::from_bytes(fields.array()?), fields.u64()?);
        }
        Some(Self(untold))
    }
}

#[cfg(test)]
mod tests;
