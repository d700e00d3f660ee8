//! A host for tests: shared data and entropy in memory, which can be told to fail.
//! The one fake of the engine's tests and the fuzz targets; the simulator has one with
//! interleavings. Behind the feature `testing`, so that the filter cannot name it.

use std::collections::BTreeMap;

use crate::{Cas, EntropyError, Env, Moment, SharedData, SharedDataError, Sources, Versioned};

/// What all workers of one process share.
#[derive(Default)]
pub struct Memory {
    /// The entries by name.
    pub entries: BTreeMap<String, Versioned>,
    /// Names and values of all writes, one behind the other, also of those that were
    /// overwritten since.
    pub written: Vec<u8>,
    /// Names of all reads, while they are written down.
    pub reads: Option<Vec<String>>,
    /// The monotonic time of [`Memory::env`], in milliseconds.
    pub now: u64,
    /// How many of the next writes another worker beats.
    pub lose_races: u32,
    /// Whether there are no random bytes.
    pub entropy_fails: bool,
    /// Whether nothing can be written.
    pub refuse_writes: bool,
    /// Whether slots cannot be written.
    pub refuse_slots: bool,
    /// Whether the log of revocations cannot be written.
    pub refuse_log: bool,
    versions: u32,
    random: u32,
}

impl Memory {
    /// An event at the time `now`.
    pub fn env(&mut self) -> Env<'_> {
        self.at(self.now)
    }

    /// An event at this monotonic time; the wall clock is a million ahead.
    pub fn at(&mut self, monotonic: u64) -> Env<'_> {
        let wall = 1_000_000 + monotonic;
        Env {
            now: Moment { monotonic, wall },
            sources: self,
        }
    }

    /// The values of all entries.
    pub fn values(&self) -> impl Iterator<Item = &[u8]> {
        self.entries.values().map(|held| held.value.as_slice())
    }

    /// Lets the next random bytes be others than those of a new memory.
    pub fn skip_random(&mut self, by: u8) {
        self.random = self.random.wrapping_add(by.into());
    }

    fn refuses(&self, name: &str) -> bool {
        self.refuse_writes
            || (self.refuse_slots && name.contains("slot."))
            || (self.refuse_log && name.ends_with("revoked"))
    }
}

impl SharedData for Memory {
    fn get(&mut self, name: &str) -> Result<Option<Versioned>, SharedDataError> {
        if let Some(reads) = &mut self.reads {
            reads.push(name.to_owned());
        }
        Ok(self.entries.get(name).cloned())
    }

    fn set(&mut self, name: &str, value: &[u8], cas: Cas) -> Result<(), SharedDataError> {
        if self.refuses(name) {
            return Err(SharedDataError::Host(1));
        }
        if self.lose_races > 0 {
            self.lose_races -= 1;
            return Err(SharedDataError::CasMismatch);
        }
        let current = self.entries.get(name).map(|held| held.version);
        let fits = match cas {
            Cas::Absent => current.is_none(),
            Cas::Version(version) => current == Some(version),
        };
        if !fits {
            return Err(SharedDataError::CasMismatch);
        }
        self.versions += 1;
        self.written.extend(name.as_bytes());
        self.written.extend(value);
        let entry = Versioned {
            value: value.to_vec(),
            version: self.versions,
        };
        self.entries.insert(name.to_owned(), entry);
        Ok(())
    }
}

impl Sources for Memory {
    fn fill_random(&mut self, buffer: &mut [u8]) -> Result<(), EntropyError> {
        if self.entropy_fails {
            return Err(EntropyError);
        }
        for byte in buffer {
            // A linear congruential generator: the same bytes in each run.
            self.random = self
                .random
                .wrapping_mul(1_664_525)
                .wrapping_add(1_013_904_223);
            let [high, ..] = self.random.to_be_bytes();
            *byte = high;
        }
        Ok(())
    }
}
