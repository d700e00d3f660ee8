//! The rotations and what was answered to them, by their ids (S11).

use std::time::Duration;

use rekey_protocol::{Digest, ResolvedState, RotationId, UserId};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row};

use crate::clock::{StoreTime, UnixMillis};
use crate::engine::rows::MadeRotation;
use crate::engine::sqlite::columns;
use crate::rules::rotation::{Recorded, RecordedOutcome, Refusal};

/// How long an answer is kept under its rotation id. A gateway stops trying
/// after a minute; an attempt that was frozen on its way may be hours late.
const KEPT: Duration = Duration::from_secs(24 * 3600);

/// The rotation that revoked a key at `revision`.
pub(crate) fn that_revoked(
    transaction: &Connection,
    old: &Digest,
    revision: u64,
) -> rusqlite::Result<Option<MadeRotation>> {
    transaction
        .prepare_cached(
            "SELECT r.rotation_id, r.new_digest, r.at_ms, k.user_id, k.state,
                    coalesce(r.told_ms, r.at_ms)
             FROM rotations r JOIN keys k ON k.digest = r.new_digest
             WHERE r.old_digest = ?1 AND r.outcome = 'rotated' AND r.revision = ?2",
        )?
        .query_row((old.as_bytes(), revision), |row| {
            Ok(MadeRotation {
                id: RotationId(row.get(0)?),
                new_digest: columns::digest(row, 1)?,
                at: StoreTime {
                    told: UnixMillis(row.get(5)?),
                    limit: UnixMillis(row.get(2)?),
                },
                user: columns::user(row, 3)?,
                new_is_active: columns::state(row, 4)? == ResolvedState::Active,
            })
        })
        .optional()
}

/// Puts an answer on record under its rotation id.
pub(crate) fn record(
    transaction: &Connection,
    id: RotationId,
    answer: &Recorded,
    now: StoreTime,
) -> rusqlite::Result<()> {
    let (outcome, user, revision) = match &answer.outcome {
        RecordedOutcome::Rotated { user, revision, .. } => ("rotated", Some(user), Some(*revision)),
        RecordedOutcome::Burned(refusal) => {
            let (outcome, revision) = match *refusal {
                Refusal::UnknownKey => ("unknown_key", None),
                Refusal::Revoked(revision) => ("revoked", Some(revision)),
                Refusal::RateLimited(_) => ("rate_limited", None),
                Refusal::NewKeyExists => ("new_key_exists", None),
            };
            (outcome, None, revision)
        }
    };
    transaction
        .prepare_cached(
            "INSERT INTO rotations (rotation_id, old_digest, new_digest, outcome, user_id,
                                    revision, at_ms, told_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute((
            id.0,
            answer.old_digest.as_bytes(),
            answer.new_digest.as_bytes(),
            outcome,
            user.map(UserId::as_str),
            revision,
            now.limit.0,
            now.told.0,
        ))
        .map(drop)
}

/// What is on record under a rotation id.
pub(crate) fn recorded(
    transaction: &Connection,
    id: RotationId,
) -> rusqlite::Result<Option<Recorded>> {
    transaction
        .prepare_cached(
            "SELECT old_digest, new_digest, outcome, user_id, revision, coalesce(told_ms, at_ms)
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

/// Deletes at most `limit` answers that nobody can ask for any more; how many.
pub(crate) fn prune(
    transaction: &Connection,
    now: StoreTime,
    limit: usize,
) -> rusqlite::Result<usize> {
    let kept = i64::try_from(KEPT.as_millis()).unwrap_or(i64::MAX);
    transaction
        .prepare_cached(
            "DELETE FROM rotations WHERE rotation_id IN
             (SELECT rotation_id FROM rotations WHERE at_ms < ?1 LIMIT ?2)",
        )?
        .execute((now.limit.0.saturating_sub(kept), limit))
}
