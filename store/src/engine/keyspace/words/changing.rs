//! The words that change. What each of them does is in the file of its subject.

use std::collections::BTreeMap;

use rekey_protocol::{Digest, Replay, RotationId, UserId};

use crate::accounts::email::Email;
use crate::clock::{StoreTime, UnixMillis};
use crate::engine::Tx;
use crate::engine::keyspace::KeyspaceTx;
use crate::engine::keyspace::space::Change;
use crate::engine::rows::{Event, ImportId, ImportedRow, Loaded, NewKey, OldKeyUsed, ReplayRecord};
use crate::operations::users::NewUser;
use crate::rules::rotation::Recorded;

impl<S: Change> Tx for KeyspaceTx<'_, S> {
    fn next_revision(&mut self, _: StoreTime) -> Result<u64, S::Error> {
        Ok(self.next_revision())
    }

    fn insert_key(&mut self, key: &NewKey<'_>) -> Result<(), S::Error> {
        self.insert_key(key)
    }

    fn revoke_key(
        &mut self,
        digest: &Digest,
        at: UnixMillis,
        revision: u64,
    ) -> Result<(), S::Error> {
        self.revoke_key(digest, at, revision)
    }

    fn set_replayable(&mut self, digest: &Digest, until: UnixMillis) -> Result<(), S::Error> {
        self.set_replayable(digest, until)
    }

    fn record_last_uses(
        &mut self,
        uses: &BTreeMap<Digest, UnixMillis>,
        present_hour: UnixMillis,
    ) -> Result<u64, S::Error> {
        self.record_last_uses(uses, present_hour)
    }

    fn add_old_key_uses(
        &mut self,
        digest: &Digest,
        uses: u64,
        at: UnixMillis,
    ) -> Result<Option<OldKeyUsed>, S::Error> {
        self.add_old_key_uses(digest, uses, at)
    }

    fn note_old_key_told(&mut self, digest: &Digest, at: UnixMillis) -> Result<(), S::Error> {
        self.note_old_key_told(digest, at)
    }

    fn insert_user(&mut self, new: &NewUser, created: UnixMillis) -> Result<(), S::Error> {
        self.insert_user(new, created)
    }

    fn begin_interval(&mut self, user: &UserId, now: StoreTime) -> Result<(), S::Error> {
        self.begin_interval(user, now)
    }

    fn set_email(&mut self, user: &UserId, email: &Email) -> Result<(), S::Error> {
        self.set_email(user, email)
    }

    fn set_password(&mut self, user: &UserId, phc: &str, at: UnixMillis) -> Result<(), S::Error> {
        self.set_password(user, phc, at)
    }

    fn renew_password(&mut self, user: &UserId, phc: &str) -> Result<(), S::Error> {
        self.renew_password(user, phc)
    }

    fn make_pseudonymous(&mut self, user: &UserId, pseudonym: &UserId) -> Result<(), S::Error> {
        self.make_pseudonymous(user, pseudonym)
    }

    fn record_answer(
        &mut self,
        id: RotationId,
        answer: &Recorded,
        now: StoreTime,
    ) -> Result<(), S::Error> {
        self.record_answer(id, answer, now)
    }

    fn keep_replay(
        &mut self,
        _: RotationId,
        new_digest: &Digest,
        replay: &Replay,
        now: UnixMillis,
    ) -> Result<bool, S::Error> {
        self.keep_replay(new_digest, replay, now)
    }

    fn replay(&mut self, rotation: RotationId) -> Result<Option<ReplayRecord>, S::Error> {
        self.replay_record(rotation)
    }

    fn count_failed_opening(&mut self, rotation: RotationId) -> Result<(), S::Error> {
        self.count_failed_opening(rotation)
    }

    fn destroy_replay(&mut self, rotation: RotationId) -> Result<(), S::Error> {
        self.destroy_replay(rotation)
    }

    fn count_handed_out(&mut self, rotation: RotationId) -> Result<(), S::Error> {
        self.count_handed_out(rotation)
    }

    fn note_first_use(&mut self, new_digest: &Digest, now: UnixMillis) -> Result<(), S::Error> {
        self.note_first_use(new_digest, now)
    }

    fn append_event(&mut self, event: &Event<'_>, now: StoreTime) -> Result<(), S::Error> {
        self.append_event(event, now)
    }

    fn insert_session(
        &mut self,
        digest: &Digest,
        user: &UserId,
        at: UnixMillis,
    ) -> Result<(), S::Error> {
        self.insert_session(digest, user, at)
    }

    fn touch_session(&mut self, digest: &Digest, at: UnixMillis) -> Result<(), S::Error> {
        self.touch_session(digest, at)
    }

    fn end_session(&mut self, digest: &Digest) -> Result<bool, S::Error> {
        self.end_session(digest)
    }

    fn end_sessions(&mut self, user: &UserId) -> Result<(), S::Error> {
        self.end_sessions(user)
    }

    fn end_sessions_after(&mut self, user: &UserId, after: UnixMillis) -> Result<(), S::Error> {
        self.end_sessions_after(user, after)
    }

    fn keep_newest_sessions(&mut self, user: &UserId, most: u32) -> Result<(), S::Error> {
        self.keep_newest_sessions(user, most)
    }

    fn insert_device(
        &mut self,
        digest: &Digest,
        user: &UserId,
        at: UnixMillis,
    ) -> Result<(), S::Error> {
        self.insert_device(digest, user, at)
    }

    fn forget_device(&mut self, digest: &Digest, user: &UserId) -> Result<(), S::Error> {
        self.forget_device(digest, user);
        Ok(())
    }

    fn forget_devices(&mut self, user: &UserId) -> Result<(), S::Error> {
        self.forget_devices(user)
    }

    fn forget_devices_after(&mut self, user: &UserId, after: UnixMillis) -> Result<(), S::Error> {
        self.forget_devices_after(user, after)
    }

    fn keep_newest_devices(&mut self, user: &UserId, most: u32) -> Result<(), S::Error> {
        self.keep_newest_devices(user, most)
    }

    fn log_everybody_out(&mut self) -> Result<(), S::Error> {
        self.log_everybody_out();
        Ok(())
    }

    fn begin_import(&mut self, _: UnixMillis) -> Result<ImportId, S::Error> {
        self.begin_import()
    }

    fn insert_imported(
        &mut self,
        import: ImportId,
        rows: &[ImportedRow],
        at: UnixMillis,
    ) -> Result<Loaded, S::Error> {
        self.insert_imported(import, rows, at)
    }

    fn count_import(
        &mut self,
        import: ImportId,
        revision: u64,
        at: UnixMillis,
    ) -> Result<(), S::Error> {
        self.count_import(import, revision, at)
    }

    fn tell_imported(&mut self, keys: &[Digest]) -> Result<usize, S::Error> {
        self.tell_imported(keys)
    }

    fn end_import(&mut self, import: ImportId) -> Result<(), S::Error> {
        self.end_import(import)
    }

    fn remove_imported_keys(
        &mut self,
        import: ImportId,
        keys: &[Digest],
    ) -> Result<usize, S::Error> {
        self.remove_imported_keys(import, keys)
    }

    fn remove_imported_users(
        &mut self,
        import: ImportId,
        users: &[UserId],
    ) -> Result<usize, S::Error> {
        self.remove_imported_users(import, users)
    }

    fn forget_import(&mut self, import: ImportId) -> Result<(), S::Error> {
        self.forget_import(import)
    }
}
