//! Rotations: what was answered under their ids, and which of them ended a key.

use rekey_protocol::{Digest, ResolvedState, RotationId};

use crate::clock::StoreTime;
use crate::engine::Impossible;
use crate::engine::keyspace::names;
use crate::engine::keyspace::rows::{Gone, KeptAnswer, Outcome, Revision};
use crate::engine::keyspace::space::{Change, PENDING, Space};
use crate::engine::keyspace::{Held, KeyspaceTx};
use crate::engine::rows::MadeRotation;
use crate::rules::rotation::{Recorded, RecordedOutcome, Refusal};

const NAMELESS: Impossible = Impossible("a rotation on record has no user or no revision");

impl<S: Space> KeyspaceTx<'_, S> {
    pub(crate) fn answer(&self, id: RotationId) -> Result<Option<Held<KeptAnswer>>, S::Error> {
        self.get(&names::rotation(id))
    }

    pub(crate) fn recorded(&self, id: RotationId) -> Result<Option<Recorded>, S::Error> {
        let Some(Held { row, changed, .. }) = self.answer(id)? else {
            return Ok(None);
        };
        let refusal = match row.outcome {
            Outcome::Rotated => None,
            Outcome::UnknownKey => Some(Refusal::UnknownKey),
            Outcome::Revoked => Some(Refusal::Revoked(Revision::or_own(row.revision, changed))),
            // How long is reckoned each time.
            Outcome::RateLimited => Some(Refusal::RateLimited(1)),
            Outcome::NewKeyExists => Some(Refusal::NewKeyExists),
        };
        let outcome = match refusal {
            Some(refusal) => RecordedOutcome::Burned(refusal),
            None => {
                let alias = row.alias.ok_or(NAMELESS)?;
                // Who repeats a rotation is told of the user's old key next.
                let names = [names::user_called(alias), names::interval(alias)];
                self.look_ahead(&names)?;
                RecordedOutcome::Rotated {
                    at: row.told,
                    user: self.user_called(alias)?,
                    revision: Revision::or_own(row.revision, changed),
                }
            }
        };
        Ok(Some(Recorded {
            old_digest: row.old_digest,
            new_digest: row.new_digest,
            outcome,
        }))
    }

    pub(crate) fn rotation_that_revoked(
        &self,
        old: &Digest,
        revision: u64,
    ) -> Result<Option<MadeRotation>, S::Error> {
        let gone: Option<Held<Gone>> = self.get(&names::gone(old))?;
        let Some(id) = gone.and_then(|held| held.row.rotation) else {
            return Ok(None);
        };
        let Some(Held { row, changed, .. }) = self.answer(id)? else {
            return Ok(None);
        };
        if row.outcome != Outcome::Rotated || Revision::or_own(row.revision, changed) != revision {
            return Ok(None);
        }
        let new_digest = row.new_digest;
        // Who asks for the rotation asks for its replay next.
        self.look_ahead(&[names::key(&new_digest), names::replay(&new_digest)])?;
        let Some(Held { row: key, .. }) = self.any_key(&new_digest)? else {
            return Ok(None);
        };
        Ok(Some(MadeRotation {
            id,
            new_digest,
            new_is_active: key.state() == ResolvedState::Active,
            at: StoreTime {
                told: row.told,
                limit: row.limit,
            },
            user: self.user_of(&key)?,
        }))
    }
}

impl<S: Change> KeyspaceTx<'_, S> {
    pub(crate) fn record_answer(
        &mut self,
        id: RotationId,
        answer: &Recorded,
        now: StoreTime,
    ) -> Result<(), S::Error> {
        let name = names::rotation(id);
        if self.is_there(&name)? {
            return Err(Impossible("a rotation id is on record already").into());
        }
        let old = &answer.old_digest;
        let (outcome, alias, revision) = match &answer.outcome {
            RecordedOutcome::Rotated { user, revision, .. } => {
                let alias = self.alias_of(user)?.ok_or(NAMELESS)?;
                (Outcome::Rotated, Some(alias), *revision)
            }
            RecordedOutcome::Burned(refusal) => match *refusal {
                Refusal::Revoked(revision) => (Outcome::Revoked, None, revision),
                Refusal::UnknownKey => (Outcome::UnknownKey, None, PENDING),
                Refusal::RateLimited(_) => (Outcome::RateLimited, None, PENDING),
                Refusal::NewKeyExists => (Outcome::NewKeyExists, None, PENDING),
            },
        };
        let row = KeptAnswer {
            old_digest: *old,
            new_digest: answer.new_digest,
            outcome,
            alias,
            revision: Revision::kept(revision),
            told: now.told,
            limit: now.limit,
        };
        self.put(name, &row)?;
        if outcome == Outcome::Rotated && self.revoked.contains(old) {
            let name = names::gone(old);
            if let Some(Held::<Gone> { mut row, .. }) = self.get(&name)? {
                row.rotation = Some(id);
                self.put(name, &row)?;
            }
        }
        Ok(())
    }
}
