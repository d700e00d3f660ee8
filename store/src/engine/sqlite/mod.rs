//! The database of the key store: SQLite, one writer, many readers.
//!
//! Knows no HTTP. What a client asks for in vain is a refusal inside `Ok`;
//! `Err` is always the store's own fault.

mod files;
mod health;
mod imports;
mod open;
mod ownership;
#[cfg(test)]
pub(crate) mod probing;
mod reader;
mod records;
mod replays;
mod schema;
mod tables;
#[cfg(test)]
mod timed;
mod transaction;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rekey_protocol::Digest;
use rusqlite::Connection;

use crate::clock::Clock;
use crate::engine::import::{ImportError, Importing};
use crate::engine::serve::{EngineSettings, NotReady, Serve, Started};
use crate::engine::{Engine, Listener, Patience, ReadError, WriteError};
use crate::feed::core::Start;
use crate::metrics::DiskUse;
use crate::operations::{Context, Kind, Operation, Read, ReadQueue};
use crate::rules::rotation::RotationLimit;

pub use files::backup::{BackupError, BackupTarget, Contents, MadeBackup, backup};
pub use files::loss::{Later, Loss};
pub use files::restore::{Restore, RestoreError, Restored};
pub use imports::staging::StagingTable;
pub use open::OpenError;

use files::{backup, restore};
use health::Health;
use ownership::keeper::Owned;
use ownership::lock::Lock;
use ownership::{anchor, incarnation, keeper, lock};
use reader::Readers;
use replays::Replays;
#[cfg(test)]
use tables::{audit, keys, passwords, users};
use tables::{columns, history, people, rotations, sessions};
use transaction::{ReplayFile, SqliteTx};
use writer::{Parts, StartedWriter, Writer, fate};

/// Reading connections: reads are short, so a few per core keep it busy.
const READERS_PER_CORE: usize = 2;
/// Between two turns of deleting what is of no use any more.
const CLEAR_UP_EVERY: Duration = Duration::from_secs(60);

/// An open database. Cheap to clone.
#[derive(Clone)]
pub struct Sqlite {
    writer: Writer,
    readers: Readers,
    /// For the dashboard: however many strangers look at it, key checks find a
    /// connection.
    aside: Readers,
    clock: Arc<Clock>,
    interval: RotationLimit,
    path: PathBuf,
    lock: Arc<Lock>,
    kept: ReplayFile,
    health: Health,
}

impl Engine for Sqlite {
    async fn run_within<O>(&self, patience: Patience, operation: O) -> Result<O::Out, WriteError>
    where
        O: Operation + Send + Sync + 'static,
        O::Out: Send + 'static,
    {
        let (kept, interval) = (self.kept.clone(), self.interval);
        let work = move |connection: &Connection, now| {
            let mut transaction = SqliteTx::new(connection, &kept);
            operation.apply(&mut transaction, &Context { now, interval })
        };
        self.writer.change_in(O::KIND, patience, work).await
    }

    async fn read<R>(&self, read: R) -> Result<R::Out, ReadError>
    where
        R: Read + Send + Sync + 'static,
        R::Out: Send + 'static,
    {
        let readers = match R::QUEUE {
            ReadQueue::Api => &self.readers,
            ReadQueue::Dashboard => &self.aside,
        };
        let cx = self.context();
        let work = move |connection: &mut Connection| {
            if R::IS_ONE_WORD {
                return read.read(&SqliteTx::reading(connection), &cx);
            }
            let snapshot = connection.transaction()?;
            read.read(&SqliteTx::reading(&snapshot), &cx)
        };
        readers.read(work).await
    }

    async fn stop(&self) {
        self.writer.stop().await;
    }
}

impl Serve for Sqlite {
    type Location = PathBuf;

    async fn start<L: Listener + Clone>(
        settings: EngineSettings<PathBuf>,
        listen: impl FnOnce(Start) -> L + Send,
    ) -> anyhow::Result<Started<Self, L>> {
        let opened = open::open(&settings.place, settings.older_data)?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let readers = Readers::open(&opened.path, cores * READERS_PER_CORE)?;
        let aside = Readers::open(&opened.path, 1)?;
        let clock = Arc::new(Clock::resume(opened.time));
        settings.metrics.set_revision(opened.mark.revision);
        // S9: until then it is only supposed what former incarnations have granted.
        let settled = (opened.feed.held_lease_ms > opened.feed.longest_lease_ms)
            .then(|| records::lease_over(opened.feed.held_lease_ms));
        let incarnation = opened.feed.history.head().incarnation;
        let listener = listen(opened.feed);
        let lock = Arc::new(opened.lock);
        let keeper = Box::new(Owned {
            listener: Arc::new(listener.clone()),
            lock: lock.clone(),
            incarnation,
        });
        let unfinished_imports = imports::unfinished(&opened.writer)?;
        let replays = Replays::open(&opened.path, &settings.replays)?;
        let are_kept = replays.are_kept();
        let kept = ReplayFile::new(replays, clock.now().limit)?;
        let health = Health::new();
        let parts = Parts {
            connection: opened.writer,
            clock: clock.clone(),
            metrics: settings.metrics,
            kept: kept.clone(),
            health: health.clone(),
            published: opened.mark.revision,
            keeper,
        };
        let path = opened.path;
        let StartedWriter { writer, thread } = start_writer(parts, &path)?;
        let engine = Self {
            writer,
            readers,
            aside,
            clock,
            interval: settings.interval,
            path,
            lock,
            kept,
            health,
        };
        if let Some(after) = settled {
            let (writer, lock) = (engine.writer.clone(), engine.lock.clone());
            tokio::spawn(records::settle(after, writer, lock));
        }
        if are_kept {
            tokio::spawn(clear_up(engine.writer.clone()));
        }
        let ownership = ownership::of(thread, engine.lock.clone());
        Ok(Started {
            engine,
            ownership,
            listener,
            unfinished_imports,
        })
    }

    fn context(&self) -> Context {
        Context {
            now: self.clock.now(),
            interval: self.interval,
        }
    }

    async fn ready(&self) -> Result<(), NotReady> {
        let read = |db: &mut Connection| db.query_row("SELECT 1 FROM meta", [], |_| Ok(()));
        self.readers.read(read).await?;
        self.health.of_changes(&self.writer).await
    }

    fn disk_use(&self) -> Option<DiskUse> {
        Some(health::disk_use(&self.path))
    }

    fn takes_first_use(&self, digest: &Digest) -> bool {
        self.kept.awaited().comes(digest)
    }

    fn await_first_use(&self, digest: &Digest) {
        self.kept.awaited().expect(*digest, self.clock.now().limit);
    }
}

impl Importing for Sqlite {
    type Staging = StagingTable;

    fn stage(&self) -> Result<StagingTable, ImportError> {
        StagingTable::begin(&self.path)
    }

    fn free_bytes(&self) -> Option<u64> {
        health::free_bytes(&self.path)
    }
}

fn start_writer(parts: Parts, path: &Path) -> Result<StartedWriter, OpenError> {
    Writer::start(parts).map_err(|error| OpenError::Unwritable {
        path: path.to_owned(),
        error,
    })
}

/// Has what was kept for replays deleted in time, also where nobody writes.
async fn clear_up(writer: Writer) {
    let mut turns = tokio::time::interval(CLEAR_UP_EVERY);
    loop {
        turns.tick().await;
        if let Err(WriteError::Stopping) = writer.change(Kind::Admin, |_, _| Ok(())).await {
            return;
        }
    }
}
