//! What stands around every transaction of the server: whether anything may be
//! changed (S8, S10), who is told of it (S2), and what is put on record
//! beside the database (S8).

use std::sync::Arc;

use rekey_protocol::Incarnation;
use rusqlite::Connection;

use crate::engine::record::Mark;
use crate::engine::sqlite::anchor::{self, Fold, FoldError};
use crate::engine::sqlite::lock::Lock;
use crate::engine::{Listener, WriteError};
use crate::feed::Committed;

/// What stands around every transaction: what allows it, and is told of it.
pub(crate) trait Keeper: Send {
    /// Whether anything may be changed now. Asked before a transaction begins.
    fn allows(&self) -> Result<(), WriteError>;
    /// Whether the database is still this process's (S10). Asked within the
    /// transaction, right before its commit.
    fn owns(&self, transaction: &Connection) -> rusqlite::Result<Result<(), WriteError>>;
    /// A transaction is on disk (S2).
    fn committed(&self, committed: Committed);
    /// Puts on record, durably, how far the database is (S8). Called before anyone
    /// is answered.
    fn mark(&self, mark: Mark) -> std::io::Result<()>;
    /// The log has become long, or the writer ends.
    fn fold(&self, connection: &Connection, how: Fold) -> Result<(), FoldError>;
}

/// The keeper of the database that this process owns.
pub(crate) struct Owned {
    /// Learns of every commit.
    pub listener: Arc<dyn Listener>,
    /// Says whether the database is still ours.
    pub lock: Arc<Lock>,
    /// The present incarnation.
    pub incarnation: Incarnation,
}

impl Keeper for Owned {
    fn allows(&self) -> Result<(), WriteError> {
        // S8: a change of an older database is gone when the right one is back.
        if self.listener.is_restored() {
            return Err(WriteError::NotServed);
        }
        self.lock.check().map_err(|_| WriteError::NotOwner)
    }

    fn owns(&self, transaction: &Connection) -> rusqlite::Result<Result<(), WriteError>> {
        // S10: the lock file may have been removed just now. Another owner begins
        // an incarnation in the database before it serves, and this read is of the same
        // snapshot as the commit.
        let incarnation = crate::engine::sqlite::history::head(transaction)?.incarnation;
        if incarnation != self.incarnation {
            self.lock.lose(self.lock.path());
            return Ok(Err(WriteError::NotOwner));
        }
        Ok(self.lock.check().map_err(|_| WriteError::NotOwner))
    }

    fn committed(&self, committed: Committed) {
        self.listener.committed(committed);
    }

    fn mark(&self, mark: Mark) -> std::io::Result<()> {
        self.lock.set_mark(mark)
    }

    fn fold(&self, connection: &Connection, how: Fold) -> Result<(), FoldError> {
        anchor::fold(connection, &self.lock, how)
    }
}

/// Counts a transaction that changes something; returns how far the database is when
/// it is committed (S8).
pub(crate) fn count_commit(transaction: &Connection) -> rusqlite::Result<Mark> {
    let count = "UPDATE meta SET commits = commits + 1, anchor = (SELECT value FROM anchor)
                 RETURNING revision, commits";
    mark_by(transaction, count)
}

/// How far the database is.
pub(crate) fn mark(connection: &Connection) -> rusqlite::Result<Mark> {
    mark_by(connection, "SELECT revision, commits FROM meta")
}

fn mark_by(connection: &Connection, statement: &str) -> rusqlite::Result<Mark> {
    connection.prepare_cached(statement)?.query_row([], |row| {
        let (revision, commits) = (row.get(0)?, row.get(1)?);
        Ok(Mark { commits, revision })
    })
}
