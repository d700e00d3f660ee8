//! Shared data and entropy of one gateway process, as a worker's engine sees
//! them: other workers may run between any two accesses.

use std::collections::HashMap;

use rekey_engine::{Cas, EntropyError, SharedData, SharedDataError, Sources, Versioned};

use crate::fleet::gateway::WorkerRef;
use crate::fleet::plan::Sabotage;
use crate::fleet::world::World;

/// How deep callbacks are nested in one another.
const MOST_NESTED: usize = 3;
/// A worker's longest stand-still between two accesses, in microseconds.
const LONGEST_STALL: u64 = 5_000_000;
/// What a host says to a VM that has gone.
const GONE: SharedDataError = SharedDataError::Host(10);

/// The map of one process.
#[derive(Debug, Default)]
pub struct Memory {
    entries: HashMap<String, Versioned>,
    version: u32,
}

impl Memory {
    /// How many names there are.
    pub fn names(&self) -> usize {
        self.entries.len()
    }
}

/// The way of one running worker to its process and the world.
pub struct Hostcalls<'w> {
    /// The world, without this worker's engine in it.
    pub world: &'w mut World,
    /// Who runs.
    pub me: WorkerRef,
}

impl Hostcalls<'_> {
    /// Lets others run, perhaps; then says whether this worker still lives.
    fn interleave(&mut self) -> Result<(), SharedDataError> {
        let world = &mut *self.world;
        if world.running.len() < MOST_NESTED && !world.is_over() {
            let roll = world.rng.f64();
            if roll < world.plan.interleave {
                world.run_another_of(self.me.process);
            } else if roll < world.plan.interleave + world.plan.stall && !world.healed {
                let longest = LONGEST_STALL.min(10_u64.pow(world.rng.u32(2..8)));
                let until = world.now + world.rng.u64(1..=longest);
                world.stall_until(until);
            }
        }
        if self.world.lives(self.me) {
            Ok(())
        } else {
            Err(GONE)
        }
    }
}

impl SharedData for Hostcalls<'_> {
    fn get(&mut self, name: &str) -> Result<Option<Versioned>, SharedDataError> {
        self.interleave()?;
        let process = self.world.process(self.me.process);
        Ok(process.memory.entries.get(name).cloned())
    }

    fn set(&mut self, name: &str, value: &[u8], cas: Cas) -> Result<(), SharedDataError> {
        self.interleave()?;
        let sabotage = self.world.plan.sabotage;
        let from_feed = self.world.applying_feed;
        let memory = &mut self.world.process_mut(self.me.process).memory;
        let current = memory.entries.get(name).map(|held| held.version);
        let fits = match cas {
            Cas::Absent => current.is_none(),
            Cas::Version(version) => current == Some(version),
        };
        if !fits && sabotage != Some(Sabotage::IgnoreCas) {
            return Err(SharedDataError::CasMismatch);
        }
        if sabotage == Some(Sabotage::DropWrites) && from_feed && name.contains("slot.") {
            return Ok(());
        }
        if sabotage == Some(Sabotage::TellNobody) && name.ends_with("revoked") {
            return Ok(());
        }
        memory.version += 1;
        let entry = Versioned {
            value: value.to_vec(),
            version: memory.version,
        };
        memory.entries.insert(name.to_owned(), entry);
        Ok(())
    }
}

impl Sources for Hostcalls<'_> {
    fn fill_random(&mut self, buffer: &mut [u8]) -> Result<(), EntropyError> {
        self.world.rng.fill(buffer);
        Ok(())
    }
}
