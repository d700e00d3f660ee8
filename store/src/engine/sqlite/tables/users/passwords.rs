//! Who may log in: the users' password hashes. Knows no password.

use rekey_protocol::UserId;
use rusqlite::{Connection, OptionalExtension};

use crate::accounts::password::{Spelling, StoredHash};
use crate::clock::UnixMillis;
use crate::engine::rows::PasswordHash;

/// The hash of a user's password.
pub(crate) fn of_user(
    connection: &Connection,
    user: &UserId,
) -> rusqlite::Result<Option<PasswordHash>> {
    connection
        .prepare_cached("SELECT phc, normal, changed_ms FROM passwords WHERE user_id = ?1")?
        .query_row([user.as_str()], |row| {
            let spelling = match row.get(1)? {
                true => Spelling::Normal,
                false => Spelling::AsTyped,
            };
            Ok(PasswordHash {
                stored: StoredHash {
                    phc: row.get(0)?,
                    spelling,
                },
                changed: UnixMillis(row.get(2)?),
            })
        })
        .optional()
}

/// Replaces the hash of a password that stays what it is.
pub(crate) fn renew(transaction: &Connection, user: &UserId, phc: &str) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("UPDATE passwords SET phc = ?2, normal = 1 WHERE user_id = ?1")?
        .execute((user.as_str(), phc))
        .map(drop)
}

/// Sets or replaces the hash, which is of the password's normal form.
pub(crate) fn put(
    transaction: &Connection,
    changed: UnixMillis,
    user: &UserId,
    phc: &str,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "INSERT INTO passwords (user_id, phc, changed_ms, normal) VALUES (?1, ?2, ?3, 1)
             ON CONFLICT (user_id) DO UPDATE SET phc = ?2, changed_ms = ?3, normal = 1",
        )?
        .execute((user.as_str(), phc, changed.0))
        .map(drop)
}
