//! The keys: resolving, inserting and revoking them.

use std::time::Duration;

use rekey_protocol::{
    Change, Client, Digest, Head, Incarnation, REPLAY_WINDOW_MS, ResolvedState, UserId,
};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension};

use crate::api::{KeyShown, RevokeResponse};
use crate::clock::{Moment, UnixMillis};
use crate::engine::sqlite::audit::{self, Event};
use crate::engine::sqlite::{columns, next_revision};

/// What the audit log calls the end of a key that got no successor by it.
pub const REVOKED: &str = "revoked";

/// A known key and where the history stood when it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// Whether it is accepted.
    pub state: ResolvedState,
    /// Whose it is.
    pub user: UserId,
    /// The revision that last changed it.
    pub revision: u64,
    /// When its user last rotated, by the limit's clock.
    pub last_rotated: Option<UnixMillis>,
    /// Until when the rotation that revoked it may be answered again, by the limit's
    /// clock (X5).
    pub replay_until: Option<UnixMillis>,
    /// The store's history.
    pub head: Head,
}

/// The key is not known, and this is where the history stood when that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unknown(pub Head);

/// Which key to revoke.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Revoke {
    /// The active one of this user.
    OfUser(UserId),
    /// This one.
    Key(Digest),
}

/// Why nothing can be revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RevokeRefusal {
    /// There is no such user.
    UnknownUser,
    /// There is no such key.
    UnknownKey,
}

/// Everything about one key, by one statement and so from one snapshot
/// (PROTOCOL S1).
pub fn resolve(
    connection: &Connection,
    digest: &Digest,
) -> rusqlite::Result<Result<Resolved, Unknown>> {
    connection
        .prepare_cached(
            "SELECT k.state, k.user_id, k.revision, u.last_rotated_ms, m.revision,
                    (SELECT id FROM incarnations ORDER BY first_revision DESC LIMIT 1),
                    k.replay_until_ms
             FROM meta m LEFT JOIN live_keys k ON k.digest = ?1
                         LEFT JOIN users u ON u.user_id = k.user_id",
        )?
        .query_row([digest.as_bytes()], |row| {
            let head = Head {
                revision: row.get(4)?,
                incarnation: Incarnation(row.get(5)?),
            };
            if row.get_ref(0)? == ValueRef::Null {
                return Ok(Err(Unknown(head)));
            }
            Ok(Ok(Resolved {
                state: columns::state(row, 0)?,
                user: columns::user(row, 1)?,
                revision: row.get(2)?,
                last_rotated: row.get::<_, Option<i64>>(3)?.map(UnixMillis),
                head,
                replay_until: row.get::<_, Option<i64>>(6)?.map(UnixMillis),
            }))
        })
}

/// What the operator is shown of a key; `None`: no such key.
pub fn show(connection: &Connection, digest: &Digest) -> rusqlite::Result<Option<KeyShown>> {
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

/// At most `limit` revocations after a revision, oldest first.
pub fn revoked_after(
    connection: &Connection,
    revision: u64,
    limit: usize,
) -> rusqlite::Result<Vec<Change>> {
    connection
        .prepare_cached(
            "SELECT digest, revision,
                    ifnull(replay_until_ms > (SELECT time_ms FROM meta), 0)
             FROM keys WHERE revision > ?1 AND state = 'revoked'
             ORDER BY revision LIMIT ?2",
        )?
        .query_map((revision, limit), |row| {
            let digest = columns::digest(row, 0)?;
            Ok(Change {
                digest,
                revision: row.get(1)?,
                replayable: row.get(2)?,
            })
        })?
        .collect()
}

/// Where the history stands.
pub fn head(connection: &Connection) -> rusqlite::Result<Head> {
    connection
        .prepare_cached(
            "SELECT m.revision, i.id FROM meta m, incarnations i
             ORDER BY i.first_revision DESC LIMIT 1",
        )?
        .query_row([], |row| {
            Ok(Head {
                revision: row.get(0)?,
                incarnation: Incarnation(row.get(1)?),
            })
        })
}

/// Whether the key is known, in whatever state, also to an import that does not
/// count yet.
pub fn exists(connection: &Connection, digest: &Digest) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT 1 FROM keys WHERE digest = ?1")?
        .exists([digest.as_bytes()])
}

/// Adds an active key. The schema refuses a user's second one (I3).
pub fn insert(
    transaction: &Connection,
    now: Moment,
    digest: &Digest,
    user: &UserId,
    hint: Option<&str>,
    revision: u64,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "INSERT INTO keys (digest, user_id, state, hint, created_ms, revision)
             VALUES (?1, ?2, 'active', ?3, ?4, ?5)",
        )?
        .execute((digest.as_bytes(), user.as_str(), hint, now.told.0, revision))
        .map(drop)
}

