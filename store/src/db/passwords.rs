//! Who may log in: the users' password hashes. Knows no password.

use rekey_protocol::{Digest, UserId};
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
    /// By what the browser is known, if the user has logged in in it before.
    pub known_device: Option<Digest>,
}

/// The hash of a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PasswordHash {
    /// As a PHC string.
    pub phc: String,
    /// When it was set.
    pub changed: UnixMillis,
}

/// Why a password cannot be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PasswordRefusal {
    /// There is no such user.
    UnknownUser,
    /// The user has no address to log in with.
    NoEmail,
    /// The password was changed, or the session ended, since it was checked.
    Changed,
}

/// Finds an account by its address, whatever the case of its letters. Of the
/// devices that a browser may be, the first counts that is the user's.
pub fn account(
    connection: &Connection,
    email: &str,
    devices: &[Digest],
) -> rusqlite::Result<Option<Account>> {
    let account = connection
        .prepare_cached(
            "SELECT u.user_id, p.phc
             FROM users u LEFT JOIN passwords p USING (user_id) WHERE u.email = ?1",
        )?
        .query_row([email], |row| {
            Ok(Account {
                user: columns::user(row, 0)?,
                phc: row.get(1)?,
                known_device: None,
            })
        })
        .optional()?;
    let Some(mut account) = account else {
        return Ok(None);
    };
    let mut is_known =
        connection.prepare_cached("SELECT 1 FROM devices WHERE digest = ?1 AND user_id = ?2")?;
    for device in devices {
        if is_known.exists((device.as_bytes(), account.user.as_str()))? {
            account.known_device = Some(*device);
            break;
        }
    }
    Ok(Some(account))
}

/// The hash of a user's password.
pub fn of_user(connection: &Connection, user: &UserId) -> rusqlite::Result<Option<PasswordHash>> {
    connection
        .prepare_cached("SELECT phc, changed_ms FROM passwords WHERE user_id = ?1")?
        .query_row([user.as_str()], |row| {
            Ok(PasswordHash {
                phc: row.get(0)?,
                changed: UnixMillis(row.get(1)?),
            })
        })
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

/// A change of a user's password, by somebody who is logged in.
#[derive(Debug, Clone)]
pub struct Change {
    /// The hash of the password that was shown.
    pub old: String,
    /// The hash of the new one.
    pub new: String,
    /// The session that asked.
    pub former: Digest,
    /// What it goes on as.
    pub session: sessions::NewSession,
    /// What the browser is to be known by from now on.
    pub device: Digest,
}

/// Changes a password and ends all other sessions.
pub fn change(
    transaction: &Connection,
    now: UnixMillis,
    change: &Change,
) -> rusqlite::Result<Result<(), PasswordRefusal>> {
    let user = &change.session.user;
    let phc = of_user(transaction, user)?.map(|hash| hash.phc);
    // Who was logged out while the passwords were hashed stays out.
    if phc.as_ref() != Some(&change.old) || !sessions::delete(transaction, &change.former)? {
        return Ok(Err(PasswordRefusal::Changed));
    }
    put(transaction, now, user, &change.new)?;
    sessions::close_all(transaction, user)?;
    sessions::insert(transaction, now, &change.session)?;
    sessions::remember(transaction, now, user, &change.device)?;
    let what = ("password_changed", audit::DASHBOARD);
    audit::append_aside(transaction, now, user, what, Some(&change.session.client))?;
    Ok(Ok(()))
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
