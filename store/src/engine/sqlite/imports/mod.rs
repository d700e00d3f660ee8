//! What an import does to the tables, as short changes in the writer's turn: its
//! rows go in without counting, one change makes all of them count, and then the
//! audit log is told of each. One that is given up before that is taken out again.
//!
//! That its rows do not count is held by the views `live_users` and `live_keys`.

pub(super) mod staging;

use std::time::{Duration, Instant};

use rekey_protocol::{Digest, UserId};
use rusqlite::{Connection, OptionalExtension};

use crate::accounts::email::Email;
use crate::clock::UnixMillis;
use crate::engine::rows::{ImportId, ImportedRow, Loaded, Stage};
use crate::engine::sqlite::columns;

/// How long one change of an import works on its rows. All that waits meanwhile
/// goes before the next one.
const WORKS_FOR: Duration = Duration::from_millis(20);

/// Begins an import without rows.
pub(super) fn begin(transaction: &Connection, at: UnixMillis) -> rusqlite::Result<ImportId> {
    transaction
        .prepare_cached("INSERT INTO imports (begun_ms) VALUES (?1)")?
        .execute([at.0])?;
    Ok(ImportId(transaction.last_insert_rowid()))
}

/// Puts in as many of the rows as there is time for. The last ones may be left
/// in where one conflicts: the whole import is given up then.
pub(super) fn load(
    transaction: &Connection,
    id: ImportId,
    rows: &[ImportedRow],
    at: UnixMillis,
) -> rusqlite::Result<Loaded> {
    let began = Instant::now();
    for (number, row) in rows.iter().enumerate() {
        if number > 0 && began.elapsed() >= WORKS_FOR {
            return Ok(Loaded::Rows(number));
        }
        let is_new = transaction
            .prepare_cached(
                "INSERT OR IGNORE INTO users (user_id, email, email_normal, created_ms, import)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute((row.user.as_str(), &row.email, &row.email_normal, at.0, id.0))?
            > 0;
        let is_known = is_new
            || transaction
                .prepare_cached(
                    "SELECT 1 FROM live_users
                     WHERE user_id = ?1 AND (?2 IS NULL OR email_normal IS ?2)",
                )?
                .exists((row.user.as_str(), &row.email_normal))?;
        // The schema refuses a second key of a user and a second user of a key.
        let is_in = is_known
            && transaction
                .prepare_cached(
                    "INSERT OR IGNORE INTO keys
                     (digest, user_id, state, hint, created_ms, revision, import)
                     VALUES (?1, ?2, 'active', ?3, ?4, 0, ?5)",
                )?
                .execute((
                    row.digest.as_bytes(),
                    row.user.as_str(),
                    &row.hint,
                    at.0,
                    id.0,
                ))?
                > 0;
        if !is_in {
            return Ok(Loaded::Conflict);
        }
    }
    Ok(Loaded::Rows(rows.len()))
}

/// From now on all rows of the import count.
pub(super) fn count(
    transaction: &Connection,
    id: ImportId,
    revision: u64,
    at: UnixMillis,
) -> rusqlite::Result<()> {
    let changed = transaction
        .prepare_cached(
            "UPDATE imports SET revision = ?2, counts_since_ms = ?3
             WHERE id = ?1 AND revision IS NULL",
        )?
        .execute((id.0, revision, at.0))?;
    match changed {
        1 => Ok(()),
        other => Err(rusqlite::Error::StatementChangedRows(other)),
    }
}

/// The revision of the last import that counts; 0: there is none.
pub(super) fn latest(connection: &Connection) -> rusqlite::Result<u64> {
    connection
        .prepare_cached("SELECT ifnull(max(revision), 0) FROM imports")?
        .query_row([], |row| row.get(0))
}

/// How far it has come.
pub(super) fn stage(connection: &Connection, id: ImportId) -> rusqlite::Result<Stage> {
    let found = connection
        .prepare_cached("SELECT revision FROM imports WHERE id = ?1 AND is_told = 0")?
        .query_row([id.0], |row| row.get::<_, Option<u64>>(0))
        .optional()?;
    Ok(match found {
        None => Stage::Over,
        Some(None) => Stage::Staged,
        Some(Some(revision)) => Stage::Counts(revision),
    })
}

/// Those that an earlier incarnation of the store has left unfinished.
pub(super) fn unfinished(connection: &Connection) -> rusqlite::Result<Vec<ImportId>> {
    let mut select = connection.prepare("SELECT id FROM imports WHERE is_told = 0")?;
    select
        .query_map([], |row| row.get(0).map(ImportId))?
        .collect()
}

/// At most `limit` keys of an import after this one, in their order. For a
/// reader: it may have to pass over many others.
pub(super) fn keys_after(
    connection: &Connection,
    id: ImportId,
    after: Option<&Digest>,
    limit: usize,
) -> rusqlite::Result<Vec<Digest>> {
    let after = after.map_or(&[][..], |digest| digest.as_bytes());
    connection
        .prepare_cached(
            "SELECT digest FROM keys WHERE digest > ?1 AND import = ?2
             ORDER BY digest LIMIT ?3",
        )?
        .query_map((after, id.0, limit), |row| columns::digest(row, 0))?
        .collect()
}

/// At most `limit` users of an import after this one, in their order. As
/// [`keys_after`].
pub(super) fn users_after(
    connection: &Connection,
    id: ImportId,
    after: Option<&UserId>,
    limit: usize,
) -> rusqlite::Result<Vec<UserId>> {
    let after = after.map_or("", UserId::as_str);
    connection
        .prepare_cached(
            "SELECT user_id FROM users WHERE user_id > ?1 AND import = ?2
             ORDER BY user_id LIMIT ?3",
        )?
        .query_map((after, id.0, limit), |row| columns::user(row, 0))?
        .collect()
}

/// Does `one` for as many of the items as there is time for; how many.
fn in_time<T>(
    items: &[T],
    mut one: impl FnMut(&T) -> rusqlite::Result<()>,
) -> rusqlite::Result<usize> {
    let began = Instant::now();
    for (number, item) in items.iter().enumerate() {
        if number > 0 && began.elapsed() >= WORKS_FOR {
            return Ok(number);
        }
        one(item)?;
    }
    Ok(items.len())
}

/// Takes out keys of an import that does not count; how many, from the first on.
pub(super) fn remove_keys(
    transaction: &Connection,
    id: ImportId,
    keys: &[Digest],
) -> rusqlite::Result<usize> {
    in_time(keys, |digest| {
        transaction
            .prepare_cached(
                "DELETE FROM keys WHERE digest = ?1 AND import = ?2
                 AND NOT EXISTS (SELECT 1 FROM imports WHERE id = ?2 AND revision IS NOT NULL)",
            )?
            .execute((digest.as_bytes(), id.0))
            .map(drop)
    })
}

/// Takes out users of an import that does not count, whose keys are out already;
/// how many, from the first on.
pub(super) fn remove_users(
    transaction: &Connection,
    id: ImportId,
    users: &[UserId],
) -> rusqlite::Result<usize> {
    in_time(users, |user| {
        transaction
            .prepare_cached(
                "DELETE FROM users WHERE user_id = ?1 AND import = ?2
                 AND NOT EXISTS (SELECT 1 FROM imports WHERE id = ?2 AND revision IS NOT NULL)",
            )?
            .execute((user.as_str(), id.0))
            .map(drop)
    })
}

/// Nothing is left of an import that does not count.
pub(super) fn forget(transaction: &Connection, id: ImportId) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("DELETE FROM imports WHERE id = ?1 AND revision IS NULL")?
        .execute([id.0])
        .map(drop)
}

