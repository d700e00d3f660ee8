//! One slot of the key cache: a few records of keys that share it. The layout is
//! known to this file alone.
//!
//! A slot's transitions ([`Slot::look`], [`Slot::bury`], [`Slot::fill`]) are
//! plain functions; `KeyCache` carries them out by compare-and-swap.

use rekey_protocol::{Digest, REPLAY_WINDOW_MS, RotationInterval, UserId};

use crate::cache::control::Generation;
use crate::shared::codec::{FieldReader, FieldWriter};
use crate::shared::entry::{Layout, Schema, Unreadable};

/// Records in one slot: so many keys that share a slot do not push each other
/// out.
pub const WAYS: usize = 4;

const REVOKED: u8 = 1;
const ACTIVE: u8 = 2;

/// What is known of the keys that share a slot.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot {
    /// The generation in which all of it was written.
    generation: u64,
    /// A key read from the store at an older revision is not cached here: it
    /// may be one of those whose tombstones had to go (G8).
    floor: u64,
    /// The newest first, at most [`WAYS`], each of another key.
    records: Vec<SlotRecord>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct SlotRecord {
    digest: Digest,
    state: KeyState,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum KeyState {
    Revoked(Tombstone),
    Active(ActiveKey),
}

/// A revocation, as it is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tombstone {
    /// At which it was revoked.
    pub revision: u64,
    /// The gateway's monotonic time, in milliseconds, until which the store may
    /// answer the rotation that replaced it again (X5); 0: it never will.
    pub replay_until: u64,
}

/// What the store said of an active key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ActiveKey {
    /// The user that the key belongs to.
    pub user: UserId,
    /// The store's head in the snapshot that it was read from.
    pub revision: u64,
    /// The gateway's monotonic time, in milliseconds, before which the user may
    /// not rotate.
    pub not_before: u64,
    /// How long the user waits between two rotations.
    pub interval: RotationInterval,
}

/// What a slot says of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum View {
    /// Nothing: the store has to be asked.
    Absent,
    /// Revoked in this generation's history. Needs no lease: what was revoked
    /// never becomes active again (I1).
    Revoked(Tombstone),
    /// To be believed under a lease only.
    Active(ActiveKey),
}

/// What a slot says of a key after the store's "active" was merged into it (G6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Merged {
    /// ActiveKey, as it now stands in the slot.
    Active(ActiveKey),
    /// The slot has a tombstone, which refuses whatever the store says.
    Revoked(Tombstone),
    /// The answer is older than what this slot has forgotten, or of a generation
    /// that is over: the store has to be asked again.
    TooOld,
}

/// A change is of an earlier generation than the slot, which stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the generation of this change is over")]
pub struct GenerationOver;

/// A revocation, as the store tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RevokedAt {
    /// The revision of the change.
    pub revision: u64,
    /// Whether the rotation that made it may still be answered again (X5).
    pub replayable: bool,
}

impl Tombstone {
    /// Of a revocation that is written down at `now` of the gateway's monotonic clock.
    pub fn new(revoked: RevokedAt, now: u64) -> Self {
        let RevokedAt {
            revision,
            replayable,
        } = revoked;
        let replay_until = match replayable {
            true => now.saturating_add(REPLAY_WINDOW_MS.into()),
            false => 0,
        };
        Self {
            revision,
            replay_until,
        }
    }

    /// Merges two reports of one revocation. Keeps the earlier end: each report
    /// starts the window again, so the later end would let a client extend it for ever.
    fn merge(self, other: Self) -> Self {
        let ends = [self.replay_until, other.replay_until];
        let ends = ends.into_iter().filter(|end| *end > 0);
        Self {
            revision: self.revision.max(other.revision),
            replay_until: ends.min().unwrap_or(0),
        }
    }
}

impl Slot {
    /// A slot without records. All that was revoked before the generation began
    /// has no trace here; what was revoked after it has had none evicted from
    /// this slot, because it did not exist (G8).
    pub fn new(generation: Generation) -> Self {
        Self {
            generation: generation.number,
            floor: generation.began,
            records: Vec::new(),
        }
    }

    /// What it says of a key in this generation.
    pub fn look(&self, generation: Generation, digest: &Digest) -> View {
        if self.generation != generation.number {
            return View::Absent;
        }
        let found = self.records.iter().find(|record| record.digest == *digest);
        match found.map(|record| &record.state) {
            None => View::Absent,
            Some(KeyState::Revoked(tombstone)) => View::Revoked(*tombstone),
            Some(KeyState::Active(active)) => View::Active(active.clone()),
        }
    }

