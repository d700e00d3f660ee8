//! The keys that the process knows: a bounded number of slots in shared data, each
//! with a few records.

use rekey_protocol::Digest;

use super::control::Generation;
use super::slots::{ActiveKey, GenerationOver, Merged, Slot, Tombstone, View};
use crate::config::Config;
use crate::host::env::{SharedData, SharedDataError};
use crate::shared::SharedTable;
use crate::shared::entry::{Entries, Entry, Next};

/// The cache of a configuration.
pub(crate) struct KeyCache {
    entries: Entries<Slot>,
    slots: u32,
}

impl SharedTable for KeyCache {
    type Value = Slot;

    fn open(entries: Entries<Slot>, config: &Config) -> Self {
        Self::new(entries, config.cache_slots)
    }
}

impl KeyCache {
    /// A cache of so many slots.
    pub(crate) fn new(entries: Entries<Slot>, slots: u32) -> Self {
        Self { entries, slots }
    }

    /// What is known of a key. A slot that cannot be read or understood says
    /// nothing: the store is asked then.
    pub(crate) fn look(
        &self,
        shared: &mut dyn SharedData,
        generation: Generation,
        digest: &Digest,
    ) -> View {
        match self.slot_of(digest).read(shared) {
            Ok(Some(slot)) => slot.look(generation, digest),
            Ok(None) | Err(_) => View::Absent,
        }
    }

    /// Writes down that a key was revoked.
    ///
    /// # Errors
    /// The slot could not be written, or is of a later generation: then nobody
    /// may be told that it was.
    pub(crate) fn bury(
        &self,
        shared: &mut dyn SharedData,
        generation: Generation,
        digest: &Digest,
        tombstone: Tombstone,
    ) -> Result<(), SharedDataError> {
        let written = self.change(shared, generation, digest, |slot| {
            slot.bury(generation, digest, tombstone)
        })?;
        written.map_err(|GenerationOver| SharedDataError::CasMismatch)
    }

    /// Merges the store's "active" and says what the slot says then (G6).
    ///
    /// # Errors
    /// The slot could not be read or written: it says nothing.
    pub(crate) fn fill(
        &self,
        shared: &mut dyn SharedData,
        generation: Generation,
        digest: &Digest,
        active: &ActiveKey,
    ) -> Result<Merged, SharedDataError> {
        self.change(shared, generation, digest, |slot| {
            slot.fill(generation, digest, active.clone())
        })
    }

    fn change<T>(
        &self,
        shared: &mut dyn SharedData,
        generation: Generation,
        digest: &Digest,
        change: impl Fn(&mut Slot) -> T,
    ) -> Result<T, SharedDataError> {
        self.slot_of(digest).update(shared, |held| {
            let mut slot = held.clone().unwrap_or_else(|| Slot::new(generation));
            let result = change(&mut slot);
            match held.as_ref() == Some(&slot) {
                true => Next::Keep(result),
                false => Next::Write(slot, result),
            }
        })
    }

    fn slot_of(&self, digest: &Digest) -> Entry<'_, Slot> {
        let bytes = digest
            .as_bytes()
            .first_chunk::<4>()
            .copied()
            .unwrap_or_default();
        self.entries
            .at(u32::from_be_bytes(bytes) % self.slots.max(1))
    }
}
