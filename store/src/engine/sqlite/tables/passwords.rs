//! Who may log in: the users' password hashes. Knows no password.

use rekey_protocol::{Digest, UserId};
use rusqlite::{Connection, OptionalExtension};

use crate::clock::{Moment, UnixMillis};
use crate::engine::rows::By;
use crate::engine::sqlite::{audit, people, sessions, users};
use crate::password::{Spelling, StoredHash};

/// Whom an e-mail address belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The user.
    pub user: UserId,
    /// The hash of the password; `None`: cannot log in.
    pub hash: Option<StoredHash>,
    /// By what the browser is known, if the user has logged in in it before.
    pub known_device: Option<Digest>,
}

/// The hash of a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PasswordHash {
    /// What is kept of it.
    pub stored: StoredHash,
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

/// Finds an account by its address, however that is spelled. Of the devices that a
/// browser may be, the first counts that is the user's.
pub fn account(
    connection: &Connection,
    email: &str,
    devices: &[Digest],
) -> rusqlite::Result<Option<Account>> {
    let Some(user) = people::owner(connection, email)? else {
        return Ok(None);
    };
    let mut known_device = None;
    let mut is_known =
        connection.prepare_cached("SELECT 1 FROM devices WHERE digest = ?1 AND user_id = ?2")?;
    for device in devices {
        if is_known.exists((device.as_bytes(), user.as_str()))? {
            known_device = Some(*device);
            break;
        }
    }
    Ok(Some(Account {
        hash: of_user(connection, &user)?.map(|hash| hash.stored),
        user,
        known_device,
    }))
}

/// The hash of a user's password.
pub fn of_user(connection: &Connection, user: &UserId) -> rusqlite::Result<Option<PasswordHash>> {
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

/// The operator sets a password; the user is logged out everywhere.
pub fn set(
    transaction: &Connection,
    now: Moment,
    user: &UserId,
    phc: &str,
) -> rusqlite::Result<Result<(), PasswordRefusal>> {
    if !users::exists(transaction, user)? {
        return Ok(Err(PasswordRefusal::UnknownUser));
    }
    let has_email = transaction
        .prepare_cached("SELECT 1 FROM live_users WHERE user_id = ?1 AND email IS NOT NULL")?
        .exists([user.as_str()])?;
    if !has_email {
        return Ok(Err(PasswordRefusal::NoEmail));
    }
    put(transaction, now.told, user, phc)?;
    sessions::close_all(transaction, user)?;
    audit::append_aside(transaction, now, user, "password_set", By::OPERATOR)?;
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
    now: Moment,
    change: &Change,
) -> rusqlite::Result<Result<(), PasswordRefusal>> {
    let user = &change.session.user;
    let phc = of_user(transaction, user)?.map(|hash| hash.stored.phc);
    // Who was logged out while the passwords were hashed stays out.
    if phc.as_ref() != Some(&change.old) || !sessions::delete(transaction, &change.former)? {
        return Ok(Err(PasswordRefusal::Changed));
    }
    put(transaction, now.told, user, &change.new)?;
    sessions::close_all(transaction, user)?;
    sessions::insert(transaction, now, &change.session)?;
    sessions::remember(transaction, now, user, &change.device)?;
    let by = By::dashboard(&change.session.client);
    audit::append_aside(transaction, now, user, "password_changed", by)?;
    Ok(Ok(()))
}

/// Replaces the hash of a password that stays what it is.
pub fn renew(transaction: &Connection, user: &UserId, phc: &str) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("UPDATE passwords SET phc = ?2, normal = 1 WHERE user_id = ?1")?
        .execute((user.as_str(), phc))
        .map(drop)
}

/// Sets or replaces the hash, which is of the password's normal form.
pub fn put(
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
