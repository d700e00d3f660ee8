//! A request whose key was replaced before: whether it gets the rotation's answer
//! again (X3 to X6). The decision is in [`crate::rules::replay`].

use rekey_protocol::{Digest, RotateRequest, RotationId, SealedKey};

use super::rotate::Rotated;
use crate::clock::UnixMillis;
use crate::engine::Tx;
use crate::engine::rows::{By, Event};
use crate::operations::audit::action::Action;
use crate::operations::{Context, Operation};
use crate::rules::replay::{self, Kept, Opening};
use crate::rules::rotation::{Recorded, RecordedOutcome, Refusal};

/// Replays of one rotation that the audit log tells of.
const MOST_REPLAYS_TOLD: u32 = 10;

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

/// A request that is refused because its key was revoked.
#[derive(Debug, Clone, Copy)]
pub struct TooLate<'a> {
    /// It bears the old key, and perhaps a proof.
    pub request: &'a RotateRequest,
    /// The revision that revoked its key.
    pub revision: u64,
    /// Whether an earlier attempt of it was refused already.
    pub is_repeated: bool,
}

impl TooLate<'_> {
    /// What more than the refusal the request gets (X3, X4). Whatever it is, it is no
    /// rotation (I5).
    pub fn answer<T: Tx>(&self, tx: &mut T, cx: &Context) -> Result<Rotated, T::Error> {
        let &Self {
            request, revision, ..
        } = self;
        let revoked = Rotated::Refused(Refusal::Revoked(revision));
        // A record counts only together with its committed rotation (X6).
        let Some(made) = tx.rotation_that_revoked(&request.old_digest, revision)? else {
            return Ok(revoked);
        };
        let Some(record) = tx.replay(made.id)? else {
            return Ok(revoked);
        };
        let kept = Kept {
            committed: made.at.limit,
            used: record.used,
            failures: record.failures,
            new_is_active: made.new_is_active,
        };
        let proof = request.replay.as_ref();
        let proof = proof.map(|replay| record.is_proved_by(&replay.proof));
        let event = |action| Event {
            user: &made.user,
            action,
            revision,
            old_digest: None,
            new_digest: None,
            hint: None,
            rotation_id: Some(made.id),
            uses: None,
            by: By::gateway(&request.client),
        };
        match replay::opening(Some(&kept), proof, cx.now.limit) {
            Opening::Closed => Ok(revoked),
            Opening::Unproven => Ok(Rotated::Replayable(revision)),
            // The gateway asks again for the answer to one request: that is one try.
            Opening::Failed { .. } if self.is_repeated => Ok(Rotated::Replayable(revision)),
            Opening::Failed { last } => {
                self.burn(tx, cx)?;
                match last {
                    true => tx.destroy_replay(made.id)?,
                    false => tx.count_failed_opening(made.id)?,
                }
                tx.append_event(&event(Action::ReplayRefused), cx.now)?;
                Ok(match last {
                    true => revoked,
                    false => Rotated::Replayable(revision),
                })
            }
            Opening::Granted => {
                tx.count_handed_out(made.id)?;
                // The log cannot be pruned, and who asks may ask for ever.
                if record.handed_out < MOST_REPLAYS_TOLD {
                    tx.append_event(&event(Action::Replayed), cx.now)?;
                }
                Ok(Rotated::Replayed(Box::new(Again {
                    id: made.id,
                    new_digest: made.new_digest,
                    sealed: record.sealed,
                    at: made.at.told,
                    revision,
                })))
            }
        }
    }

    /// By its id this try is known, whichever attempt of it comes first. Later
    /// attempts were put on record as they came.
    fn burn<T: Tx>(&self, tx: &mut T, cx: &Context) -> Result<(), T::Error> {
        let request = self.request;
        if request.attempt >= 2 {
            return Ok(());
        }
        let refused = Recorded {
            old_digest: request.old_digest,
            new_digest: request.new_digest,
            outcome: RecordedOutcome::Burned(Refusal::Revoked(self.revision)),
        };
        tx.record_answer(request.rotation_id, &refused, cx.now)
    }
}

/// Notes that a client has used the new key of a rotation (X4).
#[derive(Debug, Clone, Copy)]
pub struct NoteFirstUse(pub Digest);

impl Operation for NoteFirstUse {
    type Out = ();

    fn apply<T: Tx>(&self, tx: &mut T, cx: &Context) -> Result<(), T::Error> {
        tx.note_first_use(&self.0, cx.now.limit)
    }
}
