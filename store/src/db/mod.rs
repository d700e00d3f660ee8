//! The database of the key store: SQLite, one writer, many readers.
//!
//! Knows no HTTP. What a client asks for in vain is a refusal inside `Ok`;
//! `Err` is always the store's own fault.

mod accounts;
mod audit;
mod columns;
pub mod direct;
mod import;
mod keys;
mod lock;
mod open;
mod own_key;
mod passwords;
mod reader;
mod rotate;
mod schema;
mod sessions;
mod users;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rekey_protocol::{Change, Digest, Head, RotateRequest, UserId, lease_margin_ms};
use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::api::{AuditEvent, RevokeResponse, UserEntry};
use crate::clock::{Clock, UnixMillis};
use crate::feed::history::PAGE;
use crate::feed::{Feed, Records};
use crate::metrics::Metrics;
use crate::rotation::RotationInterval;

pub use import::{ImportError, Staging};
pub use keys::{Resolved, Revoke, RevokeRefusal};
pub use open::OpenError;
pub use own_key::{AT_ONCE_PER_DAY, Made, Overview, OwnKey, OwnRefusal, Wish};
pub use passwords::{Account, Change as PasswordChange, PasswordHash, PasswordRefusal};
pub use reader::ReadError;
pub use rotate::Rotated;
pub use sessions::{LogIn, NewSession, OpenSession, SESSION_LONGEST, SessionLimits};
pub use users::{AddRefusal, IssueRefusal, Issued, NewUser};
pub use writer::{WriteError, WriterThread};

use import::MoveError;
use lock::Lock;
use reader::Readers;
use writer::{Kind, OnCommit, Writer};

/// Reading connections: reads are short, so a few per core keep it busy.
const READERS_PER_CORE: usize = 2;

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
    metrics: Arc<Metrics>,
    path: PathBuf,
    imports: Arc<Semaphore>,
    feed: Feed,
    lock: Arc<Lock>,
}

/// The one import that is under way.
pub struct Import {
    /// Its rows.
    pub staging: Staging,
    _permit: OwnedSemaphorePermit,
}

/// What became of an import.
pub enum Imported {
    /// So many rows are in the database; 0 after a dry run.
    Done(u64),
    /// Nothing was imported, for so many lines are bad.
    Refused(Import, u64),
}

/// What must outlive all clones of a [`Database`]: the writing thread, and the
/// ownership of the file (S10).
pub struct Owner {
    /// The thread that writes.
    pub writer: WriterThread,
    lock: Arc<Lock>,
}

