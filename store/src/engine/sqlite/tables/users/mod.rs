//! The users: adding and listing them.

pub(in crate::engine::sqlite) mod devices;
pub(in crate::engine::sqlite) mod passwords;
pub(in crate::engine::sqlite) mod people;
pub(in crate::engine::sqlite) mod removal;
pub(in crate::engine::sqlite) mod sessions;

use rekey_protocol::UserId;
use rusqlite::{Connection, OptionalExtension};

use super::{columns, last_uses};
use crate::api::{KeyEntry, UserEntry};
use crate::clock::{StoreTime, UnixMillis};
use crate::engine::rows::{LastUse, UserStatus};
use crate::operations::users::NewUser;

/// Adds a user without a key.
pub(crate) fn insert(
    transaction: &Connection,
    new: &NewUser,
    created: UnixMillis,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "INSERT INTO users (user_id, email, email_normal, created_ms) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute((
            new.id.as_str(),
            new.email.as_str(),
            new.email.normal(),
            created.0,
        ))?;
    match &new.phc {
        Some(phc) => passwords::put(transaction, created, &new.id, phc),
        None => Ok(()),
    }
}

/// At most `limit` users after the id `after`, in the order of the ids.
pub(crate) fn list(
    connection: &Connection,
    after: &str,
    limit: u32,
) -> rusqlite::Result<Vec<UserEntry>> {
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
            let last_use = last_uses::read(row, 6)?;
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
pub(crate) fn last_rotated(
    connection: &Connection,
    user: &UserId,
) -> rusqlite::Result<Option<UnixMillis>> {
    let last: Option<i64> = connection
        .prepare_cached("SELECT last_rotated_ms FROM users WHERE user_id = ?1")?
        .query_row([user.as_str()], |row| row.get(0))?;
    Ok(last.map(UnixMillis))
}

/// Begins the user's wait until the next rotation. S12: last = max(last, now).
pub(crate) fn begin_interval(
    transaction: &Connection,
    now: StoreTime,
    user: &UserId,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "UPDATE users SET last_rotated_ms = max(coalesce(last_rotated_ms, ?2), ?2),
                              rotated_told_ms = ?3
             WHERE user_id = ?1",
        )?
        .execute((user.as_str(), now.limit.0, now.told.0))
        .map(drop)
}

/// What this id stands for; `None`: nobody has had it.
pub(crate) fn user_status(
    connection: &Connection,
    user: &UserId,
) -> rusqlite::Result<Option<UserStatus>> {
    connection
        .prepare_cached(
            "SELECT removed FROM users u WHERE user_id = ?1 AND (import IS NULL OR EXISTS (
                 SELECT 1 FROM imports i WHERE i.id = u.import AND i.revision IS NOT NULL))",
        )?
        .query_row([user.as_str()], |row| {
            Ok(match row.get(0)? {
                0 => UserStatus::Here,
                1 => UserStatus::Removed,
                _ => UserStatus::Pseudonym,
            })
        })
        .optional()
}