/// Tells the audit log of keys whose import counts, unless it has been told; of
/// how many, from the first on.
pub(super) fn tell(transaction: &Connection, keys: &[Digest]) -> rusqlite::Result<usize> {
    in_time(keys, |digest| tell_of(transaction, digest))
}

/// Tells the audit log of the import of this key, unless it has been told or no
/// import brought the key. Whatever else happens to the key is told after it.
pub(super) fn tell_of(transaction: &Connection, digest: &Digest) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "INSERT INTO audit (at_ms, user_id, action, revision, new_digest, hint, source)
             SELECT i.counts_since_ms, k.user_id, 'imported', i.revision, k.digest, k.hint, 'admin'
             FROM keys k JOIN imports i ON i.id = k.import
             WHERE k.digest = ?1 AND i.revision IS NOT NULL AND i.is_told = 0
             AND NOT EXISTS (SELECT 1 FROM audit a WHERE a.user_id = k.user_id
                             AND a.new_digest = k.digest AND a.action = 'imported')",
        )?
        .execute([digest.as_bytes()])
        .map(drop)
}

/// The audit log has been told of all keys of the import.
pub(super) fn told(transaction: &Connection, id: ImportId) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("UPDATE imports SET is_told = 1 WHERE id = ?1 AND revision IS NOT NULL")?
        .execute([id.0])
        .map(drop)
}

/// Whether an import that does not count holds this user id or address, or a key
/// for this user.
pub(super) fn reserves(
    connection: &Connection,
    user: &str,
    email: Option<&Email>,
) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM users WHERE user_id = ?1
                            AND user_id NOT IN (SELECT user_id FROM live_users WHERE user_id = ?1))
                 OR EXISTS (SELECT 1 FROM users u WHERE (u.email = ?2 OR u.email_normal = ?3)
                            AND NOT EXISTS (SELECT 1 FROM live_users l WHERE l.user_id = u.user_id))
                 OR EXISTS (SELECT 1 FROM keys k WHERE k.user_id = ?1 AND k.state = 'active'
                            AND NOT EXISTS (SELECT 1 FROM live_keys l WHERE l.digest = k.digest))",
        )?
        .query_row(
            (user, email.map(Email::as_str), email.map(Email::normal)),
            |row| row.get(0),
        )
}

#[cfg(test)]
mod tests;
