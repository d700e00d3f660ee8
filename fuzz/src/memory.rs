//! The shared data of one gateway process, in memory, and entropy that counts.

use std::collections::BTreeMap;

use rekey_engine::{Cas, EntropyError, Env, Moment, SharedData, SharedDataError, Sources};

/// What all workers of a process share.
#[derive(Default)]
pub struct Memory {
    entries: BTreeMap<String, (Vec<u8>, u32)>,
    versions: u32,
    random: u32,
    /// What the host refuses from now on.
    pub refuses: Refuses,
    /// In milliseconds.
    pub now: u64,
}

/// What a host refuses.
#[derive(Default, Clone, Copy)]
pub struct Refuses {
    /// To write.
    pub writes: bool,
    /// To give random bytes.
    pub entropy: bool,
    /// The next writes, as if another worker had been quicker.
    pub races: u8,
}

impl Memory {
    /// An event now.
    pub fn env(&mut self) -> Env<'_> {
        let now = Moment {
            monotonic: self.now,
            wall: 1_000_000 + self.now,
        };
        Env { now, sources: self }
    }

    /// All values.
    pub fn values(&self) -> impl Iterator<Item = &[u8]> {
        self.entries.values().map(|(value, _)| value.as_slice())
    }
}

impl SharedData for Memory {
    fn get(&mut self, name: &str) -> Result<Option<(Vec<u8>, u32)>, SharedDataError> {
        Ok(self.entries.get(name).cloned())
    }

    fn set(&mut self, name: &str, value: &[u8], cas: Cas) -> Result<(), SharedDataError> {
        if self.refuses.writes {
            return Err(SharedDataError::Host(1));
        }
        if let Some(left) = self.refuses.races.checked_sub(1) {
            self.refuses.races = left;
            return Err(SharedDataError::CasMismatch);
        }
        let current = self.entries.get(name).map(|(_, version)| *version);
        let fits = match cas {
            Cas::Absent => current.is_none(),
            Cas::Version(version) => current == Some(version),
        };
        if !fits {
            return Err(SharedDataError::CasMismatch);
        }
        self.versions += 1;
        let entry = (value.to_vec(), self.versions);
        self.entries.insert(name.to_owned(), entry);
        Ok(())
    }
}

impl Sources for Memory {
    fn fill_random(&mut self, buffer: &mut [u8]) -> Result<(), EntropyError> {
        if self.refuses.entropy {
            return Err(EntropyError);
        }
        for byte in buffer {
            self.random = self
                .random
                .wrapping_mul(1_664_525)
                .wrapping_add(1_013_904_223);
            *byte = self.random.to_be_bytes()[0];
        }
        Ok(())
    }
}
