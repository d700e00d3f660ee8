//! Whether a change could be made now, and how much room there is: for those who ask
//! whether the store is ready, and for the metrics.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::files::{beside, folder_of};
use super::writer::Writer;
use crate::clock::StoreTime;
use crate::engine::WriteError;
use crate::engine::serve::NotReady;
use crate::metrics::DiskUse;
use crate::operations::Kind;

/// For how long a commit says that there could be another. An idle store that is asked
/// every two seconds writes some 230 MB a day for it; with 3 s it was five times as much.
const GOOD_FOR: Duration = Duration::from_secs(15);
/// For how long a failure says that the next would fail, too.
const BAD_FOR: Duration = Duration::from_secs(1);
/// How long a change may take before the store counts as stuck. Container runtimes and
/// load balancers wait some two seconds for the answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// What is written to find out: about what a rotation writes, in ten pages.
const PROBE_BYTES: u32 = 40 * 1024;

/// What became of the last commit. Cheap to clone.
#[derive(Clone)]
pub(super) struct Health {
    last: Arc<Mutex<Option<Last>>>,
    /// One try at a time, also where it is stuck.
    probing: Arc<Semaphore>,
}

#[derive(Clone, Copy)]
struct Last {
    at: Instant,
    fate: Result<(), WriteError>,
}

impl Health {
    /// Nothing has been committed yet.
    pub(super) fn new() -> Self {
        Self {
            last: Arc::default(),
            probing: Arc::new(Semaphore::new(1)),
        }
    }

    /// A transaction ended.
    pub(super) fn ended(&self, fate: Result<(), WriteError>) {
        let at = Instant::now();
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Last { at, fate });
    }

    /// What is known without a try.
    fn recent(&self) -> Option<Result<(), WriteError>> {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let last = last?;
        let good_for = match last.fate {
            Ok(()) => GOOD_FOR,
            Err(_) => BAD_FOR,
        };
        (last.at.elapsed() < good_for).then_some(last.fate)
    }

    /// Whether a change can be made: by the last one, or by one that is made for it.
    pub(super) async fn of_changes(&self, writer: &Writer) -> Result<(), NotReady> {
        if let Some(fate) = self.recent() {
            return Ok(fate?);
        }
        let turn = self.probing.clone().acquire_owned();
        let Ok(Ok(turn)) = tokio::time::timeout(PATIENCE, turn).await else {
            return Err(NotReady::Stuck);
        };
        // Somebody else has found out meanwhile.
        if let Some(fate) = self.recent() {
            return Ok(fate?);
        }
        let writer = writer.clone();
        // It goes on where nobody waits any more, and nobody begins another.
        let probe = tokio::spawn(async move {
            let fate = writer.change(Kind::Admin, probe).await;
            drop(turn);
            fate
        });
        match tokio::time::timeout(PATIENCE, probe).await {
            Ok(Ok(fate)) => Ok(fate?),
            Ok(Err(_)) => Err(WriteError::Unknown.into()),
            Err(_) => Err(NotReady::Stuck),
        }
    }
}

/// A change that changes nothing that counts. Random, because SQLite does not write
/// a page that is as it was.
fn probe(transaction: &Connection, now: StoreTime) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("INSERT OR REPLACE INTO probe VALUES (1, randomblob(?1))")?
        .execute([PROBE_BYTES])?;
    // So a start knows how long the store was away, also where nobody changed anything.
    transaction
        .prepare_cached("UPDATE meta SET time_ms = max(time_ms, ?1), wall_ms = ?2")?
        .execute((now.limit.0, now.told.0))
        .map(drop)
}

/// Looks at the files of a database.
pub(super) fn disk_use(database: &Path) -> DiskUse {
    let size = |path: &Path| std::fs::metadata(path).map_or(0, |found| found.len());
    DiskUse {
        database: size(database),
        log: size(&beside(database, "-wal")),
        free: free_bytes(database),
    }
}

/// What this user may still write where the database is.
pub(super) fn free_bytes(database: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(folder_of(database)).ok()?;
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}
