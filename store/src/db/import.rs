//! The import: rows are staged in a temporary table on a connection of its
//! own, which holds no lock on the database, checked there by joins, and then
//! moved by one transaction. All of them or none.
//!
//! While that transaction runs no other change is made (rotations wait), for
//! SQLite has one writer; reads go on. A million rows into an empty database
//! took 13 s on two cores, after 7 s of checks beside everything else.

use std::path::Path;
use std::time::Instant;

use rekey_protocol::{Digest, UserId};
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use super::WriteError;
use super::open::connect;
use crate::api::{BadRow, ImportRow};
use crate::clock::UnixMillis;
use crate::email::{Email, InvalidEmail};

/// The longest hint, in characters: enough to tell keys apart, too little to
/// help guessing one.
const HINT_MAX: usize = 8;

const TABLES: &str = "
-- Not in memory: a million rows are some 150 MB. The file has no name, so
-- nothing is left of it after a crash.
PRAGMA temp_store = FILE;
-- In KiB; given back after the import.
PRAGMA main.cache_size = -131072;
PRAGMA temp.cache_size = -32768;
-- Every key's user is among the users that are moved first.
PRAGMA foreign_keys = OFF;
CREATE TEMP TABLE rows (
    n INTEGER PRIMARY KEY,
    line INTEGER NOT NULL,
    user_id TEXT NOT NULL,
    digest BLOB NOT NULL,
    email TEXT COLLATE NOCASE,
    -- In the form in which addresses are compared.
    email_normal TEXT,
    hint TEXT
) STRICT;
CREATE TEMP TABLE bad (line INTEGER NOT NULL, reason TEXT NOT NULL) STRICT;
-- After the import's own commit, so that the checkpoint holds up nobody.
PRAGMA wal_autocheckpoint = 0;
";

/// Names every bad row among the staged ones.
const CHECKS: &[&str] = &[
    "INSERT INTO bad SELECT line, 'the same key as in line ' || first FROM
        (SELECT line, row_number() OVER same AS nth, first_value(line) OVER same AS first
         FROM rows WINDOW same AS (PARTITION BY digest ORDER BY n))
     WHERE nth > 1",
    "INSERT INTO bad SELECT line, 'the same user as in line ' || first
            || ', and a user has one active key' FROM
        (SELECT line, row_number() OVER same AS nth, first_value(line) OVER same AS first
         FROM rows WINDOW same AS (PARTITION BY user_id ORDER BY n))
     WHERE nth > 1",
    "INSERT INTO bad SELECT line, 'the same e-mail address as in line ' || first FROM
        (SELECT line, row_number() OVER same AS nth, first_value(line) OVER same AS first
         FROM rows WHERE email IS NOT NULL WINDOW same AS (PARTITION BY email_normal ORDER BY n))
     WHERE nth > 1",
    "INSERT INTO bad SELECT line, 'the store knows this key already (' || state || ')'
     FROM rows r JOIN main.keys k ON k.digest = r.digest",
    "INSERT INTO bad SELECT line, 'a user with this id was removed; ids are not used again'
     FROM rows r JOIN main.users u ON u.user_id = r.user_id WHERE u.removed > 0",
    "INSERT INTO bad SELECT line, 'the user has an active key already'
     FROM rows r JOIN main.keys k ON k.user_id = r.user_id AND k.state = 'active'
     WHERE k.digest <> r.digest",
    "INSERT INTO bad SELECT line, 'another user has this e-mail address'
     FROM rows r JOIN main.users u ON u.email_normal = r.email_normal AND u.user_id <> r.user_id
     WHERE NOT EXISTS (
        SELECT 1 FROM main.users same WHERE same.user_id = r.user_id AND same.email = r.email)",
    "INSERT INTO bad SELECT line, 'the user exists, with another e-mail address or none; leave the column empty'
     FROM rows r JOIN main.users u ON u.user_id = r.user_id
     WHERE r.email IS NOT NULL AND r.email_normal IS NOT u.email_normal",
];

