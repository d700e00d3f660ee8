//! What is kept so that a rotation can be answered again (X2 to X6). It is under the
//! digest of the new key, so that the key takes it along when it is revoked.

use rekey_protocol::{Digest, Replay, ReplayProof, RotationId, SealedKey};

use crate::clock::UnixMillis;
use crate::engine::keyspace::names;
use crate::engine::keyspace::rows::{KeptReplay, Outcome};
use crate::engine::keyspace::space::Change;
use crate::engine::keyspace::{Held, KeyspaceTx};
use crate::engine::rows::ReplayRecord;

/// A record, and where it is.
struct Found {
    new_digest: Digest,
    row: KeptReplay,
}

impl<S: Change> KeyspaceTx<'_, S> {
    pub(crate) fn keep_replay(
        &mut self,
        new_digest: &Digest,
        replay: &Replay,
        now: UnixMillis,
    ) -> Result<bool, S::Error> {
        let content = [&replay.proof.0[..], &replay.sealed.0].concat();
        let wrapped = self.wrap.and_then(|wrap| wrap.seal(new_digest, &content));
        let Some(wrapped) = wrapped else {
            return Ok(false);
        };
        let row = KeptReplay {
            wrapped: hex::encode(wrapped),
            made: now,
            used: None,
            failures: 0,
            handed_out: 0,
        };
        self.put(names::replay(new_digest), &row)?;
        Ok(true)
    }

    fn kept(&self, rotation: RotationId) -> Result<Option<Found>, S::Error> {
        // X6: a record counts only together with its rotation.
        let made = self.answer(rotation)?.map(|held| held.row);
        let Some(made) = made.filter(|made| made.outcome == Outcome::Rotated) else {
            return Ok(None);
        };
        let new_digest = made.new_digest;
        let found: Option<Held<KeptReplay>> = self.get(&names::replay(&new_digest))?;
        Ok(found.map(|Held { row, .. }| Found { new_digest, row }))
    }

    pub(crate) fn replay_record(
        &self,
        rotation: RotationId,
    ) -> Result<Option<ReplayRecord>, S::Error> {
        let found = self.kept(rotation)?;
        Ok(found.and_then(|found| self.opened(&found)))
    }

    fn opened(&self, Found { new_digest, row }: &Found) -> Option<ReplayRecord> {
        let wrapped = hex::decode(&row.wrapped).ok()?;
        let content = self.wrap?.open(new_digest, &wrapped)?;
        let (proof, sealed) = content.split_first_chunk()?;
        Some(ReplayRecord {
            used: row.used,
            failures: row.failures,
            handed_out: row.handed_out,
            proof: ReplayProof(*proof),
            sealed: SealedKey(sealed.try_into().ok()?),
        })
    }

    pub(crate) fn count_failed_opening(&mut self, rotation: RotationId) -> Result<(), S::Error> {
        self.note(rotation, |row| row.failures += 1)
    }

    pub(crate) fn count_handed_out(&mut self, rotation: RotationId) -> Result<(), S::Error> {
        self.note(rotation, |row| row.handed_out += 1)
    }

    fn note(
        &mut self,
        rotation: RotationId,
        note: impl FnOnce(&mut KeptReplay),
    ) -> Result<(), S::Error> {
        let Some(Found {
            new_digest,
            mut row,
        }) = self.kept(rotation)?
        else {
            return Ok(());
        };
        note(&mut row);
        self.put(names::replay(&new_digest), &row)
    }

    pub(crate) fn destroy_replay(&mut self, rotation: RotationId) -> Result<(), S::Error> {
        if let Some(found) = self.kept(rotation)? {
            self.space.delete(&names::replay(&found.new_digest));
        }
        Ok(())
    }

    pub(crate) fn note_first_use(
        &mut self,
        new_digest: &Digest,
        now: UnixMillis,
    ) -> Result<(), S::Error> {
        let name = names::replay(new_digest);
        let Some(Held::<KeptReplay> { mut row, .. }) = self.get(&name)? else {
            return Ok(());
        };
        if row.used.is_none() {
            row.used = Some(now);
            self.put(name, &row)?;
        }
        Ok(())
    }
}
