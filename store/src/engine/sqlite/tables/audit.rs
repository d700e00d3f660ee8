//! The audit log: one row per change, in that change's transaction (I3).
//! Append-only, held by triggers of the schema.

use rekey_protocol::{Client, Digest, KEY_PREFIX, RotationId, UserId};
use rusqlite::{Connection, Params, Row};

use crate::api::AuditEvent;
use crate::clock::{Moment, UnixMillis};
use crate::engine::sqlite::columns;

/// The longest text of the network that is kept, in characters.
const TEXT_MAX: usize = 128;

/// Rows about refused tries of one account within an hour.
const REFUSED_PER_HOUR: u32 = 10;
const HOUR_MS: i64 = 3_600_000;

/// The source of what a gateway asked for.
pub const GATEWAY: &str = "gateway";
/// The source of what the operator did.
pub const ADMIN: &str = "admin";
/// The source of what a user did in the dashboard.
pub const DASHBOARD: &str = "dashboard";

/// One row to be.
pub struct Event<'a> {
    /// Whose key changed.
    pub user: &'a UserId,
    /// What happened: see [`AuditEvent::action`].
    pub action: &'a str,
    /// The revision of the change.
    pub revision: u64,
    /// The key that is revoked by it.
    pub old_digest: Option<&'a Digest>,
    /// The key that is active by it.
    pub new_digest: Option<&'a Digest>,
    /// The last characters of the new key.
    pub hint: Option<&'a str>,
    /// By which way: [`GATEWAY`], [`ADMIN`] or [`DASHBOARD`].
    pub source: &'a str,
    /// Which rotation it was.
    pub rotation_id: Option<RotationId>,
    /// Who asked.
    pub client: Option<&'a Client>,
}

/// Adds a row.
pub fn append(transaction: &Connection, now: Moment, event: &Event<'_>) -> rusqlite::Result<()> {
    let address = event.client.and_then(|client| client.address.as_deref());
    let request_id = event.client.and_then(|client| client.request_id.as_deref());
    // An import's own rows are told some time after it counts.
    if let Some(old) = event.old_digest {
        crate::engine::sqlite::imports::tell_of(transaction, old)?;
    }
    transaction
        .prepare_cached(
            "INSERT INTO audit (at_ms, user_id, action, revision, old_digest, new_digest, hint,
                                source, rotation_id, client_address, client_request_id, limit_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        )?
        .execute((
            now.told.0,
            event.user.as_str(),
            event.action,
            event.revision,
            event.old_digest.map(Digest::as_bytes),
            event.new_digest.map(Digest::as_bytes),
            event.hint,
            event.source,
            event.rotation_id.map(|id| id.0),
            address.map(harmless),
            request_id.map(harmless),
            now.limit.0,
        ))
        .map(drop)
}

/// Adds a row about something that changed no key, at the present revision.
pub fn append_aside(
    transaction: &Connection,
    now: Moment,
    user: &UserId,
    (action, source): (&str, &str),
    client: Option<&Client>,
) -> rusqlite::Result<()> {
    let event = Event {
        user,
        action,
        revision: crate::engine::sqlite::keys::head(transaction)?.revision,
        old_digest: None,
        new_digest: None,
        hint: None,
        source,
        rotation_id: None,
        client,
    };
    append(transaction, now, &event)
}

/// Adds a row about a refused try, unless there are enough of the last hour:
/// who tries for ever must not fill the disk with rows that cannot be deleted.
pub fn append_refused(
    transaction: &Connection,
    now: Moment,
    user: &UserId,
    (action, client): (&str, &Client),
) -> rusqlite::Result<()> {
    let told: u32 = transaction
        .prepare_cached(
            "SELECT count(*) FROM audit WHERE user_id = ?1 AND coalesce(limit_ms, at_ms) > ?2
             AND action IN ('login_refused', 'password_refused')",
        )?
        .query_row(
            (user.as_str(), now.limit.0.saturating_sub(HOUR_MS)),
            |row| row.get(0),
        )?;
    // Who was removed meanwhile must not come back into the log.
    match told < REFUSED_PER_HOUR && crate::engine::sqlite::users::exists(transaction, user)? {
        true => append_aside(transaction, now, user, (action, DASHBOARD), Some(client)),
        false => Ok(()),
    }
}

/// Which events are wanted.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Of this user only.
    pub user: Option<UserId>,
    /// After this one; 0: from the first.
    pub after: i64,
    /// Not of before.
    pub since: Option<UnixMillis>,
    /// At most so many.
    pub limit: u32,
}

/// The events that are wanted, in the order of their ids.
pub fn list(connection: &Connection, wanted: &Selection) -> rusqlite::Result<Vec<AuditEvent>> {
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
pub fn latest(
    connection: &Connection,
    user: &UserId,
    limit: u32,
) -> rusqlite::Result<Vec<AuditEvent>> {
    let which = "user_id = ?1 AND action NOT IN ('login_refused', 'password_refused')
                 ORDER BY id DESC LIMIT ?2";
    select(connection, which, (user.as_str(), limit))
}

/// The last `limit` refused tries with a user's password, newest first.
pub fn latest_refused(
    connection: &Connection,
    user: &UserId,
    limit: u32,
) -> rusqlite::Result<Vec<AuditEvent>> {
    let which = "user_id = ?1 AND action IN ('login_refused', 'password_refused')
                 ORDER BY coalesce(limit_ms, at_ms) DESC, id DESC LIMIT ?2";
    select(connection, which, (user.as_str(), limit))
}

/// The last thing that happened to the user's key.
pub fn latest_of_keys(
    connection: &Connection,
    user: &UserId,
) -> rusqlite::Result<Option<AuditEvent>> {
    let which = "user_id = ?1 AND (old_digest IS NOT NULL OR new_digest IS NOT NULL)
                 ORDER BY id DESC LIMIT 1";
    Ok(select(connection, which, [user.as_str()])?.pop())
}

/// The user's last rotation.
pub fn latest_rotation(
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

/// A text of the network as it may be kept and shown in a terminal: bounded,
/// visible ASCII, and none that looks like a key (I6: a client may well put its
/// key into a header that ends up here).
fn harmless(text: &str) -> String {
    if text.contains(KEY_PREFIX) {
        return "(withheld)".to_owned();
    }
    let visible = text.chars().filter(|c| c.is_ascii_graphic() || *c == ' ');
    visible.take(TEXT_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::harmless;

    #[test]
    fn texts_of_the_network_are_bounded_and_plain() {
        assert_eq!(harmless("a\u{1b}[31m\nb\u{202e}c"), "a[31mbc");
        assert_eq!(harmless(&"x".repeat(999)).len(), 128);
        assert_eq!(harmless("id-sb_live_0123"), "(withheld)");
    }
}
