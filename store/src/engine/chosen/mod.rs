//! The engine that the operator chose with `--database`. Here alone the server names
//! its engines; a new one is a variant of each type, and the compiler asks for the rest.

mod database;

use rekey_protocol::{Digest, UserId};

pub use database::{BadDatabase, Database, Location};

use crate::api::BadRow;
#[cfg(feature = "etcd")]
use crate::engine::etcd::{self, Etcd, EtcdStaging};
use crate::engine::import::{ImportError, Importing, Staging};
use crate::engine::rows::ImportedRow;
use crate::engine::serve::{EngineSettings, NotReady, Serve, Started};
use crate::engine::sqlite::{Sqlite, StagingTable};
use crate::engine::{Engine, Listener, Patience, ReadError, RecordsError, WriteError};
use crate::feed::core::Start;
use crate::feed::{LaterRevocations, Records};
use crate::metrics::DiskUse;
use crate::operations::{Context, Operation, Read};

/// The engine that the server stands on. Cheap to clone.
#[derive(Clone)]
pub enum ChosenEngine {
    /// One file, one process.
    Sqlite(Sqlite),
    /// Several machines, several processes.
    #[cfg(feature = "etcd")]
    Etcd(Etcd),
}

impl Engine for ChosenEngine {
    async fn run_within<O>(&self, patience: Patience, operation: O) -> Result<O::Out, WriteError>
    where
        O: Operation + Send + Sync + 'static,
        O::Out: Send + 'static,
    {
        match self {
            Self::Sqlite(engine) => engine.run_within(patience, operation).await,
            #[cfg(feature = "etcd")]
            Self::Etcd(engine) => engine.run_within(patience, operation).await,
        }
    }

    async fn read<R>(&self, read: R) -> Result<R::Out, ReadError>
    where
        R: Read + Send + Sync + 'static,
        R::Out: Send + 'static,
    {
        match self {
            Self::Sqlite(engine) => engine.read(read).await,
            #[cfg(feature = "etcd")]
            Self::Etcd(engine) => engine.read(read).await,
        }
    }

    async fn stop(&self) {
        match self {
            Self::Sqlite(engine) => engine.stop().await,
            #[cfg(feature = "etcd")]
            Self::Etcd(engine) => engine.stop().await,
        }
    }
}

impl Records for ChosenEngine {
    type Error = RecordsError;

    async fn changes_after(&self, revision: u64) -> Result<LaterRevocations, RecordsError> {
        match self {
            Self::Sqlite(engine) => engine.changes_after(revision).await,
            #[cfg(feature = "etcd")]
            Self::Etcd(engine) => engine.changes_after(revision).await,
        }
    }

    fn grantable(&self) -> Option<u32> {
        match self {
            Self::Sqlite(engine) => engine.grantable(),
            #[cfg(feature = "etcd")]
            Self::Etcd(engine) => engine.grantable(),
        }
    }

    async fn catch_up(&self, revision: u64) -> Result<(), RecordsError> {
        match self {
            Self::Sqlite(engine) => engine.catch_up(revision).await,
            #[cfg(feature = "etcd")]
            Self::Etcd(engine) => engine.catch_up(revision).await,
        }
    }

    async fn record_lease(&self, lease_ms: u32) -> Result<(), RecordsError> {
        match self {
            Self::Sqlite(engine) => engine.record_lease(lease_ms).await,
            #[cfg(feature = "etcd")]
            Self::Etcd(engine) => engine.record_lease(lease_ms).await,
        }
    }
}

impl Serve for ChosenEngine {
    type Location = Location;

    async fn start<L: Listener + Clone>(
        settings: EngineSettings<Location>,
        listen: impl FnOnce(Start) -> L + Send,
    ) -> anyhow::Result<Started<Self, L>> {
        let place = settings.place.clone();
        match place.database {
            Database::Sqlite(path) => {
                let started = Sqlite::start(settings.at(path), listen).await?;
                Ok(started.map(Self::Sqlite))
            }
            #[cfg(feature = "etcd")]
            Database::Etcd(address) => {
                let place = etcd::Location {
                    address: *address,
                    access: place.etcd,
                };
                let started = Etcd::start(settings.at(place), listen).await?;
                Ok(started.map(Self::Etcd))
            }
        }
    }

    fn context(&self) -> Context {
        match self {
            Self::Sqlite(engine) => engine.context(),
            #[cfg(feature = "etcd")]
            Self::Etcd(engine) => engine.context(),
        }
    }

