//! What is kept for replays (X4, X6): one record for each rotation that
//! bore an `Idempotency-Key`, in a file of its own beside the database, which no
//! backup of the database holds, each wrapped by a key that is only in memory.
//!
//! SQLite does not commit over two files at once. So a record is on disk before
//! its rotation is ([`Replays::flush`] before the commit), and counts only together
//! with it: one without is an orphan that nobody finds.
//!
//! The file is optional, and so nobody waits for it: while another program holds a
//! lock on it, rotations are made without their records.

mod awaited;
mod note;
mod wrap;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rekey_protocol::{
    Digest, REPLAY_WINDOW_MS, Replay, ReplayProof, Revocation, RotationId, SealedKey,
};
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension};

pub(super) use self::awaited::Awaited;
use self::awaited::MOST_AWAITED;
use self::note::{Note, Notes};
use self::wrap::{Wrapped, Wraps};
use crate::clock::UnixMillis;
use crate::engine::rows::ReplayRecord;
use crate::engine::serve::ReplayPlace;
use crate::engine::sqlite::columns;
use crate::engine::sqlite::files;
use crate::engine::sqlite::open::connect;

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS records (
    rotation_id BLOB PRIMARY KEY CHECK (length(rotation_id) = 16),
    new_digest BLOB NOT NULL UNIQUE CHECK (length(new_digest) = 32),
    made_ms INTEGER NOT NULL,
    -- When a client first used the new key.
    used_ms INTEGER,
    failures INTEGER NOT NULL DEFAULT 0,
    handed_out INTEGER NOT NULL DEFAULT 0,
    wrapping_key BLOB NOT NULL CHECK (length(wrapping_key) = 8),
    nonce BLOB NOT NULL CHECK (length(nonce) = 24),
    wrapped BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS records_by_time ON records (made_ms);
";

/// The records. Belongs to the thread that writes.
pub(super) struct Replays {
    /// None: there are no replays.
    connection: Option<Connection>,
    wraps: Wraps,
    /// Whether something was written that is not on disk yet.
    pending: bool,
    /// Whether another program kept us from writing when we tried last.
    is_locked: bool,
    notes: Notes,
}

/// A record that was found.
pub(super) struct Found {
    /// When a client first used the new key.
    pub used: Option<UnixMillis>,
    /// Openings that failed.
    pub failures: u32,
    /// How often it was handed out.
    pub handed_out: u32,
    new_digest: Digest,
    wrapped: Wrapped,
}

impl Replays {
    /// Those beside a database. A file that cannot be used is made anew: it holds
    /// nothing that has to live.
    pub(super) fn open(
        database: &Path,
        place: &ReplayPlace,
    ) -> Result<Self, crate::engine::sqlite::OpenError> {
        let path = Self::beside(database);
        let ReplayPlace::Beside { memory } = place else {
            // Of an earlier run, which kept some.
            Self::remove(&path);
            return Ok(Self::off());
        };
        let opened = Self::file(&path).or_else(|error| {
            tracing::warn!(%error, path = %path.display(), "what was kept for replays cannot be read and is given up");
            Self::remove(&path);
            Self::file(&path)
        })?;
        Ok(Self {
            connection: Some(opened),
            wraps: Wraps::open(memory, &path),
            ..Self::off()
        })
    }

    /// In memory altogether, for tests.
    #[cfg(test)]
    pub(crate) fn in_memory() -> Result<Self, crate::engine::sqlite::OpenError> {
        let connection = Connection::open_in_memory()?;
        connection.execute_batch(SCHEMA)?;
        Ok(Self {
            connection: Some(connection),
            ..Self::off()
        })
    }

    fn off() -> Self {
        Self {
            connection: None,
            wraps: Wraps::in_process(),
            pending: false,
            is_locked: false,
            notes: Notes::default(),
        }
    }

    /// Nothing more will be written or read.
    pub(super) fn close(&mut self) {
        *self = Self::off();
    }

    /// Removes those of a history that was lost. What is left of them counts for
    /// nothing without their rotations.
    pub(super) fn give_up(database: &Path) {
        Self::remove(&Self::beside(database));
    }

    fn beside(database: &Path) -> PathBuf {
        files::beside(database, ".replays")
    }

    fn remove(path: &Path) {
        for suffix in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(files::beside(path, suffix));
        }
    }

    fn file(path: &Path) -> Result<Connection, crate::engine::sqlite::OpenError> {
        crate::engine::sqlite::open::create_private(path)?;
        let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        connection.pragma_update(None, "secure_delete", true)?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.execute_batch(SCHEMA)?;
        let sound: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if sound != "ok" {
            let damaged = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
            return Err(rusqlite::Error::SqliteFailure(damaged, Some(sound)).into());
        }
        // From now on all changes of the store would wait for it.
        connection.busy_timeout(Duration::ZERO)?;
        Ok(connection)
    }

    /// Whether there are any.
    pub(super) fn are_kept(&self) -> bool {
        self.connection.is_some()
    }

    /// Keeps the record of a rotation that is about to be committed. Returns
    /// whether it is kept.
    pub(super) fn keep(
        &mut self,
        now: UnixMillis,
        id: RotationId,
        new_digest: &Digest,
        replay: &Replay,
    ) -> rusqlite::Result<bool> {
        let content = [replay.proof.0.as_slice(), &replay.sealed.0].concat();
        let wrapped = match self.are_kept() {
            true => self.wraps.wrap(now, &id.0, &content),
            false => None,
        };
        let (Some(wrapped), Some(records)) = (wrapped, self.writing()?) else {
            return Ok(false);
        };
        records
            .prepare_cached(
                "INSERT OR REPLACE INTO records
                 (rotation_id, new_digest, made_ms, wrapping_key, nonce, wrapped)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute((
                id.0,
                new_digest.as_bytes(),
                now.0,
                wrapped.key,
                wrapped.nonce,
                wrapped.bytes,
            ))?;
        Ok(true)
    }

    /// The record of a committed rotation.
    pub(super) fn find(&self, id: RotationId) -> rusqlite::Result<Option<Found>> {
        let Some(records) = &self.connection else {
            return Ok(None);
        };
        let found = records
            .prepare_cached(
                "SELECT used_ms, failures, handed_out, wrapping_key, nonce, wrapped, new_digest
                 FROM records WHERE rotation_id = ?1",
            )?
            .query_row([id.0], |row| {
                Ok(Found {
                    used: row.get::<_, Option<i64>>(0)?.map(UnixMillis),
                    failures: row.get(1)?,
                    handed_out: row.get(2)?,
                    new_digest: columns::digest(row, 6)?,
                    wrapped: Wrapped {
                        key: row.get(3)?,
                        nonce: row.get(4)?,
                        bytes: row.get(5)?,
                    },
                })
            })
            .optional()?;
        Ok(found.and_then(|found| self.notes.applied(id, found)))
    }

    /// The same with what is in it; none where its wrapping key has gone, which makes
    /// it as good as gone itself.
    pub(super) fn record(&self, id: RotationId) -> rusqlite::Result<Option<ReplayRecord>> {
        let found = self.find(id)?;
        Ok(found.and_then(|found| self.opened(id, &found)))
    }

    fn opened(&self, id: RotationId, found: &Found) -> Option<ReplayRecord> {
        let bytes = self.wraps.unwrap(&id.0, &found.wrapped)?;
        let (proof, sealed) = bytes.split_first_chunk::<32>()?;
        Some(ReplayRecord {
            used: found.used,
            failures: found.failures,
            handed_out: found.handed_out,
            proof: ReplayProof(*proof),
            sealed: SealedKey(sealed.try_into().ok()?),
        })
    }

    /// An opening failed (X4).
    pub(super) fn failed(&mut self, id: RotationId) -> rusqlite::Result<()> {
        self.note(Note::Failed(id))
    }

    /// The last opening failed that may: it is of no use any more (X4).
    pub(super) fn destroy(&mut self, id: RotationId) -> rusqlite::Result<()> {
        self.note(Note::Destroyed(id))
    }

    /// It was handed out.
    pub(super) fn handed_out(&mut self, id: RotationId) -> rusqlite::Result<()> {
        self.note(Note::HandedOut(id))
    }

    /// A client has used this new key (X4).
    pub(super) fn used(&mut self, new_digest: &Digest, now: UnixMillis) -> rusqlite::Result<()> {
        self.note(Note::Used(*new_digest, now))
    }

    /// These keys were revoked: what is kept of their making is of no use (X4).
    pub(super) fn forget(&mut self, revoked: &[Revocation]) -> rusqlite::Result<()> {
        for change in revoked {
            self.note(Note::Revoked(change.digest))?;
        }
        Ok(())
    }

    fn note(&mut self, note: Note) -> rusqlite::Result<()> {
        if let Some(records) = self.writing()? {
            return note.write(records);
        }
        if self.are_kept() {
            self.notes.push(note);
        }
        Ok(())
    }

    /// Puts on disk what was written.
    pub(super) fn flush(&mut self) -> rusqlite::Result<()> {
        if !self.notes.is_empty() {
            self.writing()?;
        }
        if std::mem::take(&mut self.pending)
            && let Some(records) = &self.connection
        {
            records.execute_batch("COMMIT")?;
        }
        Ok(())
    }

    /// Deletes what nobody can ask for any more, from the log of writes as well.
    pub(super) fn prune(&mut self, now: UnixMillis) -> rusqlite::Result<()> {
        self.wraps.prune(now);
        let window = Duration::from_millis(REPLAY_WINDOW_MS.into());
        let until = now
            .0
            .saturating_sub(i64::try_from(window.as_millis()).unwrap_or_default());
        let Some(records) = &self.connection else {
            return Ok(());
        };
        let dead: u64 = records
            .prepare_cached("SELECT count(*) FROM records WHERE made_ms <= ?1")?
            .query_row([until], |row| row.get(0))?;
        if dead > 0
            && let Some(records) = self.writing()?
        {
            let delete = "DELETE FROM records WHERE made_ms <= ?1";
            records.prepare_cached(delete)?.execute([until])?;
        }
        self.flush()?;
        if let Some(records) = &self.connection {
            // Somebody who reads keeps it from being cut short: by the next time.
            records.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        }
        Ok(())
    }

    /// The new keys whose first use is still to come.
    pub(super) fn awaited(&self) -> rusqlite::Result<Vec<Digest>> {
        let Some(records) = &self.connection else {
            return Ok(Vec::new());
        };
        let mut select =
            records.prepare("SELECT new_digest FROM records WHERE used_ms IS NULL LIMIT ?1")?;
        let digests = select.query_map([MOST_AWAITED], |row| columns::digest(row, 0))?;
        digests.collect()
    }

    /// Begins a transaction, if none is under way. None: there are no replays, or
    /// another program writes just now, which is not waited for.
    fn writing(&mut self) -> rusqlite::Result<Option<&Connection>> {
        let Some(records) = &self.connection else {
            return Ok(None);
        };
        if !self.pending {
            match records.execute_batch("BEGIN IMMEDIATE") {
                Ok(()) => self.pending = true,
                Err(error) if is_busy(&error) => {
                    // Once, and not for every change.
                    if !std::mem::replace(&mut self.is_locked, true) {
                        tracing::warn!(
                            "another program holds a lock on the file of replays: until it is gone, rotations are made whose answers cannot be repeated"
                        );
                    }
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
            for note in self.notes.take() {
                note.write(records)?;
            }
            if std::mem::take(&mut self.is_locked) {
                tracing::info!("the lock on the file of replays is gone");
            }
        }
        Ok(Some(records))
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    matches!(
        code,
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    )
}

#[cfg(test)]
mod tests;
