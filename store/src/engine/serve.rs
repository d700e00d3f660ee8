//! What a server asks of its engine beside operations: to start, to say how it does,
//! and to give the data up.
//!
//! `chosen` picks the engine by the operator's settings. Nothing else in the server
//! knows which one it is.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use rekey_protocol::Digest;

use super::rows::ImportId;
use super::{Engine, Listener, ReadError, WriteError};
use crate::feed::core::Start;
use crate::metrics::{DiskUse, Metrics};
use crate::operations::Context;
use crate::operations::incarnation::OlderData;
use crate::rules::answers;
use crate::rules::rotation::RotationLimit;

/// An engine that a server can stand on.
pub trait Serve: Engine {
    /// Where the data is: a file, or the addresses of other machines.
    type Location;

    /// Takes the data as its own (S10), and begins an incarnation in it (S8). `listen` makes
    /// the listener from what the feed begins with; nothing is committed before. To be
    /// called within a runtime. An error is for the operator, and says what to do.
    fn start<L: Listener + Clone>(
        settings: EngineSettings<Self::Location>,
        listen: impl FnOnce(Start) -> L + Send,
    ) -> impl Future<Output = anyhow::Result<Started<Self, L>>> + Send;

    /// What surrounds an operation now.
    fn context(&self) -> Context;

    /// Whether it can read, and could commit a rotation now.
    fn ready(&self) -> impl Future<Output = Result<(), NotReady>> + Send;

    /// What the data takes of this machine's disk; `None`: it is elsewhere.
    fn disk_use(&self) -> Option<DiskUse>;

    /// Whether this key is a new one whose first use is awaited (X4). Only the first
    /// question is answered yes.
    fn takes_first_use(&self, digest: &Digest) -> bool;

    /// The first use of this key could not be noted: the next one is awaited.
    fn await_first_use(&self, digest: &Digest);

    /// Waits until no gateway of another store can accept what was revoked up to this
    /// revision, and this store may say so (R2, R4). At once where there is no other
    /// store.
    fn others_reached(&self, _revision: u64) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }

    /// Waits until there was a change after this revision of which other stores want to
    /// know when all gateways here have heard of it; returns how far the changes are.
    fn next_to_tell(&self, _told: u64) -> impl Future<Output = u64> + Send {
        std::future::pending()
    }

    /// No gateway here can accept what was revoked up to this revision.
    fn tell_reached(&self, _revision: u64) {}
}

/// What an engine is started with.
pub struct EngineSettings<P> {
    /// Where the data is.
    pub place: P,
    /// If the data is older than what was served last (S8).
    pub older_data: OlderData,
    /// Where what is kept for replays goes.
    pub replays: ReplayPlace,
    /// How long a user waits between two rotations.
    pub interval: RotationLimit,
    /// Told how the engine does.
    pub metrics: Arc<Metrics>,
}

impl<P> EngineSettings<P> {
    /// The same, for data that is elsewhere.
    pub fn at<Q>(self, place: Q) -> EngineSettings<Q> {
        EngineSettings {
            place,
            older_data: self.older_data,
            replays: self.replays,
            interval: self.interval,
            metrics: self.metrics,
        }
    }
}

/// Where records for replays are kept.
#[derive(Debug, Clone)]
pub enum ReplayPlace {
    /// Nowhere: the operator wants no replays.
    Off,
    /// Beside the data, with the wrapping keys in this folder.
    Beside {
        /// On a memory file system.
        memory: PathBuf,
    },
}

/// An engine that was started.
pub struct Started<E, L> {
    /// Takes operations from now on.
    pub engine: E,
    /// What must outlive all clones of the engine.
    pub ownership: Ownership,
    /// What hears of its commits.
    pub listener: L,
    /// What an earlier incarnation has left.
    pub unfinished_imports: Vec<ImportId>,
}

impl<E, L> Started<E, L> {
    /// The same, with another engine around this one.
    pub fn map<F>(self, wrap: impl FnOnce(E) -> F) -> Started<F, L> {
        Started {
            engine: wrap(self.engine),
            ownership: self.ownership,
            listener: self.listener,
            unfinished_imports: self.unfinished_imports,
        }
    }
}

/// That the data is this process's (S10). It must outlive all clones of the engine.
///
/// Futures and no trait, because the server does only these two things with it, each
/// once, whatever the engine holds.
pub struct Ownership {
    /// Ends when the engine may not be used any more although nobody stopped it.
    pub ended: Pin<Box<dyn Future<Output = EngineEnd> + Send>>,
    /// After [`Engine::stop`]: waits for the last commit, then gives up the data.
    pub release: Pin<Box<dyn Future<Output = Result<(), EngineEnd>> + Send>>,
}

/// Why an engine ended by itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineEnd {
    /// The data may be another process's (S10). Nothing is to be answered from then on.
    #[error("{0}")]
    Lost(String),
    /// A fault of the store.
    #[error("the database engine failed; the log says where")]
    Failed,
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