/// Moves the staged rows. `?1`: now; `?2`: the revision before. In the order
/// of each table's own index, so that pages are written once.
const MOVES: &[&str] = &[
    "INSERT INTO main.users (user_id, email, email_normal, created_ms)
     SELECT user_id, email, email_normal, ?1 FROM rows WHERE ?2 >= 0 ORDER BY user_id
     ON CONFLICT (user_id) DO NOTHING",
    "INSERT INTO main.keys (digest, user_id, state, hint, created_ms, revision)
     SELECT digest, user_id, 'active', hint, ?1, ?2 + n FROM rows ORDER BY digest",
    "INSERT INTO main.audit (at_ms, user_id, action, revision, new_digest, hint, source)
     SELECT ?1, user_id, 'imported', ?2 + n, digest, hint, 'admin' FROM rows ORDER BY user_id",
];

/// Why there was no import. The store's fault; only after [`WriteError::Unknown`]
/// may it have happened.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// One at a time.
    #[error("another import is under way; nothing was imported, try again later")]
    Running,
    /// The rows could not be staged or checked.
    #[error("the store could not stage the rows; nothing was imported; its log says why")]
    Failed,
    /// It was the writer's turn.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl From<rusqlite::Error> for ImportError {
    fn from(error: rusqlite::Error) -> Self {
        tracing::error!(
            %error,
            "an import failed (it needs room for temporary files, in SQLITE_TMPDIR if that is set)"
        );
        Self::Failed
    }
}

/// Rows on their way into the database.
pub struct Staging {
    connection: Connection,
    rows: u64,
}

/// Why a staged row cannot be moved after all.
#[derive(Debug)]
pub enum MoveError {
    /// The database has changed since the check: check again.
    Changed,
    /// SQLite's fault; nothing was imported.
    RolledBack(rusqlite::Error),
    /// The commit failed: whether it is on disk is not known.
    Unknown(rusqlite::Error),
}

impl From<rusqlite::Error> for MoveError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::ConstraintViolation) => Self::Changed,
            _ => Self::RolledBack(error),
        }
    }
}

impl Staging {
    /// An empty one.
    pub fn begin(path: &Path) -> Result<Self, ImportError> {
        let access = OpenFlags::SQLITE_OPEN_READ_WRITE;
        let connection = connect(path, access).map_err(|error| {
            tracing::error!(%error, "no connection for an import");
            ImportError::Failed
        })?;
        connection.execute_batch(TABLES)?;
        // Of the temporary database only: a deferred transaction locks what
        // it touches.
        connection.execute_batch("BEGIN DEFERRED")?;
        Ok(Self {
            connection,
            rows: 0,
        })
    }

    /// How many rows there are, good and bad.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Takes a row; what is wrong with the row alone is noted.
    pub fn add(&mut self, row: &ImportRow<'_>) -> rusqlite::Result<()> {
        match checked(row) {
            Err(reason) => self.add_bad(row.line, &reason),
            Ok(Checked {
                digest,
                email_normal,
            }) => {
                self.rows += 1;
                self.connection
                    .prepare_cached(
                        "INSERT INTO rows (line, user_id, digest, email, email_normal, hint)
                         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                    )?
                    .execute((
                        row.line,
                        row.user.as_ref(),
                        digest.as_bytes(),
                        row.email.as_deref(),
                        email_normal,
                        row.hint.as_deref(),
                    ))
                    .map(drop)
            }
        }
    }

    /// Notes a row that cannot be read at all.
    pub fn add_bad(&mut self, line: u64, reason: &str) -> rusqlite::Result<()> {
        self.rows += 1;
        self.connection
            .prepare_cached("INSERT INTO bad VALUES (?1, ?2)")?
            .execute((line, reason))
            .map(drop)
    }

    /// Compares the rows with each other and with the database; returns how
    /// many lines are bad.
    pub fn check(&mut self) -> rusqlite::Result<u64> {
        let started = Instant::now();
        for check in CHECKS {
            self.connection.execute(check, [])?;
        }
        tracing::debug!(rows = self.rows, took = ?started.elapsed(), "rows checked");
        if !self.connection.is_autocommit() {
            self.connection.execute_batch("COMMIT")?;
        }
        let count = "SELECT count(DISTINCT line) FROM bad";
        self.connection.query_row(count, [], |row| row.get(0))
    }

