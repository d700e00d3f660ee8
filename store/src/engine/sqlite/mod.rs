//! The database of the key store: SQLite, one writer, many readers.
//!
//! Knows no HTTP. What a client asks for in vain is a refusal inside `Ok`;
//! `Err` is always the store's own fault.

pub mod direct;
mod files;
mod health;
mod imports;
mod open;
mod ownership;
mod reader;
mod records;
mod replays;
mod schema;
mod tables;
mod transaction;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rekey_protocol::{Digest, ResolvedState};
use rusqlite::Connection;
use tokio::sync::Semaphore;

use crate::clock::Clock;
use crate::engine::{Engine, Patience, ReadError, WriteError};
use crate::feed::Feed;
use crate::keystore::uses::{LastUses, OldKeys};
use crate::metrics::Metrics;
use crate::operations::keys::{Resolve, Resolved, Unknown};
use crate::operations::replays::NoteFirstUse;
use crate::operations::{Context, Kind, Operation, Queue, Read};
use crate::rotation::RotationInterval;

pub use files::backup::{
    BackupError, Contents, Made as MadeBackup, Target as BackupTarget, backup,
};
pub use files::restore::{Later, Loss, Restore, RestoreError, Restored};
pub use health::{DiskUse, NotReady};
pub use imports::run::{Import, Imported, Permit};
pub use imports::staging::{ImportError, Staging};
pub use open::OpenError;
pub use ownership::lock::Lost;
pub use replays::ReplayPlace;
pub use writer::{Writer, WriterThread};

use files::{backup, restore};
use health::Health;
use ownership::keeper::Owned;
use ownership::lock::Lock;
use ownership::{anchor, keeper, life, lock};
use reader::Readers;
use replays::Replays;
#[cfg(test)]
use tables::{audit, keys, passwords, users};
use tables::{columns, history, people, rotations, sessions};
use transaction::{ReplayFile, SqliteTx};
use writer::fate;

/// Reading connections: reads are short, so a few per core keep it busy.
const READERS_PER_CORE: usize = 2;
/// Between two turns of deleting what is of no use any more.
const CLEAR_UP_EVERY: Duration = Duration::from_secs(60);

/// Between two looks at the files of an idle store.
const CHECK_OWNERSHIP_EVERY: Duration = Duration::from_secs(1);

/// An open database. Cheap to clone.
#[derive(Clone)]
pub struct Database {
    writer: Writer,
    readers: Readers,
    /// For the dashboard: however many strangers look at it, key checks find a
    /// connection.
    aside: Readers,
    clock: Arc<Clock>,
    interval: RotationInterval,
    path: PathBuf,
    imports: Arc<Semaphore>,
    feed: Feed,
    lock: Arc<Lock>,
    kept: ReplayFile,
    old_keys: OldKeys,
    health: Health,
    last_uses: LastUses,
}

/// What must outlive all clones of a [`Database`]: the writing thread, and the
/// ownership of the file (S10).
pub struct Owner {
    /// The thread that writes.
    pub writer: WriterThread,
    lock: Arc<Lock>,
}

impl Owner {
    /// Waits until the database may be another process's (S10). Nothing is to be
    /// answered from then on.
    pub fn lost(&self) -> impl Future<Output = Lost> + use<> {
        let lock = self.lock.clone();
        async move {
            let mut turns = tokio::time::interval(CHECK_OWNERSHIP_EVERY);
            loop {
                tokio::select! {
                    lost = lock.lost() => return lost,
                    // Also where nobody asks for anything.
                    _ = turns.tick() => drop(lock.check()),
                }
            }
        }
    }

    /// After [`Database::stop`]: waits for the last commit, then gives up the
    /// file. Whether all went well. Blocks.
    pub fn release(self) -> bool {
        let ended_well = self.writer.join();
        drop(self.lock);
        ended_well
    }
}