/// Ends an active key.
pub fn set_revoked(
    transaction: &Connection,
    now: Moment,
    digest: &Digest,
    revision: u64,
) -> rusqlite::Result<()> {
    let changed = transaction
        .prepare_cached(
            "UPDATE keys SET state = 'revoked', revoked_ms = ?2, revision = ?3
             WHERE digest = ?1 AND state = 'active'",
        )?
        .execute((digest.as_bytes(), now.told.0, revision))?;
    match changed {
        1 => Ok(()),
        other => Err(rusqlite::Error::StatementChangedRows(other)),
    }
}

/// The rotation that just revoked this key may be answered again, for ten minutes.
pub fn set_replayable(
    transaction: &Connection,
    now: Moment,
    digest: &Digest,
) -> rusqlite::Result<()> {
    let until = now
        .limit
        .plus(Duration::from_millis(REPLAY_WINDOW_MS.into()));
    transaction
        .prepare_cached("UPDATE keys SET replay_until_ms = ?2 WHERE digest = ?1")?
        .execute((digest.as_bytes(), until.0))
        .map(drop)
}

/// Revokes a key, by the operator's wish. Doing it again changes nothing.
pub fn revoke(
    transaction: &Connection,
    now: Moment,
    which: &Revoke,
) -> rusqlite::Result<Result<RevokeResponse, RevokeRefusal>> {
    let found = match which {
        Revoke::OfUser(user) => active_key(transaction, user)?
            .map(|digest| (user.clone(), digest))
            .ok_or(RevokeRefusal::UnknownUser),
        Revoke::Key(digest) => owner(transaction, digest)?
            .map(|(user, state)| {
                let active = state == ResolvedState::Active;
                (user, active.then_some(*digest))
            })
            .ok_or(RevokeRefusal::UnknownKey),
    };
    let (user, active) = match found {
        Ok(found) => found,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let revision = match &active {
        Some(digest) => end(transaction, now, &user, digest, (audit::ADMIN, None))?,
        None => confirm(transaction, now, &user, which)?,
    };
    Ok(Ok(RevokeResponse {
        user_id: user,
        revoked: active.is_some(),
        revision,
    }))
}

/// The operator revokes a key that is not active any more. If its user did it,
/// it is now the operator's word as well: without that the user could go on
/// making keys, which the operator just wanted to end. Returns the revision of
/// the last change.
fn confirm(
    transaction: &Connection,
    now: Moment,
    user: &UserId,
    which: &Revoke,
) -> rusqlite::Result<u64> {
    let Some(last) = audit::latest_of_keys(transaction, user)? else {
        return Ok(0);
    };
    // An older key that is named is not what the user has ended.
    let is_meant = match which {
        Revoke::OfUser(_) => true,
        Revoke::Key(digest) => last.old_digest == Some(*digest),
    };
    if is_meant
        && active_key(transaction, user)? == Some(None)
        && last.action == REVOKED
        && last.source == audit::DASHBOARD
    {
        let revoked = (last.revision, last.old_digest.as_ref());
        note_revoked(transaction, now, user, revoked, (audit::ADMIN, None))?;
    }
    Ok(last.revision)
}

/// Ends the user's active key and says in the audit log by which way and for whom.
pub fn end(
    transaction: &Connection,
    now: Moment,
    user: &UserId,
    digest: &Digest,
    by: (&str, Option<&Client>),
) -> rusqlite::Result<u64> {
    let revision = next_revision(transaction, now)?;
    set_revoked(transaction, now, digest, revision)?;
    note_revoked(transaction, now, user, (revision, Some(digest)), by)?;
    Ok(revision)
}

fn note_revoked(
    transaction: &Connection,
    now: Moment,
    user: &UserId,
    (revision, digest): (u64, Option<&Digest>),
    (source, client): (&str, Option<&Client>),
) -> rusqlite::Result<()> {
    let event = Event {
        user,
        action: REVOKED,
        revision,
        old_digest: digest,
        new_digest: None,
        hint: None,
        source,
        rotation_id: None,
        client,
    };
    audit::append(transaction, now, &event)
}

/// The user's active key, if any; `None` for no such user.
fn active_key(connection: &Connection, user: &UserId) -> rusqlite::Result<Option<Option<Digest>>> {
    connection
        .prepare_cached(
            "SELECT k.digest FROM live_users u
             LEFT JOIN live_keys k ON k.user_id = u.user_id AND k.state = 'active'
             WHERE u.user_id = ?1",
        )?
        .query_row([user.as_str()], |row| columns::digest_opt(row, 0))
        .optional()
}

fn owner(
    connection: &Connection,
    digest: &Digest,
) -> rusqlite::Result<Option<(UserId, ResolvedState)>> {
    connection
        .prepare_cached("SELECT user_id, state FROM live_keys WHERE digest = ?1")?
        .query_row([digest.as_bytes()], |row| {
            Ok((columns::user(row, 0)?, columns::state(row, 1)?))
        })
        .optional()
}

/// The revision of the last change of the user's keys.
pub fn last_change(connection: &Connection, user: &UserId) -> rusqlite::Result<u64> {
    let last = audit::latest_of_keys(connection, user)?;
    Ok(last.map_or(0, |event| event.revision))
}
