//! What an error of SQLite says about a transaction: that nothing was changed, or that
//! nobody knows.
//!
//! In WAL mode all of a transaction's pages are written at COMMIT, one after the other
//! behind the end of the log, each with a checksum over all before it. The last one bears
//! the mark of the commit. Then the log is put on disk, and only then is the end of the
//! log moved, for readers and for the next transaction. So:
//!
//! - A *write* that fails (`SQLITE_FULL` for a full disk, `SQLITE_IOERR_WRITE` for a used-up
//!   quota) comes before the marked page is whole. What was written of the transaction is
//!   no part of the log: readers do not look there, the next transaction writes over it,
//!   and after a crash SQLite reads up to the last mark whose checksum is right. It is
//!   certain that nothing was changed. (Pages behind the mark, which fill up a sector,
//!   exist only on systems that destroy a sector when the power fails; SQLite takes no
//!   Unix for such a one.)
//! - Where `fsync` fails (`SQLITE_IOERR_FSYNC`, on file systems that look for room as late as
//!   that), all pages are written, the mark too, and may reach the disk or not. SQLite
//!   takes the transaction back in this process, but a crash now would let it be found.
//!   The same holds for an index of the log that cannot grow (`SQLITE_IOERR_SHMSIZE`),
//!   which comes after the mark. Nobody knows.
//! - Before COMMIT nothing is in the log that counts, whatever fails.
//!
//! A checkpoint after the commit may fail, too. SQLite does not report that as the commit's
//! error, and it loses nothing.

use rusqlite::ffi::{SQLITE_FULL, SQLITE_IOERR_SHMSIZE, SQLITE_IOERR_WRITE};

use crate::engine::WriteError;

fn code(error: &rusqlite::Error) -> Option<i32> {
    error.sqlite_error().map(|error| error.extended_code)
}

/// Of a transaction that failed before its COMMIT.
pub(crate) fn before_commit(error: &rusqlite::Error) -> WriteError {
    match code(error) {
        Some(SQLITE_FULL) => WriteError::Full,
        _ => WriteError::RolledBack,
    }
}

/// Of a transaction whose COMMIT failed.
pub(crate) fn at_commit(error: &rusqlite::Error) -> WriteError {
    match code(error) {
        Some(SQLITE_FULL) => WriteError::Full,
        Some(SQLITE_IOERR_WRITE) => WriteError::RolledBack,
        _ => WriteError::Unknown,
    }
}

/// Whether it may be said of a database that could not be opened that its disk is full.
pub(crate) fn is_full(error: &rusqlite::Error) -> bool {
    matches!(code(error), Some(SQLITE_FULL | SQLITE_IOERR_SHMSIZE))
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi::{self, SQLITE_BUSY, SQLITE_IOERR_FSYNC};

    use super::*;

    #[test]
    fn only_what_is_certain_is_said_to_have_changed_nothing() {
        let fates = |code| {
            let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
            (before_commit(&error), at_commit(&error))
        };
        let (full, undone) = (WriteError::Full, WriteError::RolledBack);
        assert_eq!(fates(SQLITE_FULL), (full, full));
        assert_eq!(fates(SQLITE_IOERR_WRITE), (undone, undone));
        for unknown in [SQLITE_IOERR_FSYNC, SQLITE_IOERR_SHMSIZE, SQLITE_BUSY] {
            assert_eq!(fates(unknown), (undone, WriteError::Unknown), "{unknown}");
        }
    }
}
