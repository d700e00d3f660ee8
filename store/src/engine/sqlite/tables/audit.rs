//! The audit log: one row per change, in that change's transaction (I3).
//! Append-only, held by triggers of the schema.

use rekey_protocol::{Digest, RotationId, UserId};
use rusqlite::{Connection, Params, Row};

use crate::api::AuditEvent;
use crate::clock::{StoreTime, UnixMillis};
use crate::engine::rows::Event;
use crate::engine::sqlite::columns;
use crate::engine::sqlite::imports;
use crate::operations::audit::Selection;

/// Adds a row.
pub(crate) fn append(
    transaction: &Connection,
    now: StoreTime,
    event: &Event<'_>,
) -> rusqlite::Result<()> {
    // An import's own rows are told some time after it counts.
    if let Some(old) = event.old_digest {
        imports::tell_of(transaction, old)?;
    }
    transaction
        .prepare_cached(
            "INSERT INTO audit (at_ms, user_id, action, revision, old_digest, new_digest, hint,
                                source, rotation_id, client_address, client_request_id, limit_ms,
                                uses)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        )?
        .execute((
            now.told.0,
            event.user.as_str(),
            event.action.name(),
            event.revision,
            event.old_digest.map(Digest::as_bytes),
            event.new_digest.map(Digest::as_bytes),
            event.hint,
            event.by.source.as_str(),
            event.rotation_id.map(|id| id.0),
            event.client_address(),
            event.client_request_id(),
            now.limit.0,
            event.uses,
        ))
        .map(drop)
}

/// How many tries with a user's password were refused after this moment of the
/// limit's clock.
pub(crate) fn count_refused(
    connection: &Connection,
    user: &UserId,
    after: UnixMillis,
) -> rusqlite::Result<u32> {
    connection
        .prepare_cached(
            "SELECT count(*) FROM audit WHERE user_id = ?1 AND coalesce(limit_ms, at_ms) > ?2
             AND action IN ('login_refused', 'password_refused')",
        )?
        .query_row((user.as_str(), after.0), |row| row.get(0))
}

/// The events that are wanted, in the order of their ids.
pub(crate) fn list(
    connection: &Connection,
    wanted: &Selection,
) -> rusqlite::Result<Vec<AuditEvent>> {
    let since = wanted.since.map_or(i64::MIN, |since| since.0);
    if let Some(user) = &wanted.user {
        let which = "user_id = ?1 AND id > ?2 AND at_ms >= ?3 ORDER BY id LIMIT ?4";
        let parameters = (user.as_str(), wanted.after, since, wanted.limit);
        return select(connection, which, parameters);
    }
    let after = match wanted.since {
        // Not through all the years before.
        Some(since) if wanted.after == 0 => first_since(connection, since)?,
        _ => wanted.after,
    };
    // The plus keeps SQLite from the index by time: it would have to sort.
    let which = "id > ?1 AND +at_ms >= ?2 ORDER BY id LIMIT ?3";
    select(connection, which, (after, since, wanted.limit))
}

/// The id before the first event of that moment or later.
fn first_since(connection: &Connection, since: UnixMillis) -> rusqlite::Result<i64> {
    let first: Option<i64> = connection
        .prepare_cached("SELECT min(+id) FROM audit INDEXED BY audit_by_time WHERE at_ms >= ?1")?
        .query_row([since.0], |row| row.get(0))?;
    Ok(first.map_or(i64::MAX, |first| first - 1))
}

/// The last `limit` events of a user but for refused tries, newest first.
pub(crate) fn latest(
    connection: &Connection,
    user: &UserId,
    limit: u32,
) -> rusqlite::Result<Vec<AuditEvent>> {
    let which = "user_id = ?1 AND action NOT IN ('login_refused', 'password_refused')
                 ORDER BY id DESC LIMIT ?2";
    select(connection, which, (user.as_str(), limit))
}

/// The last `limit` refused tries with a user's password, newest first.
pub(crate) fn latest_refused(
    connection: &Connection,
    user: &UserId,
    limit: u32,
) -> rusqlite::Result<Vec<AuditEvent>> {
    let which = "user_id = ?1 AND action IN ('login_refused', 'password_refused')
                 ORDER BY coalesce(limit_ms, at_ms) DESC, id DESC LIMIT ?2";
    select(connection, which, (user.as_str(), limit))
}

/// The last thing that happened to the user's key.
pub(crate) fn latest_of_keys(
    connection: &Connection,
    user: &UserId,
) -> rusqlite::Result<Option<AuditEvent>> {
    let which = "user_id = ?1 AND (old_digest IS NOT NULL OR new_digest IS NOT NULL)
                 ORDER BY id DESC LIMIT 1";
    Ok(select(connection, which, [user.as_str()])?.pop())
}

/// The user's last rotation.
pub(crate) fn latest_rotation(
    connection: &Connection,
    user: &UserId,
) -> rusqlite::Result<Option<AuditEvent>> {
    let which = "user_id = ?1 AND old_digest IS NOT NULL AND action = 'rotated'
                 ORDER BY id DESC LIMIT 1";
    Ok(select(connection, which, [user.as_str()])?.pop())
}

fn select(
    connection: &Connection,
    which: &str,
    parameters: impl Params,
) -> rusqlite::Result<Vec<AuditEvent>> {
    let sql = format!(
        "SELECT id, at_ms, action, revision, old_digest, new_digest, hint, source,
                rotation_id, client_address, client_request_id, uses, user_id FROM audit WHERE {which}"
    );
    let mut select = connection.prepare_cached(&sql)?;
    select.query_map(parameters, event)?.collect()
}

fn event(row: &Row<'_>) -> rusqlite::Result<AuditEvent> {
    Ok(AuditEvent {
        id: row.get(0)?,
        at: UnixMillis(row.get(1)?).rfc3339(),
        action: row.get(2)?,
        revision: row.get(3)?,
        old_digest: columns::digest_opt(row, 4)?,
        new_digest: columns::digest_opt(row, 5)?,
        hint: row.get(6)?,
        source: row.get(7)?,
        rotation_id: row.get::<_, Option<[u8; 16]>>(8)?.map(RotationId),
        client_address: row.get(9)?,
        client_request_id: row.get(10)?,
        uses: row.get(11)?,
        user_id: columns::user(row, 12)?,
    })
}

/// How many keys a user has made in the dashboard after this moment of the limit's
/// clock, each after a revocation.
pub(crate) fn count_issued_by_user(
    connection: &Connection,
    user: &UserId,
    after: UnixMillis,
) -> rusqlite::Result<u32> {
    connection
        .prepare_cached(
            "SELECT count(*) FROM audit WHERE user_id = ?1 AND coalesce(limit_ms, at_ms) > ?2
             AND action = 'issued' AND source = 'dashboard'",
        )?
        .query_row((user.as_str(), after.0), |row| row.get(0))
}
