//! The rows of an import before they go into the database: staged in a temporary
//! table on a connection of their own, which only reads the database, and checked
//! there by joins, so that every bad row can be named.

use std::path::Path;
use std::time::Instant;

use rekey_protocol::{Digest, UserId};
use rusqlite::{Connection, OpenFlags};

use crate::api::{BadRow, ImportRow};
use crate::email::{Email, InvalidEmail};
use crate::engine::rows::ImportedRow;
use crate::engine::sqlite::columns;
use crate::engine::sqlite::open::connect;
use crate::engine::{ReadError, WriteError};

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
CREATE INDEX temp.rows_by_user ON rows (user_id);
CREATE TEMP TABLE bad (line INTEGER NOT NULL, reason TEXT NOT NULL) STRICT;
";

/// Names every bad row among the staged ones, by what counts in the database.
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
     FROM rows r JOIN main.live_keys k ON k.digest = r.digest",
    "INSERT INTO bad SELECT line, 'a user with this id was removed; ids are not used again'
     FROM rows r JOIN main.users u ON u.user_id = r.user_id WHERE u.removed > 0",
    "INSERT INTO bad SELECT line, 'the user has an active key already'
     FROM rows r JOIN main.live_keys k ON k.user_id = r.user_id AND k.state = 'active'
     WHERE k.digest <> r.digest",
    "INSERT INTO bad SELECT line, 'another user has this e-mail address'
     FROM rows r JOIN main.live_users u ON u.email_normal = r.email_normal AND u.user_id <> r.user_id
     WHERE NOT EXISTS (
        SELECT 1 FROM main.live_users same WHERE same.user_id = r.user_id AND same.email = r.email)",
    "INSERT INTO bad SELECT line, 'the user exists, with another e-mail address or none; leave the column empty'
     FROM rows r JOIN main.live_users u ON u.user_id = r.user_id
     WHERE r.email IS NOT NULL AND r.email_normal IS NOT u.email_normal",
];

/// What an import leaves of the disk, in MiB: rotations go on, and an import that is
/// given up can be removed, which needs room, too.
pub const RESERVE_MIB: u64 = 64;

/// Why there was no import. The store's fault; only after [`WriteError::Unknown`]
/// may it have happened.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// One at a time.
    #[error(
        "another import is under way, or the rows of one that was given up are being removed; nothing was imported, try again later"
    )]
    Running,
    /// The rows could not be staged or checked.
    #[error("the store could not stage the rows; nothing was imported; its log says why")]
    Failed,
    /// A row could not be put in, and then all could.
    #[error("users or keys were changed at the same time; nothing was imported, try again")]
    Changed,
    /// It would take the room that rotations and its own removal need.
    #[error(
        "the import needs some {needed_mib} MiB on the store's disk, of which {RESERVE_MIB} MiB have to stay free, and {free_mib} MiB are free; nothing was imported; make room and try again"
    )]
    NoRoom {
        /// For the rows that are not in yet, and what has to stay free.
        needed_mib: u64,
        /// What there is.
        free_mib: u64,
    },
    /// It was the writer's turn.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The database could not be read; nothing was imported.
    #[error(transparent)]
    Read(#[from] ReadError),
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

impl Staging {
    /// An empty one.
    pub fn begin(path: &Path) -> Result<Self, ImportError> {
        let access = OpenFlags::SQLITE_OPEN_READ_ONLY;
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
        if self.connection.is_autocommit() {
            self.connection.execute_batch("BEGIN DEFERRED")?;
        }
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

    /// At most `limit` good rows after this user, in the order of the users.
    pub fn rows_after(
        &self,
        user: Option<&UserId>,
        limit: usize,
    ) -> rusqlite::Result<Vec<ImportedRow>> {
        let user = user.map_or("", UserId::as_str);
        self.connection
            .prepare_cached(
                "SELECT user_id, digest, email, email_normal, hint FROM rows WHERE user_id > ?1
                 ORDER BY user_id LIMIT ?2",
            )?
            .query_map((user, limit), |row| {
                Ok(ImportedRow {
                    user: columns::user(row, 0)?,
                    digest: columns::digest(row, 1)?,
                    email: row.get(2)?,
                    email_normal: row.get(3)?,
                    hint: row.get(4)?,
                })
            })?
            .collect()
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
