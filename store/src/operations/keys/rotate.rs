//! A rotation: gathers the facts, lets [`crate::rules::rotation`] decide, and writes what
//! was decided.

use std::time::Duration;

use rekey_protocol::{REPLAY_WINDOW_MS, RotateRequest, UserId};

use super::replays::{Again, TooLate};
use crate::clock::UnixMillis;
use crate::crash;
use crate::engine::Tx;
use crate::engine::look::Look;
use crate::engine::rows::{By, Event, NewKey};
use crate::engine::tx::settle;
use crate::operations::audit::action::Action;
use crate::operations::{Context, Kind, Operation};
use crate::rules::rotation::{Asked, Facts, Recorded, RecordedOutcome, Refusal, Verdict, decide};

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

/// Makes the rotation that a gateway asks for, refuses it, or repeats an earlier one
/// of the same client.
#[derive(Debug, Clone)]
pub struct Rotate(pub RotateRequest);

impl Operation for Rotate {
    type Out = Rotated;

    const KIND: Kind = Kind::Rotation;

    fn settle(out: &mut Rotated, committed: u64) {
        // All others are of an earlier change.
        if let Rotated::Done { revision, .. } = out {
            settle(revision, committed);
        }
    }

    fn looks_at(&self) -> Vec<Look> {
        let Self(request) = self;
        vec![
            Look::Head,
            Look::Log,
            Look::Rotation(request.rotation_id),
            Look::OldKey(request.old_digest),
            Look::Key(request.new_digest),
        ]
    }

    fn apply<T: Tx>(&self, tx: &mut T, cx: &Context) -> Result<Rotated, T::Error> {
        let Self(request) = self;
        let (revision, is_repeated) = match attempt(tx, cx, request)? {
            Decided::Now(Rotated::Refused(Refusal::Revoked(revision))) => (revision, false),
            Decided::Before(Rotated::Refused(Refusal::Revoked(revision))) => (revision, true),
            Decided::Now(decided) | Decided::Before(decided) => return Ok(decided),
        };
        let too_late = TooLate {
            request,
            revision,
            is_repeated,
        };
        too_late.answer(tx, cx)
    }
}

/// When something was decided.
enum Decided {
    Now(Rotated),
    /// By an earlier attempt.
    Before(Rotated),
}

/// As if there were no replays.
fn attempt<T: Tx>(tx: &mut T, cx: &Context, request: &RotateRequest) -> Result<Decided, T::Error> {
    let asked = Asked {
        attempt: request.attempt,
        old_digest: request.old_digest,
        new_digest: request.new_digest,
    };
    let facts = Facts {
        recorded: tx.recorded(request.rotation_id)?,
        old: tx.key(&asked.old_digest)?.map(Into::into),
        new_exists: tx.key_exists(&asked.new_digest)?,
    };
    crash::point("rotate.after_lookup");
    Ok(match decide(&asked, facts, cx.now.limit, cx.interval) {
        Verdict::Repeat(RecordedOutcome::Rotated { at, user, revision }) => {
            Decided::Before(Rotated::Done {
                at,
                user,
                revision,
                repeated: true,
            })
        }
        Verdict::Repeat(RecordedOutcome::Burned(refusal)) => {
            Decided::Before(Rotated::Refused(refusal))
        }
        Verdict::Conflict => Decided::Now(Rotated::Conflict),
        Verdict::Refuse { refusal, burn } => {
            if burn {
                let refused = Recorded {
                    old_digest: request.old_digest,
                    new_digest: request.new_digest,
                    outcome: RecordedOutcome::Burned(refusal),
                };
                tx.record_answer(request.rotation_id, &refused, cx.now)?;
            }
            Decided::Now(Rotated::Refused(refusal))
        }
        Verdict::Commit(old) => {
            let by = By::gateway(&request.client);
            let revision = commit(tx, cx, request, &old.user, by)?;
            keep(tx, cx, request)?;
            Decided::Now(Rotated::Done {
                at: cx.now.told,
                revision,
                user: old.user,
                repeated: false,
            })
        }
    })
}

/// Keeps what answers the rotation again, if its client may ask for that (X2).
fn keep<T: Tx>(tx: &mut T, cx: &Context, request: &RotateRequest) -> Result<(), T::Error> {
    let (id, now) = (request.rotation_id, cx.now.limit);
    if let Some(replay) = &request.replay
        && tx.keep_replay(id, &request.new_digest, replay, now)?
    {
        let window = Duration::from_millis(REPLAY_WINDOW_MS.into());
        tx.set_replayable(&request.old_digest, now.plus(window))?;
    }
    crash::point("rotate.after_keep");
    Ok(())
}

/// What every rotation does, by whichever way it was asked for. Returns its revision.
pub fn commit<T: Tx>(
    tx: &mut T,
    cx: &Context,
    request: &RotateRequest,
    user: &UserId,
    by: By<'_>,
) -> Result<u64, T::Error> {
    let now = cx.now;
    let (old, new) = (&request.old_digest, &request.new_digest);
    let revision = tx.next_revision(now)?;
    crash::point("rotate.after_revision");
    tx.revoke_key(old, now.told, revision)?;
    crash::point("rotate.after_revoke_old");
    tx.insert_key(&NewKey {
        digest: new,
        user,
        hint: Some(&request.hint),
        created: now.told,
        revision,
    })?;
    crash::point("rotate.after_insert_new");
    tx.begin_interval(user, now)?;
    crash::point("rotate.after_limit");
    let event = Event {
        user,
        action: Action::Rotated,
        revision,
        old_digest: Some(old),
        new_digest: Some(new),
        hint: Some(&request.hint),
        rotation_id: Some(request.rotation_id),
        uses: None,
        by,
    };
    tx.append_event(&event, now)?;
    crash::point("rotate.after_audit");
    let made = Recorded {
        old_digest: *old,
        new_digest: *new,
        outcome: RecordedOutcome::Rotated {
            at: now.told,
            user: user.clone(),
            revision,
        },
    };
    tx.record_answer(request.rotation_id, &made, now)?;
    crash::point("rotate.after_record");
    Ok(revision)
}
