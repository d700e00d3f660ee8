//! What a server asks of its engine beside operations.

use rekey_protocol::Digest;

use super::rows::ImportId;
use super::{Engine, Listener, ReadError, WriteError};
use crate::answers;
use crate::feed::core::Start;
use crate::operations::Context;

/// An engine that a server can stand on.
pub trait Serve: Engine {
    /// Where the data is, and how it is kept.
    type Settings;
    /// What must outlive all clones of the engine: the ownership of the data (S10).
    type Owner;
    /// Why it cannot be started. The operator's to hear.
    type StartError;

    /// Takes the data as its own (S10), and begins a life in it (S8). `listen` makes
    /// the listener from what the feed begins with; nothing is committed before.
    fn start<L: Listener + Clone>(
        settings: Self::Settings,
        listen: impl FnOnce(Start) -> L,
    ) -> Result<Started<Self, L>, Self::StartError>;

    /// What surrounds an operation now.
    fn context(&self) -> Context;

    /// Whether it can read, and could commit a rotation now.
    fn ready(&self) -> impl Future<Output = Result<(), NotReady>> + Send;

    /// Whether this key is a new one whose first use is awaited (X4). Only the first
    /// question is answered yes.
    fn takes_first_use(&self, digest: &Digest) -> bool;

    /// The first use of this key could not be noted: the next one is awaited.
    fn await_first_use(&self, digest: &Digest);
}

/// An engine that was started.
pub struct Started<E: Serve, L> {
    /// The engine.
    pub engine: E,
    /// Whose the data is.
    pub owner: E::Owner,
    /// What hears of its commits.
    pub listener: L,
    /// What an earlier life has left.
    pub unfinished_imports: Vec<ImportId>,
}

/// Why the store is not ready. Each text is for the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    /// The database may not be served (S8).
    #[error("{}", answers::RESTORED.message)]
    Restored,
    /// Keys cannot be resolved.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Rotations cannot be made.
    #[error("changes fail: {0}")]
    Write(#[from] WriteError),
    /// Rotations wait.
    #[error(
        "changes wait for over a second, as they do while another is large or the disk is slow"
    )]
    Stuck,
}
