//! Ties the write-ahead log to the database file that it continues (S8).
//!
//! SQLite lays a log over whatever file has the right name. If a backup is
//! copied over the database and the log is left, the newest pages of a few tables
//! are laid over the old pages of all others. The result is sound, and wrong.
//!
//! So a number in the file, the *anchor*, is changed right before each
//! checkpoint, in the writer's turn. A file with the same anchor differs from the
//! one that the log began with only by pages that the log holds. The lock file
//! says which values the file may have. They are compared at the start, before
//! SQLite reads the log. A second copy of the number, in `meta`, is in the log
//! with nearly every change; so a mixture is mostly found without a lock file, too.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::clock::UnixMillis;
use crate::crash;
use crate::engine::anchor::Steps;
use crate::engine::record::{Anchor, Past, Record};
use crate::engine::sqlite::OpenError;
use crate::engine::sqlite::files::beside;
use crate::engine::sqlite::lock::Lock;

/// The anchor of a file of an older version.
const NONE: u64 = 0;

/// What becomes of the log's file at a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fold {
    /// It is used again, and nobody waits.
    Reuse,
    /// It is emptied, if nobody reads.
    Empty,
}

/// Why the log was not folded into the database.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FoldError {
    /// SQLite's word.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// The lock file's.
    #[error("the lock file could not be written: {0}")]
    Lock(#[from] std::io::Error),
}

/// Refuses a log that continues another file than the one that is there. Changes
/// nothing.
pub(crate) fn check(database: &Path, past: Past) -> Result<(), OpenError> {
    let log = beside(database, "-wal");
    if std::fs::metadata(&log).map_or(0, |found| found.len()) == 0 {
        return Ok(());
    }
    if let Past::Known(record) = past
        && !fits(database, &record)?
    {
        return Err(leftover(database));
    }
    let both = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    // What is only looked at is not written into the file.
    both.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    is_one(&both, database)
}

/// Whether the lock file knows the file, by its anchor: as the one that was served
/// last, or as one that was only looked at since.
fn fits(database: &Path, record: &Record) -> Result<bool, OpenError> {
    // A record of an older version.
    if record.anchors().next().is_none() {
        return Ok(true);
    }
    match in_file(database) {
        Ok(value) => Ok(record.fits(value)),
        // A checkpoint that was cut off: pages are missing that the log has. The file
        // of a backup can be read.
        Err(_) if record.anchors().any(|anchor| anchor.is_under_way()) => Ok(true),
        Err(error) => Err(error),
    }
}

fn leftover(database: &Path) -> OpenError {
    OpenError::LeftoverLog {
        database: database.to_owned(),
        index: beside(database, "-shm"),
        log: beside(database, "-wal"),
    }
}

/// The anchor in the file itself, without its log; [`NONE`] in a file of a version
/// that had none.
fn in_file(database: &Path) -> Result<u64, OpenError> {
    // https://www.sqlite.org/uri.html: an immutable file is read without a lock
    // and without a log.
    let mut uri = String::from("file:");
    for byte in database.as_os_str().as_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' => uri.push(char::from(*byte)),
            byte if byte.is_ascii_alphanumeric() => uri.push(char::from(*byte)),
            byte => uri.push_str(&format!("%{byte:02x}")),
        }
    }
    uri.push_str("?immutable=1");
    let access = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    let file = Connection::open_with_flags(uri, access)?;
    match has_anchor(&file)? {
        true => Ok(anchor_of(&file)?),
        false => Ok(NONE),
    }
}

/// Puts a file on record that has no anchor yet, before the steps of the schema
/// write into its log.
pub(crate) fn expect_none(connection: &Connection, lock: &Lock) -> Result<(), FoldError> {
    if !has_anchor(connection)? {
        lock.set_anchor(Anchor {
            low: NONE,
            high: NONE,
        })?;
    }
    Ok(())
}

fn has_anchor(connection: &Connection) -> rusqlite::Result<bool> {
    let table = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'anchor'";
    connection.prepare(table)?.exists([])
}

/// Refuses file and log together that are not of one history, by the second copy of
/// the anchor: it is never ahead of the first one.
pub(crate) fn is_one(both: &Connection, database: &Path) -> Result<(), OpenError> {
    let in_order = "SELECT meta.anchor <= anchor.value FROM meta, anchor";
    match !has_anchor(both)? || both.query_row(in_order, [], |row| row.get(0))? {
        true => Ok(()),
        false => Err(leftover(database)),
    }
}

/// Changes the anchor and writes the log into the database file. Only in the
/// writer's turn: a commit between the two would be in the file, and a backup from
/// before it would bear the same anchor. A reader may be in the way of a part of the
/// log: then the file may have either value.
pub(crate) fn fold(connection: &Connection, lock: &Lock, how: Fold) -> Result<(), FoldError> {
    // The file changes now, by our own hand.
    let folded = lock.while_folding(|| fold_now(connection, lock, how));
    folded?
}

fn fold_now(connection: &Connection, lock: &Lock, how: Fold) -> Result<(), FoldError> {
    let steps = Steps::new(lock.anchor(), anchor_of(connection)?, UnixMillis::wall());
    lock.set_anchor(steps.under_way)?;
    connection
        .prepare_cached("UPDATE anchor SET value = ?1")?
        .execute([steps.next])?;
    crash::point("fold.anchored");
    let checkpoint = match how {
        Fold::Reuse => "PRAGMA wal_checkpoint(PASSIVE)",
        Fold::Empty => "PRAGMA wal_checkpoint(TRUNCATE)",
    };
    let is_whole = connection.query_row(checkpoint, [], |row| {
        let (is_busy, log, done): (bool, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        // Nothing is known of the log where another program is at it.
        Ok(log == done && !(is_busy && log < 0))
    })?;
    if is_whole {
        lock.set_anchor(steps.done)?;
    }
    Ok(())
}

/// The anchor in a database.
pub(crate) fn anchor_of(connection: &Connection) -> rusqlite::Result<u64> {
    connection
        .prepare_cached("SELECT value FROM anchor")?
        .query_row([], |row| row.get(0))
}

/// How many pages the log holds, those that are in the file already included.
pub(crate) fn pages_in_log(connection: &Connection) -> rusqlite::Result<u64> {
    let count = "PRAGMA wal_checkpoint(NOOP)";
    let pages: i64 = connection
        .prepare_cached(count)?
        .query_row([], |row| row.get(1))?;
    Ok(u64::try_from(pages).unwrap_or_default())
}
