//! What an event brings along: the time, entropy and the process's shared data.
//! Traits and plain values, which the adapter implements and fills.

use crate::cache::lease::Moment;

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

/// A value in shared data, as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versioned {
    /// Its bytes.
    pub value: Vec<u8>,
    /// What a write over it has to name.
    pub version: u32,
}

/// The map that all workers of a process share (proxy-wasm shared data).
/// Entries can be neither deleted nor listed, so their names must be bounded.
pub trait SharedData {
    /// What is there; `None` if nothing is.
    fn get(&mut self, name: &str) -> Result<Option<Versioned>, SharedDataError>;
    /// Writes if the entry is still as `cas` says.
    fn set(&mut self, name: &str, value: &[u8], cas: Cas) -> Result<(), SharedDataError>;
}

/// Why shared data was not read or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SharedDataError {
    /// Another worker was quicker; read again.
    #[error("another worker changed it meanwhile")]
    CasMismatch,
    /// The host refused, with this status of the ABI.
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
    /// The `:method` pseudo-header.
    fn method(&self) -> Vec<u8>;
    /// A header's value by its lower-case name; several of one name are merged
    /// with commas. `None` if the request has none.
    fn header(&self, name: &str) -> Option<Vec<u8>>;
    /// Whether a body follows, or the end of an empty one.
    fn body_follows(&self) -> bool;
    /// Address and port of the client.
    fn client_address(&self) -> Option<String>;
}
