//! A rotation in the database: gathers the facts, lets [`crate::rotation`]
//! decide, and writes what was decided, all in the caller's transaction.

use std::time::Duration;

use rekey_protocol::{Digest, Replay, ResolvedState, RotateRequest, RotationId, SealedKey, UserId};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row};

use crate::clock::{Moment, UnixMillis};
use crate::crash;
use crate::engine::sqlite::audit::{self, Event};
use crate::engine::sqlite::replays::Replays;
use crate::engine::sqlite::{columns, next_revision};
use crate::replay::{self, Kept, Opening};
use crate::rotation::{
    Asked, Facts, OldKey, Recorded, RecordedOutcome, Refusal, RotationInterval, Verdict, decide,
};

/// How long an answer is kept under its rotation id. A gateway stops trying
/// after a minute; an attempt that was frozen on its way may be hours late.
const KEPT: Duration = Duration::from_secs(24 * 3600);
/// Replays of one rotation that the audit log tells of.
const MOST_REPLAYS_TOLD: u32 = 10;

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
    /// The old key was revoked before, by a rotation of this very client, whose
    /// answer this is once more (X3).
    Replayed(Box<Again>),
    /// Refused.
    Refused(Refusal),
    /// Refused, for the old key was revoked before, at this revision; a request
    /// with the right proof would have got more (X5).
    Replayable(u64),
    /// The id was used with other digests.
    Conflict,
}

/// A rotation that is answered again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Again {
    /// Under which it was made.
    pub id: RotationId,
    /// The key that it made.
    pub new_digest: Digest,
    /// That key, sealed for its client.
    pub sealed: SealedKey,
    /// When.
    pub at: UnixMillis,
    /// The revision of the change.
    pub revision: u64,
}

/// Makes the rotation, refuses it, or repeats an earlier one of the same client,
/// in the transaction of the caller.
pub fn rotate(
    transaction: &Connection,
    replays: &mut Replays,
    now: Moment,
    interval: RotationInterval,
    request: &RotateRequest,
) -> rusqlite::Result<Rotated> {
    match attempt(transaction, replays, now, interval, request)? {
        (Rotated::Refused(Refusal::Revoked(revision)), is_repeated) => {
            again(transaction, replays, now, request, (revision, is_repeated))
        }
        (decided, _) => Ok(decided),
    }
}

/// As if there were no replays; and whether it was decided by an earlier attempt.
fn attempt(
    transaction: &Connection,
    replays: &mut Replays,
    now: Moment,
    interval: RotationInterval,
    request: &RotateRequest,
) -> rusqlite::Result<(Rotated, bool)> {
    let asked = Asked {
        attempt: request.attempt,
        old_digest: request.old_digest,
        new_digest: request.new_digest,
    };
    let facts = Facts {
        recorded: recorded(transaction, request.rotation_id)?,
        old: old_key(transaction, &asked.old_digest)?,
        new_exists: crate::engine::sqlite::keys::exists(transaction, &asked.new_digest)?,
    };
    crash::point("rotate.after_lookup");
    match decide(&asked, facts, now.limit, interval) {
        Verdict::Repeat(RecordedOutcome::Rotated { at, user, revision }) => {
            let done = Rotated::Done {
                at,
                user,
                revision,
                repeated: true,
            };
            Ok((done, true))
        }
        Verdict::Repeat(RecordedOutcome::Burned(refusal)) => Ok((Rotated::Refused(refusal), true)),
        Verdict::Conflict => Ok((Rotated::Conflict, false)),
        Verdict::Refuse { refusal, burn } => {
            if burn {
                let (outcome, revision) = refusal_columns(refusal);
                record(transaction, now, request, outcome, None, revision)?;
            }
            Ok((Rotated::Refused(refusal), false))
        }
        Verdict::Commit(old) => {
            let revision = commit(transaction, now, request, (audit::GATEWAY, &old.user))?;
            if let Some(replay) = &request.replay
                && keep(replays, now, request, replay)
            {
                crate::engine::sqlite::keys::set_replayable(transaction, now, &request.old_digest)?;
            }
            crash::point("rotate.after_keep");
            let done = Rotated::Done {
                at: now.told,
                revision,
                user: old.user,
                repeated: false,
            };
            Ok((done, false))
        }
    }
}

/// Keeps the record, if it can be: a rotation without one is better than none.
fn keep(replays: &mut Replays, now: Moment, request: &RotateRequest, replay: &Replay) -> bool {
    let kept = replays.keep(
        now.limit,
        (request.rotation_id, &request.new_digest),
        replay,
    );
    kept.unwrap_or_else(|error| {
        tracing::warn!(%error, "a rotation's answer cannot be repeated: its record was not kept");
        false
    })
}