impl Database {
    /// Opens or creates the database and begins a new incarnation (S8).
    pub fn open(
        path: &Path,
        interval: RotationInterval,
        accept_restore: bool,
        replays: &ReplayPlace,
        metrics: Arc<Metrics>,
    ) -> Result<(Self, Owner), OpenError> {
        let opened = open::open(path, accept_restore)?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let readers = Readers::open(&opened.path, cores * READERS_PER_CORE)?;
        let aside = Readers::open(&opened.path, 1)?;
        let clock = Arc::new(Clock::resume(opened.time));
        metrics.set_revision(opened.mark.revision);
        // S9: until then it is only supposed what former lives have granted.
        let settled = (opened.feed.held_lease_ms > opened.feed.longest_lease_ms)
            .then(|| records::lease_over(opened.feed.held_lease_ms));
        let life = opened.feed.history.head().incarnation;
        let feed = Feed::new(opened.feed, metrics.clone());
        let lock = Arc::new(opened.lock);
        let keeper = Box::new(Owned {
            listener: Arc::new(feed.clone()),
            lock: lock.clone(),
            life,
        });
        let unfinished = imports::unfinished(&opened.writer)?;
        let replays = Replays::open(&opened.path, replays)?;
        let are_kept = replays.are_kept();
        let kept = ReplayFile::new(replays, clock.now().limit)?;
        let health = Health::new();
        let (writer, thread) = Writer::start(
            opened.writer,
            clock.clone(),
            metrics.clone(),
            kept.clone(),
            health.clone(),
            (opened.mark.revision, keeper),
        )
        .map_err(|error| OpenError::Unwritable {
            path: opened.path.clone(),
            error,
        })?;
        if let Some(after) = settled {
            tokio::spawn(records::settle(after, writer.clone(), lock.clone()));
        }
        if are_kept {
            tokio::spawn(clear_up(writer.clone()));
        }
        let owner = Owner {
            writer: thread,
            lock: lock.clone(),
        };
        let old_keys = OldKeys::start(writer.clone(), metrics.clone());
        let last_uses = LastUses::start(writer.clone(), metrics.clone());
        let database = Self {
            writer,
            readers,
            aside,
            clock,
            interval,
            path: opened.path,
            imports: Arc::new(Semaphore::new(1)),
            feed,
            lock,
            kept,
            old_keys,
            last_uses,
            health,
        };
        if let (false, Ok(permit)) = (unfinished.is_empty(), database.import_permit()) {
            for import in unfinished {
                tokio::spawn(database.clone().finish(import, permit.clone()));
            }
        }
        Ok((database, owner))
    }

    /// How long a user waits between two rotations.
    pub fn interval(&self) -> RotationInterval {
        self.interval
    }

    /// Who is behind this digest? [`Unknown`]: never issued or imported. The second
    /// value is the seconds until the user may rotate, 0: at once.
    ///
    /// Gateways ask it for their clients only (G12), so it is a use of the key; the
    /// first one of a new key is noted for its rotation, too.
    pub async fn resolve(
        &self,
        digest: Digest,
    ) -> Result<Result<(Resolved, u64), Unknown>, ReadError> {
        let resolved = self.read(Resolve(digest)).await?;
        let is_active = |resolved: &Resolved| resolved.state == ResolvedState::Active;
        if resolved.as_ref().is_ok_and(is_active) {
            self.last_uses.looked_up(digest);
            if self.kept.awaited().comes(&digest) {
                self.note_use(digest);
            }
        }
        Ok(resolved.map(|resolved| {
            let wait = self
                .interval
                .retry_after(resolved.last_rotated, self.clock.now().limit);
            (resolved, wait.unwrap_or(0))
        }))
    }

    /// Whether a revoked key's rotation may be answered again (X5).
    pub fn is_replayable(&self, resolved: &Resolved) -> bool {
        resolved.is_replayable(self.clock.now().limit)
    }

    /// X4: the client has its new key. Off the way of who asked.
    fn note_use(&self, digest: Digest) {
        let (database, now) = (self.clone(), self.clock.now().limit);
        tokio::spawn(async move {
            if let Err(error) = database.run(NoteFirstUse(digest)).await {
                tracing::warn!(%error, "the use of a new key was not noted");
                // By the next one.
                database.kept.awaited().expect(digest, now);
            }
        });
    }

    /// Uses of replaced and revoked keys.
    pub fn old_keys(&self) -> &OldKeys {
        &self.old_keys
    }

    /// Last uses of keys.
    pub fn last_uses(&self) -> &LastUses {
        &self.last_uses
    }

    /// The change feed.
    pub fn feed(&self) -> &Feed {
        &self.feed
    }

    /// Whether the database can be read.
    pub async fn check(&self) -> Result<(), ReadError> {
        let read = |db: &mut Connection| db.query_row("SELECT 1 FROM meta", [], |_| Ok(()));
        self.readers.read(read).await
    }
}

impl Engine for Database {
    async fn run_within<O>(&self, patience: Patience, operation: O) -> Result<O::Out, WriteError>
    where
        O: Operation + Send + 'static,
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
        R: Read + Send + 'static,
        R::Out: Send + 'static,
    {
        let readers = match R::QUEUE {
            Queue::Api => &self.readers,
            Queue::Dashboard => &self.aside,
        };
        let cx = Context {
            now: self.clock.now(),
            interval: self.interval,
        };
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
        if let Err(error) = self.old_keys.flush().await {
            tracing::warn!(%error, "uses of revoked keys were not written down");
        }
        self.last_uses.finish().await;
        self.writer.stop().await;
    }
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