impl Owner {
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
        metrics: Arc<Metrics>,
    ) -> Result<(Self, Owner), OpenError> {
        let opened = open::open(path, accept_restore)?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let readers = Readers::open(&opened.path, cores * READERS_PER_CORE)?;
        let aside = Readers::open(&opened.path, 1)?;
        let clock = Arc::new(Clock::not_before(opened.time));
        metrics.set_revision(opened.revision);
        // S9: until then it is only supposed what former lives have granted.
        let settled = (opened.feed.held_lease_ms > opened.feed.longest_lease_ms)
            .then(|| lease_over(opened.feed.held_lease_ms));
        let feed = Feed::new(opened.feed, metrics.clone());
        let told = feed.clone();
        let on_commit: OnCommit =
            Box::new(move |revision, revoked| told.committed(revision, revoked));
        let (writer, thread) = Writer::start(
            opened.writer,
            clock.clone(),
            metrics.clone(),
            (opened.revision, on_commit),
        )
        .map_err(|error| OpenError::Unwritable {
            path: opened.path.clone(),
            error,
        })?;
        let lock = Arc::new(opened.lock);
        if let Some(after) = settled {
            tokio::spawn(settle(after, writer.clone(), lock.clone()));
        }
        let owner = Owner {
            writer: thread,
            lock: lock.clone(),
        };
        let database = Self {
            writer,
            readers,
            aside,
            clock,
            interval,
            metrics,
            path: opened.path,
            imports: Arc::new(Semaphore::new(1)),
            feed,
            lock,
        };
        Ok((database, owner))
    }

    /// Who is behind this digest? `None`: never issued or imported. The second
    /// value is the seconds until the user may rotate, 0: at once.
    pub async fn resolve(&self, digest: Digest) -> Result<Option<(Resolved, u64)>, ReadError> {
        let resolved = self
            .readers
            .read(move |connection| keys::resolve(connection, &digest))
            .await?;
        Ok(resolved.map(|resolved| {
            let wait = self
                .interval
                .retry_after(resolved.last_rotated, self.clock.now());
            (resolved, wait.unwrap_or(0))
        }))
    }

    /// Replaces a key by another one, or says why not.
    pub async fn rotate(&self, request: RotateRequest) -> Result<Rotated, WriteError> {
        let interval = self.interval;
        self.writer
            .change(Kind::Rotation, move |transaction, now| {
                rotate::rotate(transaction, now, interval, &request)
            })
            .await
    }

    /// Adds a user and the first key; returns when.
    pub async fn add_user(
        &self,
        new: NewUser,
    ) -> Result<Result<UnixMillis, AddRefusal>, WriteError> {
        self.writer
            .change(Kind::Admin, move |transaction, now| {
                users::add(transaction, now, &new)
            })
            .await
    }

    /// Gives a user without an active key a new one.
    pub async fn issue(
        &self,
        user: UserId,
        digest: Digest,
        hint: String,
    ) -> Result<Result<Issued, IssueRefusal>, WriteError> {
        self.writer
            .change(Kind::Admin, move |transaction, now| {
                users::issue(transaction, now, &user, &digest, &hint)
            })
            .await
    }

    /// At most `limit` users after the id `after`.
    pub async fn users(&self, after: String, limit: u32) -> Result<Vec<UserEntry>, ReadError> {
        self.readers
            .read(move |connection| users::list(connection, &after, limit))
            .await
    }

    /// Ends a key.
    pub async fn revoke(
        &self,
        which: Revoke,
    ) -> Result<Result<RevokeResponse, RevokeRefusal>, WriteError> {
        self.writer
            .change(Kind::Admin, move |transaction, now| {
                keys::revoke(transaction, now, &which)
            })
            .await
    }

    /// At most `limit` audit events of a user after event `after`; `None`: no
    /// such user.
    pub async fn audit(
        &self,
        user: UserId,
        after: i64,
        limit: u32,
    ) -> Result<Option<Vec<AuditEvent>>, ReadError> {
        self.readers
            .read(move |connection| {
                if !users::exists(connection, &user)? {
                    return Ok(None);
                }
                audit::list(connection, &user, after, limit).map(Some)
            })
            .await
    }

    /// The right to be the one import.
    pub fn import_permit(&self) -> Result<OwnedSemaphorePermit, ImportError> {
        let permit = self.imports.clone().try_acquire_owned();
        permit.map_err(|_| ImportError::Running)
    }

    /// Begins an import without rows. Blocks.
    pub fn begin_import(&self, permit: OwnedSemaphorePermit) -> Result<Import, ImportError> {
        Ok(Import {
            staging: Staging::begin(&self.path)?,
            _permit: permit,
        })
    }

    /// Checks all rows and, unless one is bad or it is a dry run, moves them.
    pub async fn finish_import(
        &self,
        mut import: Import,
        dry_run: bool,
    ) -> Result<Imported, ImportError> {
        // Somebody may get a key between check and move; then it is checked
        // again, and the second check sees that key.
        for _ in 0..3 {
            let checked = tokio::task::spawn_blocking(move || {
                let bad = import.staging.check();
                (import, bad)
            });
            let bad_rows;
            (import, bad_rows) = checked.await.map_err(|_| ImportError::Failed)?;
            match bad_rows? {
                0 if dry_run => return Ok(Imported::Done(0)),
                0 => {}
                bad_rows => return Ok(Imported::Refused(import, bad_rows)),
            }
            let (clock, feed) = (self.clock.clone(), self.feed.clone());
            let metrics = self.metrics.clone();
            // S2: told in the writer's turn. Who asked may have gone by now,
            // and nobody would go on after the wait.
            let moved = self.writer.alone(move || {
                let moved = import.staging.move_all(clock.now());
                if let Ok(revision) = moved {
                    metrics.set_revision(revision);
                    feed.committed(revision, Vec::new());
                }
                (import, moved)
            });
            let moved_rows;
            (import, moved_rows) = moved.await?;
            match moved_rows {
                Ok(_) => {
                    let rows = import.staging.rows();
                    tokio::task::spawn_blocking(move || import.staging.checkpoint());
                    return Ok(Imported::Done(rows));
                }
                Err(MoveError::Changed) => {}
                Err(MoveError::RolledBack(error)) => return Err(error.into()),
                Err(MoveError::Unknown(error)) => {
                    tracing::error!(%error, "the commit of an import failed");
                    return Err(WriteError::Unknown.into());
                }
            }
        }
        Err(ImportError::Failed)
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

    /// Takes no more changes; those under way are still made.
    pub async fn stop(&self) {
        self.writer.stop().await;
    }
}

