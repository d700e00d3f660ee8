//! A transaction of SQLite as operations see it: each word is one or two statements.
//! It is begun and ended by whoever makes it.

mod changing;
mod looking;
#[cfg(test)]
pub(super) mod testing;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;

use super::replays::{Awaited, Replays};
use crate::clock::UnixMillis;
use crate::engine::Impossible;

/// What is kept for replays, in its own file, and the new keys whose first use is
/// still to come. Cheap to clone.
#[derive(Clone)]
pub(super) struct ReplayFile {
    records: Arc<Mutex<Replays>>,
    awaited: Arc<Awaited>,
}

impl ReplayFile {
    /// With these new keys, which were made before this moment.
    pub(super) fn new(replays: Replays, now: UnixMillis) -> rusqlite::Result<Self> {
        let awaited = Awaited::default();
        for digest in replays.awaited()? {
            awaited.expect(digest, now);
        }
        Ok(Self {
            records: Arc::new(Mutex::new(replays)),
            awaited: Arc::new(awaited),
        })
    }

    /// What is written there. Held for as long as the guard lives.
    pub(super) fn records(&self) -> MutexGuard<'_, Replays> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The new keys whose first use is still to come.
    pub(super) fn awaited(&self) -> &Awaited {
        &self.awaited
    }
}

/// A transaction that has begun.
///
/// What is kept for replays is written to its own file at once, and is on disk before
/// the transaction is (X6).
pub(super) struct SqliteTx<'a> {
    connection: &'a Connection,
    /// None: it only looks.
    kept: Option<&'a ReplayFile>,
}

impl<'a> SqliteTx<'a> {
    /// For an operation.
    pub(super) fn new(connection: &'a Connection, kept: &'a ReplayFile) -> Self {
        Self {
            connection,
            kept: Some(kept),
        }
    }

    /// For a read.
    pub(super) fn reading(connection: &'a Connection) -> Self {
        Self {
            connection,
            kept: None,
        }
    }

    /// Notes something about a record.
    fn note(
        &self,
        note: impl FnOnce(&mut Replays) -> rusqlite::Result<()>,
    ) -> rusqlite::Result<()> {
        self.kept.map_or(Ok(()), |kept| note(&mut kept.records()))
    }
}

impl From<Impossible> for rusqlite::Error {
    fn from(impossible: Impossible) -> Self {
        Self::ToSqlConversionFailure(Box::new(impossible))
    }
}
