//! Reads our own types from a row.

use rekey_protocol::{Digest, ResolvedState, UserId};
use rusqlite::Row;
use rusqlite::types::Type;

fn invalid(index: usize, what: &str, found: Type) -> rusqlite::Error {
    rusqlite::Error::InvalidColumnType(index, what.to_owned(), found)
}

/// A digest, from its 32 bytes.
pub(crate) fn digest(row: &Row<'_>, index: usize) -> rusqlite::Result<Digest> {
    row.get(index).map(Digest::from_bytes)
}

/// A digest or NULL.
pub(crate) fn digest_opt(row: &Row<'_>, index: usize) -> rusqlite::Result<Option<Digest>> {
    Ok(row
        .get::<_, Option<[u8; 32]>>(index)?
        .map(Digest::from_bytes))
}

/// A user id, checked again: nothing else may reach a header.
pub(crate) fn user(row: &Row<'_>, index: usize) -> rusqlite::Result<UserId> {
    UserId::try_from(row.get::<_, String>(index)?)
        .map_err(|_| invalid(index, "user_id", Type::Text))
}

/// The state of a key.
pub(crate) fn state(row: &Row<'_>, index: usize) -> rusqlite::Result<ResolvedState> {
    match row.get_ref(index)?.as_str()? {
        "active" => Ok(ResolvedState::Active),
        "revoked" => Ok(ResolvedState::Revoked),
        _ => Err(invalid(index, "state", Type::Text)),
    }
}
