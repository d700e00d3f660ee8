//! The incarnations of the store as SQLite has them (S8). What an incarnation begins with is
//! decided in [`crate::operations::incarnation`].

use rekey_protocol::Incarnation;
use rusqlite::{Connection, TransactionBehavior};

use crate::engine::record::Past;
use crate::engine::sqlite::{OpenError, SqliteTx, history};
use crate::operations::incarnation::{self, Begin, Begun};

pub(crate) fn random_incarnation() -> Result<Incarnation, OpenError> {
    let mut id = [0_u8; 16];
    getrandom::fill(&mut id).map_err(|error| {
        OpenError::Other(rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
    })?;
    Ok(Incarnation(id))
}

/// Begins an incarnation, in a transaction of its own (S8).
pub(crate) fn begin_incarnation(
    connection: &mut Connection,
    begin: &Begin,
) -> Result<Begun, OpenError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let begun = begin.apply(&mut SqliteTx::reading(&transaction))?;
    transaction.commit()?;
    Ok(begun)
}

/// As [`incarnation::is_restored`], also of a database whose schema is an older one.
pub(crate) fn is_restored(connection: &Connection, past: Past) -> rusqlite::Result<bool> {
    let Past::Known(last) = past else {
        return Ok(false);
    };
    let has_mark = "SELECT 1 FROM pragma_table_info('meta') WHERE name = 'commits'";
    if !connection.prepare(has_mark)?.exists([])? {
        let is_known = "SELECT 1 FROM incarnations WHERE id = ?1";
        // Of before there was a mark, and this one has been served since.
        return Ok(last.mark.is_some_and(|mark| mark.commits > 0)
            || !connection.prepare(is_known)?.exists([last.incarnation.0])?);
    }
    Ok(incarnation::is_restored(
        &history::reached(connection)?,
        past,
    ))
}