impl Records for Database {
    type Error = RecordsError;

    async fn changes_after(&self, revision: u64) -> Result<(Vec<Change>, Head), RecordsError> {
        let read = self.readers.read(move |connection| {
            let snapshot = connection.transaction()?;
            let head = keys::head(&snapshot)?;
            Ok((keys::revoked_after(&snapshot, revision, PAGE + 1)?, head))
        });
        Ok(read.await?)
    }

    async fn record_lease(&self, lease_ms: u32) -> Result<(), RecordsError> {
        let change = self.writer.change(Kind::Admin, move |transaction, _| {
            record_lease(transaction, lease_ms)
        });
        change.await?;
        // In the writer's turn, so that it is over before the lock is given up.
        let lock = self.lock.clone();
        let noted = self.writer.alone(move || lock.grant(lease_ms)).await?;
        Ok(noted.map_err(|error| {
            tracing::error!(%error, "the lock file could not be written");
            WriteError::Unknown
        })?)
    }
}

/// How long a lease that was granted before a start may be trusted after it.
fn lease_over(lease_ms: u32) -> Duration {
    Duration::from_millis(u64::from(lease_ms) + u64::from(lease_margin_ms(lease_ms)))
}

/// Takes what was supposed off the record, so that the next start need not wait
/// for it too.
async fn settle(after: Duration, writer: Writer, lock: Arc<Lock>) {
    tokio::time::sleep(after).await;
    if let Ok(Err(error)) = writer.alone(move || lock.settle()).await {
        tracing::error!(%error, "the lock file could not be written");
    }
}

/// Why the feed's records could not be read or written. The store's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordsError {
    /// Not read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Not written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

fn record_lease(transaction: &Connection, lease_ms: u32) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("UPDATE meta SET longest_lease_ms = max(longest_lease_ms, ?1)")?
        .execute([lease_ms])
        .map(drop)
}

/// Counts one change: every change has a revision of its own. Notes the time
/// that it acted upon, which is never forgotten (S12).
fn next_revision(transaction: &Connection, now: UnixMillis) -> rusqlite::Result<u64> {
    transaction
        .prepare_cached(
            "UPDATE meta SET revision = revision + 1, time_ms = max(time_ms, ?1)
             RETURNING revision",
        )?
        .query_row([now.0], |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ImportRow;
    use rekey_protocol::{FeedRequest, GatewayId, LEASE_LEAST_MS};

    #[tokio::test(flavor = "multi_thread")]
    async fn s2_the_feed_learns_of_an_import_whose_client_has_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rekey.db");
        let metrics = Arc::new(Metrics::new());
        let (database, _owner) =
            Database::open(&path, RotationInterval::HOUR, false, metrics).unwrap();
        let mut import = database
            .begin_import(database.import_permit().unwrap())
            .unwrap();
        let row = ImportRow {
            line: 1,
            user: "u_1".into(),
            digest: "ab".repeat(32).into(),
            email: None,
            hint: None,
        };
        import.staging.add(&row).unwrap();
        let first = poll(&database).await;
        // The writer is busy until the client has gone.
        let (begun, began) = tokio::sync::oneshot::channel();
        let (gone, until_gone) = std::sync::mpsc::channel::<()>();
        let writer = database.writer.clone();
        let busy = tokio::spawn(async move {
            let work = move || (begun.send(()).is_ok(), until_gone.recv().is_err());
            writer.alone(work).await
        });
        began.await.unwrap();
        let importing = database.clone();
        let client =
            tokio::spawn(async move { importing.finish_import(import, false).await.is_ok() });
        while database.writer.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        client.abort();
        assert!(client.await.unwrap_err().is_cancelled());
        drop(gone);
        assert_eq!(busy.await.unwrap(), Ok((true, true)));
        // Behind the import in the writer's queue.
        database.writer.alone(|| ()).await.unwrap();
        let (_, on_disk) = database.changes_after(0).await.unwrap();
        assert_eq!(on_disk.revision, first.revision + 1, "it is imported");
        assert_eq!(poll(&database).await, on_disk, "and told");
    }

    /// Where the feed lets a new gateway begin.
    async fn poll(database: &Database) -> Head {
        let request = FeedRequest {
            gateway: GatewayId([7; 16]),
            cursor: None,
            lease_ms: LEASE_LEAST_MS,
            poll: 1,
            refused: vec![],
        };
        let answer = database.feed().poll(&request, database).await;
        answer.unwrap().cursor
    }
}
