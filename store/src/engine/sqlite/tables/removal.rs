//! Removing a user, and changing a user's address.
//!
//! The audit log is append-only, and the keys of a removed user stay known as
//! revoked. Both go on under a pseudonym: in one transaction every row of the user
//! gets the pseudonym's name, which is all that can be changed of the log. The old
//! id stays behind as a name that nobody gets again, because the API may know the
//! person by it. Nothing on record says which pseudonym that was.

use rekey_protocol::{Digest, UserId};
use rusqlite::Connection;

use crate::clock::Moment;
use crate::email::Email;
use crate::engine::rows::{By, Event, Standing};
use crate::engine::sqlite::{audit, columns, history, imports, keys, people, sessions, users};

/// Why a user cannot be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemoveRefusal {
    /// There is no such user.
    UnknownUser,
    /// An import that is under way brings a key of the user.
    BeingImported,
}

/// A user who is not here any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    /// What the audit log calls the user from now on; `None`: the user had been
    /// removed before.
    pub pseudonym: Option<UserId>,
    /// When its barrier is open, no gateway accepts the user's key.
    pub revision: u64,
}

/// Removes a user: the key is revoked, and address, password, sessions and devices
/// are deleted. To do it again changes nothing.
pub fn remove(
    transaction: &Connection,
    now: Moment,
    user: &UserId,
    pseudonym: &UserId,
) -> rusqlite::Result<Result<Removed, RemoveRefusal>> {
    match users::standing(transaction, user)? {
        None => return Ok(Err(RemoveRefusal::UnknownUser)),
        Some(Standing::Here) => {}
        Some(Standing::Removed | Standing::Pseudonym) => {
            // S7: the call that removed the user may not have waited.
            let revision = history::head(transaction)?.revision;
            return Ok(Ok(Removed {
                pseudonym: None,
                revision,
            }));
        }
    }
    // Its key would be good again when the import counts.
    if imports::reserves(transaction, user.as_str(), None)? {
        return Ok(Err(RemoveRefusal::BeingImported));
    }
    let revision = history::next_revision(transaction, now)?;
    let active = transaction
        .prepare_cached("SELECT digest FROM keys WHERE user_id = ?1 AND state = 'active'")?
        .query_map([user.as_str()], |row| columns::digest(row, 0))?
        .collect::<rusqlite::Result<Vec<Digest>>>()?
        .pop();
    if let Some(digest) = &active {
        // Keys are found by the log, which may not have this one yet.
        imports::tell_of(transaction, digest)?;
        keys::set_revoked(transaction, digest, now.told, revision)?;
    }
    transaction
        .prepare_cached(
            "INSERT INTO users (user_id, created_ms, last_rotated_ms, rotated_told_ms, removed)
             SELECT ?2, created_ms, last_rotated_ms, rotated_told_ms, 2 FROM users
             WHERE user_id = ?1",
        )?
        .execute((user.as_str(), pseudonym.as_str()))?;
    // The keys by the audit log, which has each of them: keys have no index by user.
    for rename in [
        "UPDATE keys SET user_id = ?2 WHERE digest IN (
             SELECT new_digest FROM audit WHERE user_id = ?1 AND new_digest IS NOT NULL
             UNION SELECT old_digest FROM audit WHERE user_id = ?1 AND old_digest IS NOT NULL)
         AND user_id = ?1",
        "UPDATE rotations SET user_id = ?2 WHERE outcome = 'rotated' AND old_digest IN (
             SELECT old_digest FROM audit WHERE user_id = ?1 AND old_digest IS NOT NULL)",
        "UPDATE old_key_uses SET user_id = ?2 WHERE user_id = ?1",
        "UPDATE audit SET user_id = ?2 WHERE user_id = ?1",
    ] {
        transaction
            .prepare_cached(rename)?
            .execute((user.as_str(), pseudonym.as_str()))?;
    }
    sessions::close_all(transaction, user)?;
    transaction
        .prepare_cached("DELETE FROM passwords WHERE user_id = ?1")?
        .execute([user.as_str()])?;
    // Not the time either: it is the one of the pseudonym's first event.
    transaction
        .prepare_cached(
            "UPDATE users SET email = NULL, email_normal = NULL, email_nth = 0, created_ms = 0,
                 last_rotated_ms = NULL, rotated_told_ms = NULL, removed = 1
             WHERE user_id = ?1",
        )?
        .execute([user.as_str()])?;
    let event = Event {
        user: pseudonym,
        action: "user_removed",
        revision,
        old_digest: active.as_ref(),
        new_digest: None,
        hint: None,
        rotation_id: None,
        by: By::OPERATOR,
    };
    audit::append(transaction, now, &event)?;
    Ok(Ok(Removed {
        pseudonym: Some(pseudonym.clone()),
        revision,
    }))
}

/// Why a user gets no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmailRefusal {
    /// There is no such user.
    UnknownUser,
    /// Another user has the address.
    Taken,
}

/// Gives a user an address to log in with, in place of the present one if there is
/// one.
pub fn set_email(
    transaction: &Connection,
    now: Moment,
    user: &UserId,
    email: &Email,
) -> rusqlite::Result<Result<(), EmailRefusal>> {
    if !users::exists(transaction, user)? {
        return Ok(Err(EmailRefusal::UnknownUser));
    }
    if people::is_anothers(transaction, user, email)? {
        return Ok(Err(EmailRefusal::Taken));
    }
    transaction
        .prepare_cached(
            "UPDATE users SET email = ?2, email_normal = ?3, email_nth = 0 WHERE user_id = ?1",
        )?
        .execute((user.as_str(), email.as_str(), email.normal()))?;
    audit::append_aside(transaction, now, user, "email_set", By::OPERATOR)?;
    Ok(Ok(()))
}