    async fn ready(&self) -> Result<(), NotReady> {
        match self {
            Self::Sqlite(engine) => engine.ready().await,
            #[cfg(feature = "etcd")]
            Self::Etcd(engine) => engine.ready().await,
        }
    }

    fn disk_use(&self) -> Option<DiskUse> {
        match self {
            Self::Sqlite(engine) => engine.disk_use(),
            #[cfg(feature = "etcd")]
            Self::Etcd(engine) => engine.disk_use(),
        }
    }

    fn takes_first_use(&self, digest: &Digest) -> bool {
        match self {
            Self::Sqlite(engine) => engine.takes_first_use(digest),
            #[cfg(feature = "etcd")]
            Self::Etcd(engine) => engine.takes_first_use(digest),
        }
    }

    fn await_first_use(&self, digest: &Digest) {
        match self {
            Self::Sqlite(engine) => engine.await_first_use(digest),
            #[cfg(feature = "etcd")]
            Self::Etcd(engine) => engine.await_first_use(digest),
        }
    }

    async fn others_reached(&self, revision: u64) {
        match self {
            Self::Sqlite(engine) => engine.others_reached(revision).await,
            #[cfg(feature = "etcd")]
            Self::Etcd(engine) => engine.others_reached(revision).await,
        }
    }

    async fn next_to_tell(&self, told: u64) -> u64 {
        match self {
            Self::Sqlite(engine) => engine.next_to_tell(told).await,
            #[cfg(feature = "etcd")]
            Self::Etcd(engine) => engine.next_to_tell(told).await,
        }
    }

    fn tell_reached(&self, revision: u64) {
        match self {
            Self::Sqlite(engine) => engine.tell_reached(revision),
            #[cfg(feature = "etcd")]
            Self::Etcd(engine) => engine.tell_reached(revision),
        }
    }
}

impl Importing for ChosenEngine {
    type Staging = ChosenStaging;

    fn stage(&self) -> Result<ChosenStaging, ImportError> {
        match self {
            Self::Sqlite(engine) => engine.stage().map(ChosenStaging::Sqlite),
            #[cfg(feature = "etcd")]
            Self::Etcd(engine) => engine.stage().map(ChosenStaging::Etcd),
        }
    }

    fn free_bytes(&self) -> Option<u64> {
        match self {
            Self::Sqlite(engine) => engine.free_bytes(),
            #[cfg(feature = "etcd")]
            Self::Etcd(engine) => engine.free_bytes(),
        }
    }
}

/// Where the rows of an import wait.
pub enum ChosenStaging {
    /// In a temporary table.
    Sqlite(StagingTable),
    /// In memory.
    #[cfg(feature = "etcd")]
    Etcd(EtcdStaging),
}

impl Staging for ChosenStaging {
    fn rows(&self) -> u64 {
        match self {
            Self::Sqlite(staging) => staging.rows(),
            #[cfg(feature = "etcd")]
            Self::Etcd(staging) => staging.rows(),
        }
    }

    fn add(&mut self, line: u64, row: &ImportedRow) -> Result<(), ImportError> {
        match self {
            Self::Sqlite(staging) => staging.add(line, row),
            #[cfg(feature = "etcd")]
            Self::Etcd(staging) => staging.add(line, row),
        }
    }

    fn add_bad(&mut self, line: u64, reason: &str) -> Result<(), ImportError> {
        match self {
            Self::Sqlite(staging) => staging.add_bad(line, reason),
            #[cfg(feature = "etcd")]
            Self::Etcd(staging) => staging.add_bad(line, reason),
        }
    }

    fn check(&mut self) -> Result<u64, ImportError> {
        match self {
            Self::Sqlite(staging) => staging.check(),
            #[cfg(feature = "etcd")]
            Self::Etcd(staging) => staging.check(),
        }
    }

    fn rows_after(
        &self,
        user: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<ImportedRow>, ImportError> {
        match self {
            Self::Sqlite(staging) => staging.rows_after(user, limit),
            #[cfg(feature = "etcd")]
            Self::Etcd(staging) => staging.rows_after(user, limit),
        }
    }

    fn bad_rows(&self, take: impl FnMut(BadRow) -> bool) -> Result<(), ImportError> {
        match self {
            Self::Sqlite(staging) => staging.bad_rows(take),
            #[cfg(feature = "etcd")]
            Self::Etcd(staging) => staging.bad_rows(take),
        }
    }
}
