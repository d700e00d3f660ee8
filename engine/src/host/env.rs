//! What an event brings along: the time, entropy and the process's shared data.
//! Traits and plain values; who implements them is not known here.

use crate::cache::control::Moment;

/// The moment of an event and what can be reached at it.
pub struct Env<'a> {
    /// When it happened, sampled in the event's own callback (G1). The
    /// monotonic clock's origin is any that all workers of the process share.
    pub now: Moment,
    /// Shared data and entropy.
    pub sources: &'a mut dyn Sources,
}

/// The two sources that an event may draw on.
pub trait Sources: SharedData {
    /// Fills the buffer from a cryptographically secure source.
    fn fill_random(&mut self, buffer: &mut [u8]) -> Result<(), EntropyError>;
}

/// The host gave no random bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the host gave no random bytes")]
pub struct EntropyError;

/// Version of a value in shared data, for compare-and-swap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cas {
    /// Write only if there is no such entry yet.
    Absent,
    /// Write only over the value that was read with this number.
    Version(u32),
}

/// The map that all workers of a process share (proxy-wasm shared data).
/// Entries can be neither deleted nor listed, so their names must be bounded.
pub trait SharedData {
    /// The value and its version; `None` if there is none.
    fn get(&mut self, name: &str) -> Result<Option<(Vec<u8>, u32)>, SharedDataError>;
    /// Writes if the entry is still as `cas` says.
    fn set(&mut self, name: &str, value: &[u8], cas: Cas) -> Result<(), SharedDataError>;
}

/// Why shared data was not read or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SharedDataError {
    /// Another worker was quicker; read again.
    #[error("another worker changed it meanwhile")]
    CasMismatch,
    /// The host refused.
    #[error("the host refused (status {0})")]
    Host(u32),
    /// What is there is not ours, or of another version; it is left alone.
    #[error("the value there cannot be understood")]
    Unreadable,
}

/// The parts of a request that decide on it. Each is asked for at most once
/// and only where it is needed, since each costs a call to the host; the path of a
/// request that is refused once more, because its refusal may be about the query.
/// Values are bytes: a client may send anything.
pub trait RequestHead {
    /// `:path` as the client sent it, with its query.
    fn path(&self) -> Vec<u8>;
    /// `:method`.
    fn method(&self) -> Vec<u8>;
    /// A header's value by its lower-case name; several of one name are merged
    /// with commas. `None` if the request has none.
    fn header(&self, name: &str) -> Option<Vec<u8>>;
    /// Whether a body follows, or the end of an empty one.
    fn body_follows(&self) -> bool;
    /// Address and port of the client.
    fn client_address(&self) -> Option<String>;
}

#[cfg(test)]
pub(crate) mod testing {
    //! Shared data of one process, in memory, and entropy that counts.

    use super::*;
    use std::collections::BTreeMap;

    #[derive(Default)]
    pub struct Memory {
        pub entries: BTreeMap<String, (Vec<u8>, u32)>,
        versions: u32,
        random: u8,
        /// How many of the next writes another worker beats.
        pub lose_races: u32,
        pub entropy_fails: bool,
        /// Whether slots cannot be written.
        pub refuse_slots: bool,
        /// Whether the log of revocations cannot be written.
        pub refuse_log: bool,
    }

    impl Memory {
        /// An event at this monotonic time; the wall clock is a million ahead.
        pub fn at(&mut self, monotonic: u64) -> Env<'_> {
            let wall = 1_000_000 + monotonic;
            Env {
                now: Moment { monotonic, wall },
                sources: self,
            }
        }
    }

    impl Memory {
        /// Lets the next random bytes be others than those of a new memory.
        pub fn skip_random(&mut self, by: u8) {
            self.random = self.random.wrapping_add(by);
        }
    }

    impl SharedData for Memory {
        fn get(&mut self, name: &str) -> Result<Option<(Vec<u8>, u32)>, SharedDataError> {
            Ok(self.entries.get(name).cloned())
        }

        fn set(&mut self, name: &str, value: &[u8], cas: Cas) -> Result<(), SharedDataError> {
            let is_refused = (self.refuse_slots && name.contains("slot."))
                || (self.refuse_log && name.ends_with("revoked"));
            if is_refused {
                return Err(SharedDataError::Host(1));
            }
            if self.lose_races > 0 {
                self.lose_races -= 1;
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
            self.entries
                .insert(name.to_owned(), (value.to_vec(), self.versions));
            Ok(())
        }
    }

    impl Sources for Memory {
        fn fill_random(&mut self, buffer: &mut [u8]) -> Result<(), EntropyError> {
            if self.entropy_fails {
                return Err(EntropyError);
            }
            for byte in buffer {
                self.random = self.random.wrapping_add(1);
                *byte = self.random;
            }
            Ok(())
        }
    }
}
