//! The rows of an import before they go into the database: staged in a temporary
//! table on a connection of their own, which only reads the database, and checked
//! there by joins, so that every bad row can be named.

use std::path::Path;
use std::time::Instant;

use rekey_protocol::UserId;
use rusqlite::{Connection, OpenFlags};

use crate::api::BadRow;
use crate::engine::import::{ImportError, Staging};
use crate::engine::rows::ImportedRow;
use crate::engine::sqlite::columns;
use crate::engine::sqlite::open::connect;

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
pub struct StagingTable {
    connection: Connection,
    rows: u64,
}

impl StagingTable {
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
}

impl Staging for StagingTable {
    fn rows(&self) -> u64 {
        self.rows
    }

    fn add(&mut self, line: u64, row: &ImportedRow) -> Result<(), ImportError> {
        self.rows += 1;
        let inserted = self
            .connection
            .prepare_cached(
                "INSERT INTO rows (line, user_id, digest, email, email_normal, hint)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute((
                line,
                row.user.as_str(),
                row.digest.as_bytes(),
                &row.email,
                &row.email_normal,
                &row.hint,
            ));
        Ok(inserted.map(drop)?)
    }

    fn add_bad(&mut self, line: u64, reason: &str) -> Result<(), ImportError> {
        self.rows += 1;
        let inserted = self
            .connection
            .prepare_cached("INSERT INTO bad VALUES (?1, ?2)")?
            .execute((line, reason));
        Ok(inserted.map(drop)?)
    }

    fn check(&mut self) -> Result<u64, ImportError> {
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
        Ok(self.connection.query_row(count, [], |row| row.get(0))?)
    }

    fn rows_after(
        &self,
        user: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<ImportedRow>, ImportError> {
        let user = user.map_or("", UserId::as_str);
        let rows = self
            .connection
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
            .collect::<rusqlite::Result<_>>();
        Ok(rows?)
    }

    fn bad_rows(&self, mut take: impl FnMut(BadRow) -> bool) -> Result<(), ImportError> {
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