    /// Writes a tombstone, always, also for a key that is not here (G3).
    ///
    /// # Errors
    /// The slot is of a later generation, and stays as it is.
    pub fn bury(
        &mut self,
        generation: Generation,
        digest: &Digest,
        tombstone: Tombstone,
    ) -> Result<(), GenerationOver> {
        self.enter(generation)?;
        let held = self.take(digest);
        let tombstone = match held.map(|record| record.state) {
            Some(KeyState::Revoked(known)) => known.merge(tombstone),
            _ => tombstone,
        };
        self.put(digest, KeyState::Revoked(tombstone));
        Ok(())
    }

    /// Merges the store's "active" into the slot.
    pub fn fill(&mut self, generation: Generation, digest: &Digest, active: ActiveKey) -> Merged {
        if self.enter(generation).is_err() {
            return Merged::TooOld;
        }
        match self.look(generation, digest) {
            View::Revoked(tombstone) => return Merged::Revoked(tombstone),
            View::Active(held) if held.revision > active.revision => return Merged::Active(held),
            View::Active(_) | View::Absent => {}
        }
        let floor = self.floor.max(self.next_floor(digest));
        if active.revision < floor {
            return Merged::TooOld;
        }
        self.take(digest);
        self.put(digest, KeyState::Active(active.clone()));
        Merged::Active(active)
    }

    /// Makes the slot one of this generation: records of an earlier one count as
    /// absent (G8).
    fn enter(&mut self, generation: Generation) -> Result<(), GenerationOver> {
        if self.generation < generation.number {
            *self = Self::new(generation);
        }
        match self.generation == generation.number {
            true => Ok(()),
            false => Err(GenerationOver),
        }
    }

    fn take(&mut self, digest: &Digest) -> Option<SlotRecord> {
        let place = self
            .records
            .iter()
            .position(|record| record.digest == *digest)?;
        Some(self.records.remove(place))
    }

    /// The revision of the tombstone that a record of this key would push out.
    fn next_floor(&self, digest: &Digest) -> u64 {
        let is_held = self.records.iter().any(|record| record.digest == *digest);
        match self.records.get(WAYS - 1) {
            Some(SlotRecord {
                state: KeyState::Revoked(tombstone),
                ..
            }) if !is_held => tombstone.revision,
            _ => 0,
        }
    }

    /// Adds a record of a key that has none, and evicts the oldest if need be.
    fn put(&mut self, digest: &Digest, state: KeyState) {
        let digest = *digest;
        self.records.insert(0, SlotRecord { digest, state });
        for evicted in self.records.split_off(self.records.len().min(WAYS)) {
            // G8: nothing read before this revocation is believed any more.
            if let KeyState::Revoked(tombstone) = evicted.state {
                self.floor = self.floor.max(tombstone.revision);
            }
        }
    }
}

impl Layout for Slot {
    const SCHEMA: Schema = Schema {
        table: "slot",
        version: 4,
        unreadable: Unreadable::IsLeftAlone,
    };

    fn encode(&self) -> Vec<u8> {
        let head = FieldWriter::default()
            .u8(Self::SCHEMA.version)
            .u64(self.generation)
            .u64(self.floor);
        let written = self.records.iter().fold(head, |slot, record| {
            let slot = slot.bytes(record.digest.as_bytes());
            match &record.state {
                KeyState::Revoked(tombstone) => slot
                    .u8(REVOKED)
                    .u64(tombstone.revision)
                    .u64(tombstone.replay_until),
                KeyState::Active(active) => slot
                    .u8(ACTIVE)
                    .u64(active.revision)
                    .u64(active.not_before)
                    .u64(active.interval.seconds())
                    .short(active.user.as_str().as_bytes()),
            }
        });
        written.finish()
    }

    fn decode(value: &[u8]) -> Option<Self> {
        let mut fields = FieldReader::new(value);
        if fields.u8()? != Self::SCHEMA.version {
            return None;
        }
        let (generation, floor) = (fields.u64()?, fields.u64()?);
        let mut records = Vec::new();
        while !fields.is_empty() {
            records.push(SlotRecord::decode(&mut fields)?);
        }
        (records.len() <= WAYS).then_some(Self {
            generation,
            floor,
            records,
        })
    }
}

impl SlotRecord {
    fn decode(fields: &mut FieldReader<'_>) -> Option<Self> {
        let digest = Digest::from_bytes(fields.array()?);
        let state = match fields.u8()? {
            REVOKED => KeyState::Revoked(Tombstone {
                revision: fields.u64()?,
                replay_until: fields.u64()?,
            }),
            ACTIVE => KeyState::Active(ActiveKey {
                revision: fields.u64()?,
                not_before: fields.u64()?,
                interval: interval(fields.u64()?)?,
                user: std::str::from_utf8(fields.short()?).ok()?.parse().ok()?,
            }),
            _ => return None,
        };
        Some(Self { digest, state })
    }
}

/// As it is written: what reads as the same is the same.
fn interval(seconds: u64) -> Option<RotationInterval> {
    let interval = RotationInterval::from(seconds);
    (interval.seconds() == seconds).then_some(interval)
}

#[cfg(test)]
mod tests;
