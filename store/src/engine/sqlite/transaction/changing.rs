//! The words that change.

use std::collections::BTreeMap;

use rekey_protocol::{Digest, Replay, RotationId, UserId};

use super::SqliteTx;
use crate::accounts::email::Email;
use crate::clock::{StoreTime, UnixMillis};
use crate::engine::record::Mark;
use crate::engine::rows::{
    Event, ImportId, ImportedRow, Loaded, NewIncarnation, NewKey, OldKeyUsed, ReplayRecord,
};
use crate::engine::sqlite::imports;
use crate::engine::sqlite::tables::{
    audit, devices, history, keys, last_uses, old_keys, passwords, people, removal, rotations,
    sessions, users,
};
use crate::engine::{OwnerTx, Tx};
use crate::operations::users::NewUser;
use crate::rules::rotation::Recorded;

impl Tx for SqliteTx<'_> {
    fn next_revision(&mut self, now: StoreTime) -> rusqlite::Result<u64> {
        history::next_revision(self.connection, now)
    }

    fn insert_key(&mut self, key: &NewKey<'_>) -> rusqlite::Result<()> {
        keys::insert(self.connection, key)
    }

    fn revoke_key(
        &mut self,
        digest: &Digest,
        at: UnixMillis,
        revision: u64,
    ) -> rusqlite::Result<()> {
        keys::set_revoked(self.connection, digest, at, revision)
    }

    fn set_replayable(&mut self, digest: &Digest, until: UnixMillis) -> rusqlite::Result<()> {
        keys::set_replayable(self.connection, digest, until)
    }

    fn record_last_uses(
        &mut self,
        uses: &BTreeMap<Digest, UnixMillis>,
        present_hour: UnixMillis,
    ) -> rusqlite::Result<u64> {
        last_uses::record(self.connection, uses, present_hour)
    }

    fn add_old_key_uses(
        &mut self,
        digest: &Digest,
        uses: u64,
        at: UnixMillis,
    ) -> rusqlite::Result<Option<OldKeyUsed>> {
        old_keys::add(self.connection, digest, uses, at)
    }

    fn note_old_key_told(&mut self, digest: &Digest, at: UnixMillis) -> rusqlite::Result<()> {
        old_keys::note_told(self.connection, digest, at)
    }

    fn insert_user(&mut self, new: &NewUser, created: UnixMillis) -> rusqlite::Result<()> {
        users::insert(self.connection, new, created)
    }

    fn begin_interval(&mut self, user: &UserId, now: StoreTime) -> rusqlite::Result<()> {
        users::begin_interval(self.connection, now, user)
    }

    fn set_email(&mut self, user: &UserId, email: &Email) -> rusqlite::Result<()> {
        people::set_address(self.connection, user, email)
    }

    fn set_password(&mut self, user: &UserId, phc: &str, at: UnixMillis) -> rusqlite::Result<()> {
        passwords::put(self.connection, at, user, phc)
    }

    fn renew_password(&mut self, user: &UserId, phc: &str) -> rusqlite::Result<()> {
        passwords::renew(self.connection, user, phc)
    }

    fn make_pseudonymous(&mut self, user: &UserId, pseudonym: &UserId) -> rusqlite::Result<()> {
        removal::make_pseudonymous(self.connection, user, pseudonym)
    }

    fn record_answer(
        &mut self,
        id: RotationId,
        answer: &Recorded,
        now: StoreTime,
    ) -> rusqlite::Result<()> {
        rotations::record(self.connection, id, answer, now)
    }

    fn keep_replay(
        &mut self,
        rotation: RotationId,
        new_digest: &Digest,
        replay: &Replay,
        now: UnixMillis,
    ) -> rusqlite::Result<bool> {
        let Some(kept) = self.kept else {
            return Ok(false);
        };
        // Here, because nobody may be left to read the answer. One that is not
        // committed after all is a key that nobody will use.
        kept.awaited.expect(*new_digest, now);
        let is_kept = kept.records().keep(now, rotation, new_digest, replay);
        Ok(is_kept.unwrap_or_else(|error| {
            tracing::warn!(%error, "a rotation's answer cannot be repeated: its record was not kept");
            false
        }))
    }

    fn replay(&mut self, rotation: RotationId) -> rusqlite::Result<Option<ReplayRecord>> {
        match self.kept {
            Some(kept) => kept.records().record(rotation),
            None => Ok(None),
        }
    }

    fn count_failed_opening(&mut self, rotation: RotationId) -> rusqlite::Result<()> {
        self.note(|records| records.failed(rotation))
    }

    fn destroy_replay(&mut self, rotation: RotationId) -> rusqlite::Result<()> {
        self.note(|records| records.destroy(rotation))
    }

    fn count_handed_out(&mut self, rotation: RotationId) -> rusqlite::Result<()> {
        self.note(|records| records.handed_out(rotation))
    }

    fn note_first_use(&mut self, new_digest: &Digest, now: UnixMillis) -> rusqlite::Result<()> {
        self.note(|records| records.used(new_digest, now))
    }

    fn append_event(&mut self, event: &Event<'_>, now: StoreTime) -> rusqlite::Result<()> {
        audit::append(self.connection, now, event)
    }

    fn insert_session(
        &mut self,
        digest: &Digest,
        user: &UserId,
        at: UnixMillis,
    ) -> rusqlite::Result<()> {
        sessions::insert(self.connection, digest, user, at)
    }

    fn touch_session(&mut self, digest: &Digest, at: UnixMillis) -> rusqlite::Result<()> {
        sessions::touch(self.connection, digest, at)
    }

    fn end_session(&mut self, digest: &Digest) -> rusqlite::Result<bool> {
        sessions::delete(self.connection, digest)
    }

    fn end_sessions(&mut self, user: &UserId) -> rusqlite::Result<()> {
        sessions::delete_all(self.connection, user)
    }

    fn end_sessions_after(&mut self, user: &UserId, after: UnixMillis) -> rusqlite::Result<()> {
        sessions::delete_after(self.connection, user, after)
    }

    fn keep_newest_sessions(&mut self, user: &UserId, most: u32) -> rusqlite::Result<()> {
        sessions::keep_newest(self.connection, user, most)
    }

    fn insert_device(
        &mut self,
        digest: &Digest,
        user: &UserId,
        at: UnixMillis,
    ) -> rusqlite::Result<()> {
        devices::insert(self.connection, digest, user, at)
    }

    fn forget_device(&mut self, digest: &Digest, user: &UserId) -> rusqlite::Result<()> {
        devices::delete(self.connection, digest, user)
    }

    fn forget_devices(&mut self, user: &UserId) -> rusqlite::Result<()> {
        devices::delete_all(self.connection, user)
    }

    fn forget_devices_after(&mut self, user: &UserId, after: UnixMillis) -> rusqlite::Result<()> {
        devices::delete_after(self.connection, user, after)
    }

    fn keep_newest_devices(&mut self, user: &UserId, most: u32) -> rusqlite::Result<()> {
        devices::keep_newest(self.connection, user, most)
    }

    fn log_everybody_out(&mut self) -> rusqlite::Result<()> {
        sessions::delete_everybodys(self.connection)?;
        devices::delete_everybodys(self.connection)
    }

    fn begin_import(&mut self, at: UnixMillis) -> rusqlite::Result<ImportId> {
        imports::begin(self.connection, at)
    }

    fn insert_imported(
        &mut self,
        import: ImportId,
        rows: &[ImportedRow],
        at: UnixMillis,
    ) -> rusqlite::Result<Loaded> {
        imports::load(self.connection, import, rows, at)
    }

    fn count_import(
        &mut self,
        import: ImportId,
        revision: u64,
        at: UnixMillis,
    ) -> rusqlite::Result<()> {
        imports::count(self.connection, import, revision, at)
    }

    fn tell_imported(&mut self, keys: &[Digest]) -> rusqlite::Result<usize> {
        imports::tell(self.connection, keys)
    }

    fn end_import(&mut self, import: ImportId) -> rusqlite::Result<()> {
        imports::told(self.connection, import)
    }

    fn remove_imported_keys(
        &mut self,
        import: ImportId,
        keys: &[Digest],
    ) -> rusqlite::Result<usize> {
        imports::remove_keys(self.connection, import, keys)
    }

    fn remove_imported_users(
        &mut self,
        import: ImportId,
        users: &[UserId],
    ) -> rusqlite::Result<usize> {
        imports::remove_users(self.connection, import, users)
    }

    fn forget_import(&mut self, import: ImportId) -> rusqlite::Result<()> {
        imports::forget(self.connection, import)
    }
}

impl OwnerTx for SqliteTx<'_> {
    fn begin_incarnation(&mut self, incarnation: &NewIncarnation) -> rusqlite::Result<Mark> {
        history::begin_incarnation(self.connection, incarnation)
    }

    fn accept_loss_before(&mut self, revision: u64) -> rusqlite::Result<()> {
        history::accept_loss_before(self.connection, revision)
    }

    fn record_longest_lease(&mut self, lease_ms: u32) -> rusqlite::Result<()> {
        history::record_lease(self.connection, lease_ms)
    }
}
