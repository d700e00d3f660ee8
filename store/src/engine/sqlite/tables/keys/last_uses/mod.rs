//! When keys were last used, to the hour.

use rekey_protocol::Digest;
use rusqlite::{Connection, OptionalExtension, Row};

use crate::clock::UnixMillis;
use crate::engine::rows::LastUse;
use crate::operations::uses::last_uses::{HOUR_MS, HoursOfUse, hour_of};

/// From `last_used_ms`, and the next column: whether the key is newer than the
/// database's knowledge of uses.
pub(crate) fn read(row: &Row<'_>, index: usize) -> rusqlite::Result<LastUse> {
    let last: Option<i64> = row.get(index)?;
    let is_newer: bool = row.get(index + 1)?;
    Ok(match last {
        // The clock may have been ahead when it was written.
        Some(hour) => LastUse::HourFrom(UnixMillis(hour).min(hour_of(UnixMillis::wall()))),
        None if is_newer => LastUse::Never,
        None => LastUse::NotKnown,
    })
}

/// When this key was last used, whether or not it is still good; `None`: no such
/// key.
pub(crate) fn of_key(
    connection: &Connection,
    digest: &Digest,
) -> rusqlite::Result<Option<LastUse>> {
    connection
        .prepare_cached(
            "SELECT k.last_used_ms, k.created_ms > m.last_uses_since_ms
             FROM keys k, meta m WHERE k.digest = ?1",
        )?
        .query_row([digest.as_bytes()], |row| read(row, 0))
        .optional()
}

/// Moves last uses forwards; one that a wrong clock put behind the present hour is
/// replaced. Of a key that is dead, uses until its end count: a gateway may tell them
/// later. Returns how many rows were written.
pub(crate) fn record(
    transaction: &Connection,
    uses: &HoursOfUse,
    present_hour: UnixMillis,
) -> rusqlite::Result<u64> {
    let mut update = transaction.prepare_cached(
        "UPDATE keys SET last_used_ms = min(?2, ifnull(revoked_ms - revoked_ms % ?4, ?2))
         WHERE digest = ?1 AND (last_used_ms IS NULL OR last_used_ms > ?3
             OR last_used_ms < min(?2, ifnull(revoked_ms - revoked_ms % ?4, ?2)))",
    )?;
    let mut written = 0;
    for (digest, hour) in uses {
        written += update.execute((digest.as_bytes(), hour.0, present_hour.0, HOUR_MS))?;
    }
    Ok(u64::try_from(written).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
