//! The history: its head, its revisions, and what was revoked since (S2,
//! S8, S9).

use rekey_protocol::{Head, Incarnation, Revocation};
use rusqlite::Connection;

use super::columns;
use crate::clock::{StoreTime, UnixMillis};
use crate::engine::record::Mark;
use crate::engine::rows::{IncarnationEnd, KnownIncarnation, KnownPast, NewIncarnation, Reached};

/// At most `limit` revocations after a revision, oldest first.
pub(crate) fn revoked_after(
    connection: &Connection,
    revision: u64,
    limit: usize,
) -> rusqlite::Result<Vec<Revocation>> {
    connection
        .prepare_cached(
            "SELECT digest, revision,
                    ifnull(replay_until_ms > (SELECT time_ms FROM meta), 0)
             FROM keys WHERE revision > ?1 AND state = 'revoked'
             ORDER BY revision LIMIT ?2",
        )?
        .query_map((revision, limit), |row| {
            let digest = columns::digest(row, 0)?;
            Ok(Revocation {
                digest,
                revision: row.get(1)?,
                replayable: row.get(2)?,
            })
        })?
        .collect()
}

/// Where the history stands.
pub(crate) fn head(connection: &Connection) -> rusqlite::Result<Head> {
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
pub(crate) fn next_revision(transaction: &Connection, now: StoreTime) -> rusqlite::Result<u64> {
    transaction
        .prepare_cached(
            "UPDATE meta SET revision = revision + 1, time_ms = max(time_ms, ?1), wall_ms = ?2
             RETURNING revision",
        )?
        .query_row([now.limit.0, now.told.0], |row| row.get(0))
}

/// Puts the longest lease on record.
pub(crate) fn record_lease(transaction: &Connection, lease_ms: u32) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("UPDATE meta SET longest_lease_ms = max(longest_lease_ms, ?1)")?
        .execute([lease_ms])
        .map(drop)
}

/// All incarnations, and how far the database is.
pub(crate) fn reached(connection: &Connection) -> rusqlite::Result<Reached> {
    let incarnations = connection
        .prepare("SELECT id, first_revision, last_revision, last_commits FROM incarnations")?
        .query_map([], |row| {
            let last: Option<u64> = row.get(2)?;
            let commits = row.get(3)?;
            Ok(KnownIncarnation {
                id: Incarnation(row.get(0)?),
                first: row.get(1)?,
                end: last.map(|revision| IncarnationEnd { revision, commits }),
            })
        })?
        .collect::<Result<_, _>>()?;
    let mark = connection.query_row("SELECT revision, commits FROM meta", [], |row| {
        let (revision, commits) = (row.get(0)?, row.get(1)?);
        Ok(Mark { commits, revision })
    })?;
    Ok(Reached { incarnations, mark })
}

/// What the database knows of the past.
pub(crate) fn known_past(connection: &Connection) -> rusqlite::Result<KnownPast> {
    let reached = reached(connection)?;
    connection.query_row(
        "SELECT time_ms, coalesce(wall_ms, time_ms), longest_lease_ms, accepted_before FROM meta",
        [],
        |row| {
            let (limit, told) = (UnixMillis(row.get(0)?), UnixMillis(row.get(1)?));
            Ok(KnownPast {
                reached,
                time: (limit.0 > 0).then_some(StoreTime { told, limit }),
                longest_lease_ms: row.get(2)?,
                accepted_before: row.get(3)?,
            })
        },
    )
}

/// Ends the incarnation before, and begins this one.
pub(crate) fn begin_incarnation(
    transaction: &Connection,
    incarnation: &NewIncarnation,
) -> rusqlite::Result<Mark> {
    transaction.execute(
        "UPDATE incarnations SET last_revision = (SELECT revision FROM meta),
                                 last_commits = (SELECT commits FROM meta)
         WHERE last_revision IS NULL",
        [],
    )?;
    let mark = transaction.query_row(
        "UPDATE meta SET revision = ?1, commits = commits + ?2, anchor = (SELECT value FROM anchor)
         RETURNING revision, commits",
        (incarnation.first, incarnation.is_counted),
        |row| {
            let (revision, commits) = (row.get(0)?, row.get(1)?);
            Ok(Mark { commits, revision })
        },
    )?;
    transaction.execute(
        "INSERT INTO incarnations (first_revision, id, started_ms) VALUES (?1, ?2, ?3)",
        (mark.revision, incarnation.id.0, incarnation.began.0),
    )?;
    Ok(mark)
}

/// Cursors before this revision may be of a history whose loss was accepted.
pub(crate) fn accept_loss_before(transaction: &Connection, revision: u64) -> rusqlite::Result<()> {
    transaction
        .execute("UPDATE meta SET accepted_before = ?1", [revision])
        .map(drop)
}