    /// Moves all rows in one transaction; returns its last revision. Only while
    /// nobody else writes.
    pub fn move_all(&mut self, now: UnixMillis) -> Result<u64, MoveError> {
        let started = Instant::now();
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let before: u64 = transaction.query_row(
            "UPDATE main.meta SET revision = revision + ?1, time_ms = max(time_ms, ?2)
             RETURNING revision - ?1",
            (self.rows, now.0),
            |row| row.get(0),
        )?;
        for step in MOVES {
            transaction.execute(step, (now.0, before))?;
        }
        transaction.commit().map_err(MoveError::Unknown)?;
        tracing::debug!(rows = self.rows, took = ?started.elapsed(), "rows moved");
        Ok(before + self.rows)
    }

    /// Folds the write-ahead log into the database; holds up nobody.
    pub fn checkpoint(&self) {
        let fold = "PRAGMA wal_checkpoint(PASSIVE)";
        if let Err(error) = self.connection.query_row(fold, [], |_| Ok(())) {
            tracing::warn!(%error, "the import's log was not folded into the database yet");
        }
    }

    /// Every bad row, in the order of the lines, one reason each; ends early
    /// where `take` says `false`.
    pub fn bad_rows(&self, mut take: impl FnMut(BadRow) -> bool) -> rusqlite::Result<()> {
        let mut select = self
            .connection
            .prepare("SELECT line, min(reason) FROM bad GROUP BY line ORDER BY line")?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let (line, reason) = (row.get(0)?, row.get(1)?);
            if !take(BadRow { line, reason }) {
                break;
            }
        }
        Ok(())
    }
}

/// What a row that is good by itself says.
struct Checked {
    digest: Digest,
    email_normal: Option<String>,
}

/// What is wrong with a row by itself. Names no value: it might be a key in
/// the wrong column.
fn checked(row: &ImportRow<'_>) -> Result<Checked, String> {
    row.user
        .parse::<UserId>()
        .map_err(|error| error.to_string())?;
    let digest = Digest::from_hex(&row.digest);
    let digest = digest.ok_or("a digest is 64 hexadecimal digits")?;
    let email: Option<Email> = row
        .email
        .as_deref()
        .map(str::parse)
        .transpose()
        .map_err(|error: InvalidEmail| error.to_string())?;
    if let Some(hint) = &row.hint {
        let visible = hint.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !visible || !(1..=HINT_MAX).contains(&hint.len()) {
            return Err("a hint is 1 to 8 letters or digits".to_owned());
        }
    }
    Ok(Checked {
        digest,
        email_normal: email.map(|email| email.normal()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::open::open;

    fn row(user: &str, digest: u8) -> ImportRow<'_> {
        ImportRow {
            line: 2,
            user: user.into(),
            digest: hex::encode([digest; 32]).into(),
            email: None,
            hint: None,
        }
    }

    #[test]
    fn who_gets_a_key_between_check_and_move_is_found_by_the_next_check() {
        let folder = tempfile::tempdir().unwrap();
        let opened = open(&folder.path().join("rekey.db"), false).unwrap();
        let mut staging = Staging::begin(&opened.path).unwrap();
        staging.add(&row("ann", 1)).unwrap();
        assert_eq!(staging.check().unwrap(), 0);
        let mut rival = Staging::begin(&opened.path).unwrap();
        rival.add(&row("ann", 2)).unwrap();
        assert_eq!(rival.check().unwrap(), 0);
        let now = UnixMillis::wall();
        rival.move_all(now).unwrap();
        let moved = staging.move_all(now);
        assert!(matches!(moved, Err(MoveError::Changed)), "{moved:?}");
        assert_eq!(staging.check().unwrap(), 1);
        let keys = "SELECT count(*) FROM keys";
        let count: i64 = opened.writer.query_row(keys, [], |row| row.get(0)).unwrap();
        assert_eq!(count, 1);
    }
}
