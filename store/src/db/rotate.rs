//! A rotation in the database: gathers the facts, lets [`crate::rotation`]
//! decide, and writes what was decided, all in the caller's transaction.

use std::time::Duration;

use rekey_protocol::{Digest, RotateRequest, RotationId, UserId};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row};

use super::audit::{self, Event};
use super::{columns, next_revision};
use crate::clock::UnixMillis;
use crate::crash;
use crate::rotation::{
    Asked, Facts, OldKey, Recorded, RecordedOutcome, Refusal, RotationInterval, Verdict, decide,
};

/// How long an answer is kept under its rotation id. A gateway stops trying
/// after a minute; an attempt that was frozen on its way may be hours late.
const KEPT: Duration = Duration::from_secs(24 * 3600);
/// Answers deleted at a time, so that no transaction grows long over it.
const PRUNED_AT_ONCE: u32 = 10_000;

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rotated {
    /// Committed, now or (`repeated`) by an earlier attempt.
    Done {
        /// When.
        at: UnixMillis,
        /// Whose key it is.
        user: UserId,
        /// The revision of the change.
        revision: u64,
        /// By an earlier attempt.
        repeated: bool,
    },
    /// Refused.
    Refused(Refusal),
    /// The id was used with other digests.
    Conflict,
}

/// Makes the rotation, or refuses it, in the transaction of the caller.
pub fn rotate(
    transaction: &Connection,
    now: UnixMillis,
    interval: RotationInterval,
    request: &RotateRequest,
) -> rusqlite::Result<Rotated> {
    let asked = Asked {
        attempt: request.attempt,
        old_digest: request.old_digest,
        new_digest: request.new_digest,
    };
    let facts = Facts {
        recorded: recorded(transaction, request.rotation_id)?,
        old: old_key(transaction, &asked.old_digest)?,
        new_exists: super::keys::exists(transaction, &asked.new_digest)?,
    };
    crash::point("rotate.after_lookup");
    match decide(&asked, facts, now, interval) {
        Verdict::Repeat(RecordedOutcome::Rotated { at, user, revision }) => Ok(Rotated::Done {
            at,
            user,
            revision,
            repeated: true,
        }),
        Verdict::Repeat(RecordedOutcome::Burned(refusal)) => Ok(Rotated::Refused(refusal)),
        Verdict::Conflict => Ok(Rotated::Conflict),
        Verdict::Refuse { refusal, burn } => {
            if burn {
                let (outcome, revision) = refusal_columns(refusal);
                record(transaction, now, request, outcome, None, revision)?;
            }
            Ok(Rotated::Refused(refusal))
        }
        Verdict::Commit(old) => Ok(Rotated::Done {
            at: now,
            revision: commit(transaction, now, request, (audit::GATEWAY, &old.user))?,
            user: old.user,
            repeated: false,
        }),
    }
}

/// What every rotation does, by whichever way it was asked for (`source`).
/// Returns its revision.
pub(super) fn commit(
    transaction: &Connection,
    now: UnixMillis,
    request: &RotateRequest,
    (source, user): (&str, &UserId),
) -> rusqlite::Result<u64> {
    let revision = next_revision(transaction, now)?;
    crash::point("rotate.after_revision");
    super::keys::set_revoked(transaction, now, &request.old_digest, revision)?;
    crash::point("rotate.after_revoke_old");
    let (new, hint) = (&request.new_digest, &request.hint);
    super::keys::insert(transaction, now, new, user, Some(hint), revision)?;
    crash::point("rotate.after_insert_new");
    super::users::begin_hour(transaction, now, user)?;
    crash::point("rotate.after_limit");
    audit::append(
        transaction,
        now,
        &Event {
            user,
            action: "rotated",
            revision,
            old_digest: Some(&request.old_digest),
            new_digest: Some(new),
            hint: Some(hint),
            source,
            rotation_id: Some(request.rotation_id),
            client: Some(&request.client),
        },
    )?;
    crash::point("rotate.after_audit");
    record(
        transaction,
        now,
        request,
        "rotated",
        Some(user),
        Some(revision),
    )?;
    crash::point("rotate.after_record");
    Ok(revision)
}

/// Puts an answer on record under its rotation id.
pub(super) fn record(
    transaction: &Connection,
    now: UnixMillis,
    request: &RotateRequest,
    outcome: &str,
    user: Option<&UserId>,
    revision: Option<u64>,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("INSERT INTO rotations VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?
        .execute((
            request.rotation_id.0,
            request.old_digest.as_bytes(),
            request.new_digest.as_bytes(),
            outcome,
            user.map(UserId::as_str),
            revision,
            now.0,
        ))
        .map(drop)
}

fn refusal_columns(refusal: Refusal) -> (&'static str, Option<u64>) {
    match refusal {
        Refusal::UnknownKey => ("unknown_key", None),
        Refusal::Revoked(revision) => ("revoked", Some(revision)),
        Refusal::RateLimited(_) => ("rate_limited", None),
        Refusal::NewKeyExists => ("new_key_exists", None),
    }
}

/// What is on record under a rotation id.
pub(super) fn recorded(
    transaction: &Connection,
    id: RotationId,
) -> rusqlite::Result<Option<Recorded>> {
    transaction
        .prepare_cached(
            "SELECT old_digest, new_digest, outcome, user_id, revision, at_ms
             FROM rotations WHERE rotation_id = ?1",
        )?
        .query_row([id.0], |row| {
            Ok(Recorded {
                old_digest: columns::digest(row, 0)?,
                new_digest: columns::digest(row, 1)?,
                outcome: outcome(row)?,
            })
        })
        .optional()
}

fn outcome(row: &Row<'_>) -> rusqlite::Result<RecordedOutcome> {
    let refusal = match row.get_ref(2)?.as_str()? {
        "rotated" => {
            return Ok(RecordedOutcome::Rotated {
                at: UnixMillis(row.get(5)?),
                user: columns::user(row, 3)?,
                revision: row.get(4)?,
            });
        }
        "revoked" => Refusal::Revoked(row.get(4)?),
        // How long is reckoned anew.
        "rate_limited" => Refusal::RateLimited(1),
        "unknown_key" => Refusal::UnknownKey,
        "new_key_exists" => Refusal::NewKeyExists,
        _ => {
            return Err(rusqlite::Error::InvalidColumnType(
                2,
                "outcome".into(),
                Type::Text,
            ));
        }
    };
    Ok(RecordedOutcome::Burned(refusal))
}

fn old_key(transaction: &Connection, digest: &Digest) -> rusqlite::Result<Option<OldKey>> {
    transaction
        .prepare_cached(
            "SELECT k.state, k.user_id, k.revision, u.last_rotated_ms
             FROM keys k JOIN users u USING (user_id) WHERE k.digest = ?1",
        )?
        .query_row([digest.as_bytes()], |row| {
            Ok(OldKey {
                state: columns::state(row, 0)?,
                user: columns::user(row, 1)?,
                revision: row.get(2)?,
                last_rotated: row.get::<_, Option<i64>>(3)?.map(UnixMillis),
            })
        })
        .optional()
}

/// Deletes answers that nobody can ask for any more.
pub fn prune(transaction: &Connection, now: UnixMillis) -> rusqlite::Result<()> {
    let kept = i64::try_from(KEPT.as_millis()).unwrap_or(i64::MAX);
    transaction
        .prepare_cached(
            "DELETE FROM rotations WHERE rotation_id IN
             (SELECT rotation_id FROM rotations WHERE at_ms < ?1 LIMIT ?2)",
        )?
        .execute((now.0.saturating_sub(kept), PRUNED_AT_ONCE))
        .map(drop)
}
