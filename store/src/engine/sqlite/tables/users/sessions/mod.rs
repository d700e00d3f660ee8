//! Who is logged in to the dashboard. The store keeps the digest of a session's
//! token; the token itself is in the browser alone.

use rekey_protocol::{Digest, UserId};
use rusqlite::{Connection, OptionalExtension};

use crate::clock::{StoreTime, UnixMillis};
use crate::engine::rows::KnownSession;
use crate::engine::sqlite::columns;
use crate::operations::users::sessions::SESSION_LONGEST;

/// A session, over or not.
pub(crate) fn find(
    connection: &Connection,
    digest: &Digest,
) -> rusqlite::Result<Option<KnownSession>> {
    connection
        .prepare_cached(
            "SELECT s.user_id, coalesce(u.email, ''), s.created_ms, s.seen_ms
             FROM sessions s JOIN users u USING (user_id) WHERE s.digest = ?1",
        )?
        .query_row([digest.as_bytes()], |row| {
            Ok(KnownSession {
                user: columns::user(row, 0)?,
                email: row.get(1)?,
                created: UnixMillis(row.get(2)?),
                seen: UnixMillis(row.get(3)?),
            })
        })
        .optional()
}

/// Whether a session is there, over or not.
pub(crate) fn exists(connection: &Connection, digest: &Digest) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT 1 FROM sessions WHERE digest = ?1")?
        .exists([digest.as_bytes()])
}

/// Adds a session.
pub(crate) fn insert(
    transaction: &Connection,
    digest: &Digest,
    user: &UserId,
    at: UnixMillis,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "INSERT INTO sessions (digest, user_id, created_ms, seen_ms) VALUES (?1, ?2, ?3, ?3)",
        )?
        .execute((digest.as_bytes(), user.as_str(), at.0))
        .map(drop)
}

/// Notes that a session is in use.
pub(crate) fn touch(
    transaction: &Connection,
    digest: &Digest,
    at: UnixMillis,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("UPDATE sessions SET seen_ms = ?2 WHERE digest = ?1")?
        .execute((digest.as_bytes(), at.0))
        .map(drop)
}

/// Ends a session; whether there was one.
pub(crate) fn delete(transaction: &Connection, digest: &Digest) -> rusqlite::Result<bool> {
    let deleted = transaction
        .prepare_cached("DELETE FROM sessions WHERE digest = ?1")?
        .execute([digest.as_bytes()])?;
    Ok(deleted > 0)
}

/// Ends all sessions of a user.
pub(crate) fn delete_all(transaction: &Connection, user: &UserId) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("DELETE FROM sessions WHERE user_id = ?1")?
        .execute([user.as_str()])
        .map(drop)
}

/// Ends the sessions of a user that began later than this.
pub(crate) fn delete_after(
    transaction: &Connection,
    user: &UserId,
    after: UnixMillis,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("DELETE FROM sessions WHERE user_id = ?1 AND created_ms > ?2")?
        .execute((user.as_str(), after.0))
        .map(drop)
}

/// Ends all sessions of a user but the newest.
pub(crate) fn keep_newest(
    transaction: &Connection,
    user: &UserId,
    most: u32,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "DELETE FROM sessions WHERE digest IN (SELECT digest FROM sessions
             WHERE user_id = ?1 ORDER BY created_ms DESC LIMIT -1 OFFSET ?2)",
        )?
        .execute((user.as_str(), most))
        .map(drop)
}

/// Ends all sessions of all users.
pub(crate) fn delete_everybodys(transaction: &Connection) -> rusqlite::Result<()> {
    transaction.execute("DELETE FROM sessions", []).map(drop)
}

/// Deletes at most `limit` sessions that are over by any limits; how many.
pub(crate) fn prune(
    transaction: &Connection,
    now: StoreTime,
    limit: usize,
) -> rusqlite::Result<usize> {
    transaction
        .prepare_cached(
            "DELETE FROM sessions WHERE digest IN (SELECT digest FROM sessions
             WHERE created_ms <= ?1 LIMIT ?2)",
        )?
        .execute((now.limit.minus(SESSION_LONGEST).0, limit))
}

#[cfg(test)]
mod tests;