/// The old key was revoked before, at `revision`: what more than that the request
/// gets (X3, X4). Whatever it is, it is no rotation (I5).
fn again(
    transaction: &Connection,
    replays: &mut Replays,
    now: Moment,
    request: &RotateRequest,
    (revision, is_repeated): (u64, bool),
) -> rusqlite::Result<Rotated> {
    let revoked = Rotated::Refused(Refusal::Revoked(revision));
    // A record counts only together with its committed rotation (X6).
    let Some(made) = made_at(transaction, &request.old_digest, revision)? else {
        return Ok(revoked);
    };
    let Some(found) = replays.find(made.id)? else {
        return Ok(revoked);
    };
    // Without its wrapping key it is as good as gone.
    let Some(content) = replays.content(made.id, &found) else {
        return Ok(revoked);
    };
    let kept = Kept {
        committed: made.at,
        used: found.used,
        failures: found.failures,
        new_is_active: made.new_is_active,
    };
    let proof = request.replay.as_ref();
    let proof = proof.map(|replay| content.is_proved_by(&replay.proof));
    let event = |action| Event {
        user: &made.user,
        action,
        revision,
        old_digest: None,
        new_digest: None,
        hint: None,
        source: audit::GATEWAY,
        rotation_id: Some(made.id),
        client: Some(&request.client),
    };
    match replay::opening(Some(&kept), proof, now.limit) {
        Opening::Closed => Ok(revoked),
        Opening::Unproven => Ok(Rotated::Replayable(revision)),
        // The gateway asks again for the answer to one request: that is one try.
        Opening::Failed { .. } if is_repeated => Ok(Rotated::Replayable(revision)),
        Opening::Failed { last } => {
            // By its id that one is known, whichever attempt of it comes first.
            if request.attempt < 2 {
                let (outcome, at) = refusal_columns(Refusal::Revoked(revision));
                record(transaction, now, request, outcome, None, at)?;
            }
            replays.failed(made.id, last)?;
            audit::append(transaction, now, &event("replay_refused"))?;
            Ok(match last {
                true => revoked,
                false => Rotated::Replayable(revision),
            })
        }
        Opening::Granted => {
            replays.handed_out(made.id)?;
            // The log cannot be pruned, and who asks may ask for ever.
            if found.handed_out < MOST_REPLAYS_TOLD {
                audit::append(transaction, now, &event("replayed"))?;
            }
            Ok(Rotated::Replayed(Box::new(Again {
                id: made.id,
                new_digest: made.new_digest,
                sealed: content.sealed,
                at: made.told,
                revision,
            })))
        }
    }
}

/// A rotation that was committed.
struct MadeRotation {
    id: RotationId,
    new_digest: Digest,
    /// By the limit's clock.
    at: UnixMillis,
    /// As clients are told.
    told: UnixMillis,
    user: UserId,
    new_is_active: bool,
}

/// The rotation that revoked a key at `revision`.
fn made_at(
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
                at: UnixMillis(row.get(2)?),
                told: UnixMillis(row.get(5)?),
                user: columns::user(row, 3)?,
                new_is_active: columns::state(row, 4)? == ResolvedState::Active,
            })
        })
        .optional()
}

/// What every rotation does, by whichever way it was asked for (`source`).
/// Returns its revision.
pub(super) fn commit(
    transaction: &Connection,
    now: Moment,
    request: &RotateRequest,
    (source, user): (&str, &UserId),
) -> rusqlite::Result<u64> {
    let revision = next_revision(transaction, now)?;
    crash::point("rotate.after_revision");
    crate::engine::sqlite::keys::set_revoked(transaction, now, &request.old_digest, revision)?;
    crash::point("rotate.after_revoke_old");
    let (new, hint) = (&request.new_digest, &request.hint);
    crate::engine::sqlite::keys::insert(transaction, now, new, user, Some(hint), revision)?;
    crash::point("rotate.after_insert_new");
    crate::engine::sqlite::users::begin_hour(transaction, now, user)?;
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
    now: Moment,
    request: &RotateRequest,
    outcome: &str,
    user: Option<&UserId>,
    revision: Option<u64>,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "INSERT INTO rotations (rotation_id, old_digest, new_digest, outcome, user_id,
                                    revision, at_ms, told_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute((
            request.rotation_id.0,
            request.old_digest.as_bytes(),
            request.new_digest.as_bytes(),
            outcome,
            user.map(UserId::as_str),
            revision,
            now.limit.0,
            now.told.0,
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

fn old_key(transaction: &Connection, digest: &Digest) -> rusqlite::Result<Option<OldKey>> {
    transaction
        .prepare_cached(
            "SELECT k.state, k.user_id, k.revision, u.last_rotated_ms
             FROM live_keys k JOIN users u USING (user_id) WHERE k.digest = ?1",
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

/// Deletes at most `limit` answers that nobody can ask for any more; how many.
pub fn prune(transaction: &Connection, now: Moment, limit: usize) -> rusqlite::Result<usize> {
    let kept = i64::try_from(KEPT.as_millis()).unwrap_or(i64::MAX);
    transaction
        .prepare_cached(
            "DELETE FROM rotations WHERE rotation_id IN
             (SELECT rotation_id FROM rotations WHERE at_ms < ?1 LIMIT ?2)",
        )?
        .execute((now.limit.0.saturating_sub(kept), limit))
}
