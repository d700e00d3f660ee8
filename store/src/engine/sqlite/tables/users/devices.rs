//! The browsers in which users have logged in before.

use rekey_protocol::{Digest, UserId};
use rusqlite::Connection;

use crate::clock::UnixMillis;

/// Whether the user has logged in in this browser.
pub(crate) fn is_known(
    connection: &Connection,
    digest: &Digest,
    user: &UserId,
) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT 1 FROM devices WHERE digest = ?1 AND user_id = ?2")?
        .exists((digest.as_bytes(), user.as_str()))
}

/// Adds a browser.
pub(crate) fn insert(
    transaction: &Connection,
    digest: &Digest,
    user: &UserId,
    at: UnixMillis,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("INSERT INTO devices (digest, user_id, seen_ms) VALUES (?1, ?2, ?3)")?
        .execute((digest.as_bytes(), user.as_str(), at.0))
        .map(drop)
}

/// Forgets a browser, if it is this user's.
pub(crate) fn delete(
    transaction: &Connection,
    digest: &Digest,
    user: &UserId,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("DELETE FROM devices WHERE digest = ?1 AND user_id = ?2")?
        .execute((digest.as_bytes(), user.as_str()))
        .map(drop)
}

/// Forgets all browsers of a user.
pub(crate) fn delete_all(transaction: &Connection, user: &UserId) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("DELETE FROM devices WHERE user_id = ?1")?
        .execute([user.as_str()])
        .map(drop)
}

/// Forgets the browsers of a user that were last seen later than this.
pub(crate) fn delete_after(
    transaction: &Connection,
    user: &UserId,
    after: UnixMillis,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("DELETE FROM devices WHERE user_id = ?1 AND seen_ms > ?2")?
        .execute((user.as_str(), after.0))
        .map(drop)
}

/// Forgets all browsers of a user but those that were seen last.
pub(crate) fn keep_newest(
    transaction: &Connection,
    user: &UserId,
    most: u32,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "DELETE FROM devices WHERE digest IN (SELECT digest FROM devices
             WHERE user_id = ?1 ORDER BY seen_ms DESC LIMIT -1 OFFSET ?2)",
        )?
        .execute((user.as_str(), most))
        .map(drop)
}

/// Forgets all browsers of all users.
pub(crate) fn delete_everybodys(transaction: &Connection) -> rusqlite::Result<()> {
    transaction.execute("DELETE FROM devices", []).map(drop)
}
