//! The users: adding and listing them.

use rekey_protocol::{Digest, UserId};
use rusqlite::{Connection, OptionalExtension};

use crate::api::{KeyEntry, UserEntry};
use crate::clock::{Moment, UnixMillis};
use crate::email::Email;
use crate::engine::sqlite::audit::{self, Event};
use crate::engine::sqlite::{LastUse, columns, imports, keys, next_revision, passwords, people};

/// A user to be, with the first key.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// Unique.
    pub id: UserId,
    /// Unique.
    pub email: Email,
    /// Of the first key.
    pub digest: Digest,
    /// The key's last characters.
    pub hint: String,
    /// The hash of a password to log in with, as a PHC string.
    pub phc: Option<String>,
}

/// Why a user cannot be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddRefusal {
    /// The id is taken.
    UserExists,
    /// The id was a removed user's.
    UserRemoved,
    /// The address is taken.
    EmailExists,
    /// An import holds the id or the address whose rows do not count.
    BeingImported,
}

/// Adds a user and the first key; returns when.
pub fn add(
    transaction: &Connection,
    now: Moment,
    new: &NewUser,
) -> rusqlite::Result<Result<UnixMillis, AddRefusal>> {
    match standing(transaction, &new.id)? {
        None => {}
        Some(Standing::Here) => return Ok(Err(AddRefusal::UserExists)),
        Some(Standing::Removed | Standing::Pseudonym) => {
            return Ok(Err(AddRefusal::UserRemoved));
        }
    }
    if people::owner(transaction, new.email.as_str())?.is_some() {
        return Ok(Err(AddRefusal::EmailExists));
    }
    if imports::reserves(transaction, new.id.as_str(), Some(&new.email))? {
        return Ok(Err(AddRefusal::BeingImported));
    }
    let revision = next_revision(transaction, now)?;
    transaction
        .prepare_cached(
            "INSERT INTO users (user_id, email, email_normal, created_ms) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute((
            new.id.as_str(),
            new.email.as_str(),
            new.email.normal(),
            now.told.0,
        ))?;
    if let Some(phc) = &new.phc {
        passwords::put(transaction, now, &new.id, phc)?;
    }
    keys::insert(
        transaction,
        now,
        &new.digest,
        &new.id,
        Some(&new.hint),
        revision,
    )?;
    audit::append(
        transaction,
        now,
        &Event {
            user: &new.id,
            action: "user_added",
            revision,
            old_digest: None,
            new_digest: Some(&new.digest),
            hint: Some(&new.hint),
            source: audit::ADMIN,
            rotation_id: None,
            client: None,
        },
    )?;
    Ok(Ok(now.told))
}

/// Why a user gets no new key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IssueRefusal {
    /// There is no such user.
    UnknownUser,
    /// The user has an active key, which would have to be revoked first (I3).
    HasKey,
    /// An import holds a key for the user whose rows do not count.
    BeingImported,
}

/// A key that was given to a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Issued {
    /// When.
    pub at: UnixMillis,
    /// The revision of this change.
    pub revision: u64,
}

/// Gives a user without an active key a new one. It is no rotation: the hour
/// is as it was.
pub fn issue(
    transaction: &Connection,
    now: Moment,
    user: &UserId,
    digest: &Digest,
    hint: &str,
) -> rusqlite::Result<Result<Issued, IssueRefusal>> {
    if !exists(transaction, user)? {
        return Ok(Err(IssueRefusal::UnknownUser));
    }
    let has_key = transaction
        .prepare_cached("SELECT 1 FROM live_keys WHERE user_id = ?1 AND state = 'active'")?
        .exists([user.as_str()])?;
    if has_key {
        return Ok(Err(IssueRefusal::HasKey));
    }
    if imports::reserves(transaction, user.as_str(), None)? {
        return Ok(Err(IssueRefusal::BeingImported));
    }
    let revision = next_revision(transaction, now)?;
    keys::insert(transaction, now, digest, user, Some(hint), revision)?;
    audit::append(
        transaction,
        now,
        &Event {
            user,
            action: "issued",
            revision,
            old_digest: None,
            new_digest: Some(digest),
            hint: Some(hint),
            source: audit::ADMIN,
            rotation_id: None,
            client: None,
        },
    )?;
    Ok(Ok(Issued {
        at: now.told,
        revision,
    }))
}

