//! The history: its head, its revisions, and what was revoked since (S2,
//! S8, S9).

use rekey_protocol::{Change, Head, Incarnation};
use rusqlite::Connection;

use super::columns;
use crate::clock::Moment;

/// At most `limit` revocations after a revision, oldest first.
pub fn revoked_after(
    connection: &Connection,
    revision: u64,
    limit: usize,
) -> rusqlite::Result<Vec<Change>> {
    connection
        .prepare_cached(
            "SELECT digest, revision,
                    ifnull(replay_until_ms > (SELECT time_ms FROM meta), 0)
             FROM keys WHERE revision > ?1 AND state = 'revoked'
             ORDER BY revision LIMIT ?2",
        )?
        .query_map((revision, limit), |row| {
            let digest = columns::digest(row, 0)?;
            Ok(Change {
                digest,
                revision: row.get(1)?,
                replayable: row.get(2)?,
            })
        })?
        .collect()
}

/// Where the history stands.
pub fn head(connection: &Connection) -> rusqlite::Result<Head> {
    connection
        .prepare_cached(
            "SELECT m.revision, i.id FROM meta m, incarnations i
             ORDER BY i.first_revision DESC LIMIT 1",
        )?
        .query_row([], |row| {
            Ok(Head {
                revision: row.get(0)?,
                incarnation: Incarnation(row.get(1)?),
            })
        })
}

/// Counts one change: every change has a revision of its own. Notes the time
/// that it acted upon, which is never forgotten (S12).
pub fn next_revision(transaction: &Connection, now: Moment) -> rusqlite::Result<u64> {
    transaction
        .prepare_cached(
            "UPDATE meta SET revision = revision + 1, time_ms = max(time_ms, ?1), wall_ms = ?2
             RETURNING revision",
        )?
        .query_row([now.limit.0, now.told.0], |row| row.get(0))
}

/// Puts the longest lease on record.
pub fn record_lease(transaction: &Connection, lease_ms: u32) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("UPDATE meta SET longest_lease_ms = max(longest_lease_ms, ?1)")?
        .execute([lease_ms])
        .map(drop)
}
