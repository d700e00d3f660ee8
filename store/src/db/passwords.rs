//! Who may log in: the users' password hashes. Knows no password.

use rekey_protocol::{Client, UserId};
use rusqlite::{Connection, OptionalExtension};

use super::{audit, columns, sessions, users};
use crate::clock::UnixMillis;

/// Whom an e-mail address belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The user.
    pub user: UserId,
    /// The hash of the password, as a PHC string; `None`: cannot log in.
    pub phc: Option<String>,
    /// Whether the user has logged in from this client's address before.
    pub is_known_address: bool,
}

/// Why a password cannot be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PasswordRefusal {
    /// There is no such user.
    UnknownUser,
    /// The user has no address to log in with.
    NoEmail,
    /// The password was changed since it was checked.
    Changed,
}

/// Finds an account by its address, whatever the case of its letters.
pub fn account(
    connection: &Connection,
    (email, client_address): (&str, &str),
) -> rusqlite::Result<Option<Account>> {
    connection
        .prepare_cached(
            "SELECT u.user_id, p.phc, EXISTS (SELECT 1 FROM audit a WHERE a.user_id = u.user_id
                    AND a.action = 'login' AND a.client_address = ?2)
             FROM users u LEFT JOIN passwords p USING (user_id) WHERE u.email = ?1",
        )?
        .query_row([email, client_address], |row| {
            Ok(Account {
                user: columns::user(row, 0)?,
                phc: row.get(1)?,
                is_known_address: row.get(2)?,
            })
        })
        .optional()
}

/// The hash of a user's password.
pub fn of_user(connection: &Connection, user: &UserId) -> rusqlite::Result<Option<String>> {
    connection
        .prepare_cached("SELECT phc FROM passwords WHERE user_id = ?1")?
        .query_row([user.as_str()], |row| row.get(0))
        .optional()
}

/// The operator sets a password; the user is logged out everywhere.
pub fn set(
    transaction: &Connection,
    now: UnixMillis,
    user: &UserId,
    phc: &str,
) -> rusqlite::Result<Result<(), PasswordRefusal>> {
    if !users::exists(transaction, user)? {
        return Ok(Err(PasswordRefusal::UnknownUser));
    }
    let has_email = transaction
        .prepare_cached("SELECT 1 FROM users WHERE user_id = ?1 AND email IS NOT NULL")?
        .exists([user.as_str()])?;
    if !has_email {
        return Ok(Err(PasswordRefusal::NoEmail));
    }
    put(transaction, now, user, phc)?;
    sessions::close_all(transaction, user)?;
    audit::append_aside(transaction, now, user, ("password_set", audit::ADMIN), None)?;
    Ok(Ok(()))
}

/// The user changes the password that was just checked to be `old`; all other
/// sessions end, and this one goes on as `session`.
pub fn change(
    transaction: &Connection,
    now: UnixMillis,
    (old, new): (&str, &str),
    session: &sessions::NewSession,
) -> rusqlite::Result<Result<(), PasswordRefusal>> {
    let user = &session.user;
    if of_user(transaction, user)?.as_deref() != Some(old) {
        return Ok(Err(PasswordRefusal::Changed));
    }
    put(transaction, now, user, new)?;
    sessions::close_all(transaction, user)?;
    sessions::insert(transaction, now, session)?;
    note(transaction, now, user, "password_changed", &session.client)?;
    Ok(Ok(()))
}

fn note(
    transaction: &Connection,
    now: UnixMillis,
    user: &UserId,
    action: &str,
    client: &Client,
) -> rusqlite::Result<()> {
    let what = (action, audit::DASHBOARD);
    audit::append_aside(transaction, now, user, what, Some(client))
}

/// Sets or replaces the hash.
pub fn put(
    transaction: &Connection,
    now: UnixMillis,
    user: &UserId,
    phc: &str,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "INSERT INTO passwords (user_id, phc, changed_ms) VALUES (?1, ?2, ?3)
             ON CONFLICT (user_id) DO UPDATE SET phc = ?2, changed_ms = ?3",
        )?
        .execute((user.as_str(), phc, now.0))
        .map(drop)
}
