//! Begins a life of the store, as every start does (S8): a new incarnation
//! row and a jump of the revision, whether the database is an older one, and what
//! the change feed begins with (S9).

use std::time::Duration;

use rekey_protocol::{Incarnation, LEASE_CAP_MS};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use crate::clock::{Moment, UnixMillis};
use crate::engine::sqlite::OpenError;
use crate::engine::sqlite::record::{Mark, Past};
use crate::feed::core::Start;
use crate::feed::history::{History, Life};

/// How far the wall clock may have gone on since the record to be believed in.
const LONGEST_LEAP: Duration = Duration::from_secs(366 * 24 * 3600);
/// The year 2200. In microseconds that leaves 1.7 × 10^15 revisions below 2^53, which
/// is what JSON can say.
const LATEST_LEAP: UnixMillis = UnixMillis(7_258_118_400_000);

pub fn random_incarnation() -> Result<Incarnation, OpenError> {
    let mut id = [0_u8; 16];
    getrandom::fill(&mut id).map_err(|error| {
        OpenError::Other(rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
    })?;
    Ok(Incarnation(id))
}

/// What a life begins with.
#[derive(Debug, Clone, Copy)]
pub struct Begin {
    /// Its id.
    pub id: Incarnation,
    /// What the wall clock says.
    pub wall: UnixMillis,
    /// What was found beside the database.
    pub past: Past,
    /// The operator knows that the database is an older backup.
    pub accept_restore: bool,
}

#[cfg(test)]
impl Begin {
    /// The first life of a database, for a test.
    pub fn first(wall: UnixMillis) -> Self {
        Self {
            id: Incarnation([1; 16]),
            wall,
            past: Past::Nothing,
            accept_restore: false,
        }
    }
}

/// A life that has begun.
#[derive(Debug)]
pub struct Begun {
    /// What the change feed begins with.
    pub feed: Start,
    /// How far the history is.
    pub mark: Mark,
    /// The last moment that was acted upon; none in a new database.
    pub time: Option<Moment>,
}

/// S8: a new id, and a first revision past anything used before, even
/// by a history that a restored backup does not remember.
pub fn begin_incarnation(connection: &mut Connection, begin: &Begin) -> Result<Begun, OpenError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let is_restored = is_restored(&transaction, begin.past)? && !begin.accept_restore;
    transaction.execute(
        "UPDATE incarnations SET last_revision = (SELECT revision FROM meta),
                                 last_commits = (SELECT commits FROM meta)
         WHERE last_revision IS NULL",
        [],
    )?;
    let served_last = match begin.past {
        Past::Known(record) => record.mark.map_or(0, |mark| mark.revision),
        Past::Nothing | Past::Unknown => 0,
    };
    let (before, time) = transaction.query_row(
        "SELECT revision, time_ms, coalesce(wall_ms, time_ms) FROM meta",
        [],
        |row| {
            let (limit, told) = (UnixMillis(row.get(1)?), UnixMillis(row.get(2)?));
            let time = (limit.0 > 0).then_some(Moment { told, limit });
            Ok((row.get::<_, u64>(0)?, time))
        },
    )?;
    // An accepted restore may be of any age.
    let known = time.filter(|_| !begin.accept_restore).map(|time| time.told);
    let revision = first_revision(before.max(served_last), known, begin.wall);
    // S8: a database that is behind must not catch up by being looked at.
    let mark = transaction.query_row(
        "UPDATE meta SET revision = ?1, commits = commits + ?2, anchor = (SELECT value FROM anchor)
         RETURNING revision, commits",
        (revision, !is_restored),
        |row| {
            let (revision, commits) = (row.get(0)?, row.get(1)?);
            Ok(Mark { commits, revision })
        },
    )?;
    transaction.execute(
        "INSERT INTO incarnations (first_revision, id, started_ms) VALUES (?1, ?2, ?3)",
        (mark.revision, begin.id.0, begin.wall.0),
    )?;
    if begin.accept_restore {
        transaction.execute("UPDATE meta SET accepted_before = revision", [])?;
        // Who logged out since the backup stays out.
        transaction.execute("DELETE FROM sessions", [])?;
        transaction.execute("DELETE FROM devices", [])?;
    }
    let feed = feed_start(&transaction, begin, is_restored)?;
    transaction.commit()?;
    Ok(Begun { feed, mark, time })
}

/// S8: whether more was served last than the database knows: another life, or more
/// of it. What the database did in later lives does not count: a backup may have been
/// tried out somewhere else.
pub fn is_restored(connection: &Connection, past: Past) -> rusqlite::Result<bool> {
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
    let far = connection
        .prepare(
            "SELECT coalesce(last_revision, revision),
                    CASE WHEN last_revision IS NULL THEN commits ELSE last_commits END
             FROM incarnations, meta WHERE id = ?1",
        )?
        .query_row([last.incarnation.0], |row| {
            Ok((row.get::<_, u64>(0)?, row.get::<_, Option<u64>>(1)?))
        })
        .optional()?;
    let Some((revision, commits)) = far else {
        return Ok(true);
    };
    Ok(last.mark.is_some_and(|mark| {
        revision < mark.revision || commits.is_some_and(|commits| commits < mark.commits)
    }))
}

/// S8: the first revision of a life. The wall clock is past anything that was used
/// before, as long as it is right: one that leaps by more than a year, or past the year
/// 2200, is not believed. Then it is the next one. Nothing depends on the leap but what
/// a lost history has used, and that is known by its lives' ids, too.
fn first_revision(before: u64, known: Option<UnixMillis>, wall: UnixMillis) -> u64 {
    let leaps = known.is_some_and(|known| wall.since(known) > LONGEST_LEAP);
    if leaps || wall > LATEST_LEAP {
        tracing::warn!(
            told = wall.rfc3339(),
            "the system's clock is not believed: revisions go on from the record"
        );
        return before + 1;
    }
    let by_clock = u64::try_from(wall.0.saturating_mul(1000)).unwrap_or_default();
    by_clock.max(before + 1)
}

/// What the change feed needs to know of the past: of the database, in which
/// the present life has begun already, and of what was found beside it.
fn feed_start(
    connection: &Connection,
    begin: &Begin,
    is_restored: bool,
) -> Result<Start, OpenError> {
    let lives: Vec<_> = connection
        .prepare("SELECT id, first_revision, last_revision FROM incarnations")?
        .query_map([], |row| {
            let incarnation = Incarnation(row.get(0)?);
            Ok(Life {
                incarnation,
                first: row.get(1)?,
                last: row.get(2)?,
            })
        })?
        .collect::<Result<_, _>>()?;
    let (longest_lease_ms, accepted_before) = connection.query_row(
        "SELECT longest_lease_ms, accepted_before FROM meta",
        [],
        |row| Ok((row.get::<_, u32>(0)?, row.get(1)?)),
    )?;
    // S9: a lease of a history that was lost, or of which nothing is known,
    // may be as long as there are.
    let held_lease_ms = match begin.past {
        _ if is_restored || begin.accept_restore => LEASE_CAP_MS,
        Past::Known(last) => last.longest_lease_ms.max(longest_lease_ms),
        Past::Nothing if lives.len() == 1 => longest_lease_ms,
        Past::Nothing | Past::Unknown => LEASE_CAP_MS,
    };
    Ok(Start {
        history: History::new(lives, crate::engine::sqlite::history::head(connection)?),
        longest_lease_ms,
        held_lease_ms,
        // As long as this life lasts, so that the flag always helps.
        accepted_before: match begin.accept_restore {
            true => u64::MAX,
            false => accepted_before,
        },
        restored: is_restored,
    })
}
