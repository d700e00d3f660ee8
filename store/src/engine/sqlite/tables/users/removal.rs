//! Takes a removed user's name out of all tables.
//!
//! The audit log is append-only, and the keys of a removed user stay known as
//! revoked. Both go on under a pseudonym: in one transaction every row of the user
//! gets the pseudonym's name, which is all that can be changed of the log. The old
//! id stays behind as a name that nobody gets again, because the API may know the
//! person by it. Nothing on record says which pseudonym that was.

use rekey_protocol::{Digest, UserId};
use rusqlite::{Connection, OptionalExtension};

use crate::engine::sqlite::{columns, imports};

/// Gives all that there is of a user to a pseudonym, and leaves the id behind.
pub(crate) fn make_pseudonymous(
    transaction: &Connection,
    user: &UserId,
    pseudonym: &UserId,
) -> rusqlite::Result<()> {
    tell_of_active(transaction, user)?;
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
        .execute([user.as_str()])
        .map(drop)
}

/// Keys are found by the log, which may not have an imported one yet. It has those
/// that are revoked.
fn tell_of_active(transaction: &Connection, user: &UserId) -> rusqlite::Result<()> {
    let active: Option<Digest> = transaction
        .prepare_cached("SELECT digest FROM keys WHERE user_id = ?1 AND state = 'active'")?
        .query_row([user.as_str()], |row| columns::digest(row, 0))
        .optional()?;
    match &active {
        Some(digest) => imports::tell_of(transaction, digest),
        None => Ok(()),
    }
}