/// At most `limit` users after the id `after`, in the order of the ids.
pub fn list(connection: &Connection, after: &str, limit: u32) -> rusqlite::Result<Vec<UserEntry>> {
    connection
        .prepare_cached(
            "SELECT u.user_id, u.email, u.created_ms,
                    coalesce(u.rotated_told_ms, u.last_rotated_ms), k.hint, k.created_ms,
                    k.last_used_ms,
                    ifnull(k.created_ms > (SELECT last_uses_since_ms FROM meta), 0)
             FROM live_users u LEFT JOIN live_keys k ON k.user_id = u.user_id AND k.state = 'active'
             WHERE u.user_id > ?1 ORDER BY u.user_id LIMIT ?2",
        )?
        .query_map((after, limit), |row| {
            let time = |index| -> rusqlite::Result<Option<String>> {
                let at: Option<i64> = row.get(index)?;
                Ok(at.map(|at| UnixMillis(at).rfc3339()))
            };
            let hint: Option<String> = row.get(4)?;
            let last_use = LastUse::read(row, 6)?;
            Ok(UserEntry {
                user_id: columns::user(row, 0)?,
                email: row.get(1)?,
                created_at: UnixMillis(row.get(2)?).rfc3339(),
                last_rotated_at: time(3)?,
                key: time(5)?.map(|created_at| KeyEntry {
                    hint,
                    created_at,
                    last_used_at: last_use.rfc3339(),
                    never_used: last_use == LastUse::Never,
                }),
            })
        })?
        .collect()
}

/// When the user last rotated, by the limit's clock.
pub fn last_rotated(
    connection: &Connection,
    user: &UserId,
) -> rusqlite::Result<Option<UnixMillis>> {
    let last: Option<i64> = connection
        .prepare_cached("SELECT last_rotated_ms FROM users WHERE user_id = ?1")?
        .query_row([user.as_str()], |row| row.get(0))?;
    Ok(last.map(UnixMillis))
}

/// Begins the user's hour until the next rotation. S12: last = max(last, now).
pub fn begin_hour(transaction: &Connection, now: Moment, user: &UserId) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "UPDATE users SET last_rotated_ms = max(coalesce(last_rotated_ms, ?2), ?2),
                              rotated_told_ms = ?3
             WHERE user_id = ?1",
        )?
        .execute((user.as_str(), now.limit.0, now.told.0))
        .map(drop)
}

/// What an id stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// A user.
    Here,
    /// Nobody any more, and nobody again.
    Removed,
    /// What a removed user is called in the audit log.
    Pseudonym,
}

/// What this id stands for; `None`: nobody has had it.
pub fn standing(connection: &Connection, user: &UserId) -> rusqlite::Result<Option<Standing>> {
    connection
        .prepare_cached(
            "SELECT removed FROM users u WHERE user_id = ?1 AND (import IS NULL OR EXISTS (
                 SELECT 1 FROM imports i WHERE i.id = u.import AND i.revision IS NOT NULL))",
        )?
        .query_row([user.as_str()], |row| {
            Ok(match row.get(0)? {
                0 => Standing::Here,
                1 => Standing::Removed,
                _ => Standing::Pseudonym,
            })
        })
        .optional()
}

/// Whether there is such a user.
pub fn exists(connection: &Connection, user: &UserId) -> rusqlite::Result<bool> {
    Ok(standing(connection, user)? == Some(Standing::Here))
}
