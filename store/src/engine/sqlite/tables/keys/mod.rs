//! The keys: finding, adding and revoking them.

pub(in crate::engine::sqlite) mod last_uses;
pub(in crate::engine::sqlite) mod old_keys;
pub(in crate::engine::sqlite) mod rotations;

use rekey_protocol::{Digest, Head, Incarnation, UserId};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row};

use super::columns;
use crate::api::KeyShown;
use crate::clock::UnixMillis;
use crate::engine::rows::{CurrentKey, Key, KeyAtHead, NewKey};

/// A key that counts.
pub(crate) fn find(connection: &Connection, digest: &Digest) -> rusqlite::Result<Option<Key>> {
    connection
        .prepare_cached(
            "SELECT k.state, k.user_id, k.revision, u.last_rotated_ms, k.replay_until_ms
             FROM live_keys k JOIN users u USING (user_id) WHERE k.digest = ?1",
        )?
        .query_row([digest.as_bytes()], read)
        .optional()
}

/// A key that counts, and the head, by one statement.
pub(crate) fn find_with_head(
    connection: &Connection,
    digest: &Digest,
) -> rusqlite::Result<KeyAtHead> {
    connection
        .prepare_cached(
            "SELECT k.state, k.user_id, k.revision, u.last_rotated_ms, k.replay_until_ms,
                    m.revision, (SELECT id FROM incarnations ORDER BY first_revision DESC LIMIT 1)
             FROM meta m LEFT JOIN live_keys k ON k.digest = ?1
                         LEFT JOIN users u ON u.user_id = k.user_id",
        )?
        .query_row([digest.as_bytes()], |row| {
            let head = Head {
                revision: row.get(5)?,
                incarnation: Incarnation(row.get(6)?),
            };
            let is_known = row.get_ref(0)? != ValueRef::Null;
            let key = is_known.then(|| read(row)).transpose()?;
            Ok(KeyAtHead { key, head })
        })
}

fn read(row: &Row<'_>) -> rusqlite::Result<Key> {
    Ok(Key {
        state: columns::state(row, 0)?,
        user: columns::user(row, 1)?,
        revision: row.get(2)?,
        last_rotated: row.get::<_, Option<i64>>(3)?.map(UnixMillis),
        replay_until: row.get::<_, Option<i64>>(4)?.map(UnixMillis),
    })
}

/// The user's active key.
pub(crate) fn active(
    connection: &Connection,
    user: &UserId,
) -> rusqlite::Result<Option<CurrentKey>> {
    connection
        .prepare_cached(
            "SELECT digest, revision, hint, created_ms FROM live_keys
             WHERE user_id = ?1 AND state = 'active'",
        )?
        .query_row([user.as_str()], |row| {
            Ok(CurrentKey {
                digest: columns::digest(row, 0)?,
                revision: row.get(1)?,
                hint: row.get(2)?,
                created: UnixMillis(row.get(3)?),
            })
        })
        .optional()
}

/// What the operator is shown of a key; `None`: no such key.
pub(crate) fn show(connection: &Connection, digest: &Digest) -> rusqlite::Result<Option<KeyShown>> {
    connection
        .prepare_cached(
            "SELECT k.user_id, u.email, k.state, k.hint, k.created_ms, k.revoked_ms
             FROM keys k JOIN users u USING (user_id) WHERE k.digest = ?1",
        )?
        .query_row([digest.as_bytes()], |row| {
            let revoked: Option<i64> = row.get(5)?;
            Ok(KeyShown {
                user_id: columns::user(row, 0)?,
                email: row.get(1)?,
                digest: *digest,
                state: columns::state(row, 2)?,
                hint: row.get(3)?,
                created_at: UnixMillis(row.get(4)?).rfc3339(),
                revoked_at: revoked.map(|at| UnixMillis(at).rfc3339()),
            })
        })
        .optional()
}

/// Whether the key is known, in whatever state, also to an import that does not
/// count yet.
pub(crate) fn exists(connection: &Connection, digest: &Digest) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT 1 FROM keys WHERE digest = ?1")?
        .exists([digest.as_bytes()])
}

/// Adds an active key. The schema refuses a user's second one (I3).
pub(crate) fn insert(transaction: &Connection, key: &NewKey<'_>) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "INSERT INTO keys (digest, user_id, state, hint, created_ms, revision)
             VALUES (?1, ?2, 'active', ?3, ?4, ?5)",
        )?
        .execute((
            key.digest.as_bytes(),
            key.user.as_str(),
            key.hint,
            key.created.0,
            key.revision,
        ))
        .map(drop)
}

/// Ends an active key.
pub(crate) fn set_revoked(
    transaction: &Connection,
    digest: &Digest,
    at: UnixMillis,
    revision: u64,
) -> rusqlite::Result<()> {
    let changed = transaction
        .prepare_cached(
            "UPDATE keys SET state = 'revoked', revoked_ms = ?2, revision = ?3
             WHERE digest = ?1 AND state = 'active'",
        )?
        .execute((digest.as_bytes(), at.0, revision))?;
    match changed {
        1 => Ok(()),
        other => Err(rusqlite::Error::StatementChangedRows(other)),
    }
}

/// The rotation that just revoked this key may be answered again until then.
pub(crate) fn set_replayable(
    transaction: &Connection,
    digest: &Digest,
    until: UnixMillis,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("UPDATE keys SET replay_until_ms = ?2 WHERE digest = ?1")?
        .execute((digest.as_bytes(), until.0))
        .map(drop)
}
