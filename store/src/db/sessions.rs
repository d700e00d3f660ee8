//! Who is logged in to the dashboard. The store keeps the digest of a session's
//! token; the token itself is in the browser alone.

use std::time::Duration;

use rekey_protocol::{Client, Digest, UserId};
use rusqlite::{Connection, OptionalExtension};

use super::{audit, columns, passwords};
use crate::clock::UnixMillis;

/// The longest that a session may be set to last.
pub const SESSION_LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);
/// Sessions that one user may have; a further one ends the oldest.
const PER_USER: u32 = 20;
/// Expired sessions deleted at a time.
const PRUNED_AT_ONCE: u32 = 10_000;

/// When a session is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionLimits {
    /// After so long without a request.
    pub idle: Duration,
    /// So long after the log-in, whatever happens.
    pub max: Duration,
}

impl SessionLimits {
    /// The last moments of creation and of use that are too long ago.
    fn over_at(self, now: UnixMillis) -> (i64, i64) {
        let before = |age: Duration| {
            let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
            now.0.saturating_sub(age)
        };
        (before(self.max), before(self.idle))
    }
}

/// A session to be.
#[derive(Debug, Clone)]
pub struct NewSession {
    /// Of the token.
    pub digest: Digest,
    /// Whose.
    pub user: UserId,
    /// From where.
    pub client: Client,
}

/// A session that is not over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenSession {
    /// Whose.
    pub user: UserId,
    /// The user's address.
    pub email: String,
    /// When it was last noted that it is in use.
    pub seen: UnixMillis,
}

/// Finds a session that is not over.
pub fn find(
    connection: &Connection,
    now: UnixMillis,
    limits: SessionLimits,
    digest: &Digest,
) -> rusqlite::Result<Option<OpenSession>> {
    let (created, seen) = limits.over_at(now);
    connection
        .prepare_cached(
            "SELECT s.user_id, coalesce(u.email, ''), s.seen_ms
             FROM sessions s JOIN users u USING (user_id)
             WHERE s.digest = ?1 AND s.created_ms > ?2 AND s.seen_ms > ?3",
        )?
        .query_row((digest.as_bytes(), created, seen), |row| {
            Ok(OpenSession {
                user: columns::user(row, 0)?,
                email: row.get(1)?,
                seen: UnixMillis(row.get(2)?),
            })
        })
        .optional()
}

/// Begins a session for who has just shown the password of this hash, and ends
/// the one that the browser had. `false`: the password was changed since.
pub fn open(
    transaction: &Connection,
    now: UnixMillis,
    session: &NewSession,
    (phc, replaced): (&str, Option<&Digest>),
) -> rusqlite::Result<bool> {
    if passwords::of_user(transaction, &session.user)?.as_deref() != Some(phc) {
        return Ok(false);
    }
    if let Some(replaced) = replaced {
        delete(transaction, replaced)?;
    }
    insert(transaction, now, session)?;
    transaction
        .prepare_cached(
            "DELETE FROM sessions WHERE digest IN (SELECT digest FROM sessions
             WHERE user_id = ?1 ORDER BY created_ms DESC LIMIT -1 OFFSET ?2)",
        )?
        .execute((session.user.as_str(), PER_USER))?;
    let (user, client) = (&session.user, Some(&session.client));
    audit::append_aside(transaction, now, user, ("login", audit::DASHBOARD), client)?;
    Ok(true)
}

/// Adds a session.
pub fn insert(
    transaction: &Connection,
    now: UnixMillis,
    session: &NewSession,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "INSERT INTO sessions (digest, user_id, created_ms, seen_ms) VALUES (?1, ?2, ?3, ?3)",
        )?
        .execute((session.digest.as_bytes(), session.user.as_str(), now.0))
        .map(drop)
}

/// Notes that a session is in use.
pub fn touch(transaction: &Connection, now: UnixMillis, digest: &Digest) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("UPDATE sessions SET seen_ms = ?2 WHERE digest = ?1")?
        .execute((digest.as_bytes(), now.0))
        .map(drop)
}

/// Ends one session, or with `everywhere` all of the user's.
pub fn close(
    transaction: &Connection,
    now: UnixMillis,
    session: &NewSession,
    everywhere: bool,
) -> rusqlite::Result<()> {
    let action = match everywhere {
        true => {
            close_all(transaction, &session.user)?;
            "logout_everywhere"
        }
        false => {
            delete(transaction, &session.digest)?;
            "logout"
        }
    };
    let (what, client) = ((action, audit::DASHBOARD), Some(&session.client));
    audit::append_aside(transaction, now, &session.user, what, client)
}

/// Ends all sessions of a user.
pub fn close_all(transaction: &Connection, user: &UserId) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("DELETE FROM sessions WHERE user_id = ?1")?
        .execute([user.as_str()])
        .map(drop)
}

fn delete(transaction: &Connection, digest: &Digest) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("DELETE FROM sessions WHERE digest = ?1")?
        .execute([digest.as_bytes()])
        .map(drop)
}

/// Deletes sessions that are over by any limits.
pub fn prune(transaction: &Connection, now: UnixMillis) -> rusqlite::Result<()> {
    let any = SessionLimits {
        idle: SESSION_LONGEST,
        max: SESSION_LONGEST,
    };
    transaction
        .prepare_cached(
            "DELETE FROM sessions WHERE digest IN (SELECT digest FROM sessions
             WHERE created_ms <= ?1 LIMIT ?2)",
        )?
        .execute((any.over_at(now).0, PRUNED_AT_ONCE))
        .map(drop)
}
