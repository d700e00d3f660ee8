//! How often keys are used after they were replaced or revoked.

use rekey_protocol::{Digest, UserId};
use rusqlite::{Connection, OptionalExtension};

use crate::api::OldKeyUse;
use crate::clock::UnixMillis;
use crate::engine::rows::OldKeyUsed;
use crate::engine::sqlite::columns;

/// Adds uses to a revoked key; `None`: there is no such key.
pub(crate) fn add(
    transaction: &Connection,
    digest: &Digest,
    uses: u64,
    at: UnixMillis,
) -> rusqlite::Result<Option<OldKeyUsed>> {
    transaction
        .prepare_cached(
            "INSERT INTO old_key_uses (digest, user_id, replaced, uses, first_ms, last_ms)
             SELECT digest, user_id, EXISTS (
                    SELECT 1 FROM audit a WHERE a.user_id = k.user_id
                    AND a.old_digest = k.digest AND a.action = 'rotated'), ?2, ?3, ?3
             FROM keys k WHERE digest = ?1 AND state = 'revoked'
             ON CONFLICT (digest) DO UPDATE
             SET uses = uses + excluded.uses, last_ms = excluded.last_ms
             RETURNING user_id, uses, told_ms, (
                 SELECT hint FROM keys k WHERE k.digest = old_key_uses.digest)",
        )?
        .query_row((digest.as_bytes(), uses, at.0), |row| {
            let told: Option<i64> = row.get(2)?;
            Ok(OldKeyUsed {
                user: columns::user(row, 0)?,
                uses: row.get(1)?,
                told: told.map(UnixMillis),
                hint: row.get(3)?,
            })
        })
        .optional()
}

/// The audit log is told of the uses of this key.
pub(crate) fn note_told(
    transaction: &Connection,
    digest: &Digest,
    at: UnixMillis,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("UPDATE old_key_uses SET told_ms = ?2 WHERE digest = ?1")?
        .execute((digest.as_bytes(), at.0))
        .map(drop)
}

/// When the audit log was last told of an old key of the user.
pub(crate) fn last_told(
    connection: &Connection,
    user: &UserId,
) -> rusqlite::Result<Option<UnixMillis>> {
    let last: Option<i64> = connection
        .prepare_cached("SELECT max(told_ms) FROM old_key_uses WHERE user_id = ?1")?
        .query_row([user.as_str()], |row| row.get(0))?;
    Ok(last.map(UnixMillis))
}

/// At most `limit` old keys of a user that were used, the last used first.
pub(crate) fn of_user(
    connection: &Connection,
    user: &UserId,
    limit: u32,
) -> rusqlite::Result<Vec<OldKeyUse>> {
    connection
        .prepare_cached(
            "SELECT k.hint, o.replaced, o.uses, o.first_ms, o.last_ms
             FROM old_key_uses o JOIN keys k USING (digest)
             WHERE o.user_id = ?1 ORDER BY o.last_ms DESC, o.digest LIMIT ?2",
        )?
        .query_map((user.as_str(), limit), |row| {
            let time = |index| row.get(index).map(|at| UnixMillis(at).rfc3339());
            Ok(OldKeyUse {
                hint: row.get(0)?,
                replaced: row.get(1)?,
                uses: row.get(2)?,
                first_at: time(3)?,
                last_at: time(4)?,
            })
        })?
        .collect()
}

#[cfg(test)]
mod tests;
