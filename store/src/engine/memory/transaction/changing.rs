//! The words that change.

use std::collections::BTreeMap;

use rekey_protocol::{Digest, Replay, RotationId, UserId};

use super::MemoryTx;
use crate::accounts::email::Email;
use crate::clock::{StoreTime, UnixMillis};
use crate::engine::memory::changes::{all_but_newest, normal_hash};
use crate::engine::memory::replays::KeptReplays;
use crate::engine::memory::tables::{
    Address, AuditRow, Device, ImportState, KeyRow, SessionRow, Tables, User,
};
use crate::engine::record::Mark;
use crate::engine::rows::{
    Event, ImportId, ImportedRow, Loaded, NewIncarnation, NewKey, OldKeyUsed, PasswordHash,
    ReplayRecord, UserStatus,
};
use crate::engine::{Impossible, OwnerTx, ReadTx, Tx};
use crate::operations::users::NewUser;
use crate::rules::rotation::Recorded;

type Changed = Result<(), Impossible>;

impl Tx for MemoryTx<'_, &mut Tables> {
    fn next_revision(&mut self, now: StoreTime) -> Result<u64, Impossible> {
        self.tables.counters.change(|counters| {
            counters.revision += 1;
            counters.time = counters.time.max(now.limit);
            counters.wall = now.told;
        });
        Ok(self.tables.counters.get().revision)
    }

    fn insert_key(&mut self, key: &NewKey<'_>) -> Changed {
        let row = KeyRow {
            user: key.user.clone(),
            hint: key.hint.map(str::to_owned),
            created: key.created,
            revoked: None,
            revision: key.revision,
            replay_until: None,
            import: None,
            last_used: None,
        };
        match self.tables.users.has(key.user) && self.tables.insert_key(*key.digest, row) {
            true => Ok(()),
            false => Err(Impossible("a key that cannot be: I3")),
        }
    }

    fn revoke_key(&mut self, digest: &Digest, at: UnixMillis, revision: u64) -> Changed {
        self.tables.revoke_key(digest, at, revision)
    }

    fn set_replayable(&mut self, digest: &Digest, until: UnixMillis) -> Changed {
        let keys = &mut self.tables.keys;
        keys.change(digest, |key| key.replay_until = Some(until));
        Ok(())
    }

    fn record_last_uses(
        &mut self,
        uses: &BTreeMap<Digest, UnixMillis>,
        present_hour: UnixMillis,
    ) -> Result<u64, Impossible> {
        self.tables.record_last_uses(uses, present_hour)
    }

    fn add_old_key_uses(
        &mut self,
        digest: &Digest,
        uses: u64,
        at: UnixMillis,
    ) -> Result<Option<OldKeyUsed>, Impossible> {
        self.tables.add_old_key_uses(digest, uses, at)
    }

    fn note_old_key_told(&mut self, digest: &Digest, at: UnixMillis) -> Changed {
        let uses = &mut self.tables.old_key_uses;
        uses.change(digest, |uses| uses.told = Some(at));
        Ok(())
    }

    fn insert_user(&mut self, new: &NewUser, created: UnixMillis) -> Changed {
        let email = Address::of(&new.email);
        let user = User {
            email: Some(email),
            created,
            last_rotated: None,
            rotated_told: None,
            import: None,
            user_status: UserStatus::Here,
        };
        if !self.tables.insert_user(new.id.clone(), user) {
            return Err(Impossible("a user has an id or an address of another one"));
        }
        match &new.phc {
            Some(phc) => self.set_password(&new.id, phc, created),
            None => Ok(()),
        }
    }

    fn begin_interval(&mut self, user: &UserId, now: StoreTime) -> Changed {
        self.tables.users.change(user, |user| {
            user.last_rotated = user.last_rotated.max(Some(now.limit));
            user.rotated_told = Some(now.told);
        });
        Ok(())
    }

    fn set_email(&mut self, user: &UserId, email: &Email) -> Changed {
        if self.is_anothers_email(email, user)? {
            return Err(Impossible("an address is another user's"));
        }
        let users = &mut self.tables.users;
        users.change(user, |user| user.email = Some(Address::of(email)));
        Ok(())
    }

    fn set_password(&mut self, user: &UserId, phc: &str, at: UnixMillis) -> Changed {
        if !self.tables.users.has(user) {
            return Err(Impossible("a password of nobody"));
        }
        let hash = PasswordHash {
            stored: normal_hash(phc),
            changed: at,
        };
        self.tables.passwords.put(user.clone(), hash);
        Ok(())
    }

    fn renew_password(&mut self, user: &UserId, phc: &str) -> Changed {
        let passwords = &mut self.tables.passwords;
        passwords.change(user, |hash| hash.stored = normal_hash(phc));
        Ok(())
    }

    fn make_pseudonymous(&mut self, user: &UserId, pseudonym: &UserId) -> Changed {
        self.tables.make_pseudonymous(user, pseudonym)
    }

    fn record_answer(&mut self, id: RotationId, answer: &Recorded, now: StoreTime) -> Changed {
        self.tables.record_answer(id, answer, now)
    }

    fn keep_replay(
        &mut self,
        rotation: RotationId,
        new_digest: &Digest,
        replay: &Replay,
        _: UnixMillis,
    ) -> Result<bool, Impossible> {
        let Some(kept) = &mut self.kept else {
            return Ok(false);
        };
        kept.keep(rotation, new_digest, replay);
        Ok(true)
    }

    fn replay(&mut self, rotation: RotationId) -> Result<Option<ReplayRecord>, Impossible> {
        let kept = self.kept.as_ref();
        Ok(kept.and_then(|kept| kept.find(rotation)))
    }

    fn count_failed_opening(&mut self, rotation: RotationId) -> Changed {
        self.note(|kept| kept.failed(rotation))
    }

    fn destroy_replay(&mut self, rotation: RotationId) -> Changed {
        self.note(|kept| kept.destroy(rotation))
    }

    fn count_handed_out(&mut self, rotation: RotationId) -> Changed {
        self.note(|kept| kept.handed_out(rotation))
    }

    fn note_first_use(&mut self, new_digest: &Digest, now: UnixMillis) -> Changed {
        self.note(|kept| kept.used(new_digest, now))
    }

    fn append_event(&mut self, event: &Event<'_>, now: StoreTime) -> Changed {
        // An import's own rows are told some time after it counts.
        if let Some(old) = event.old_digest {
            self.tables.tell_imported(old);
        }
        self.tables.log(AuditRow {
            at: now,
            user: event.user.clone(),
            action: event.action,
            revision: event.revision,
            old_digest: event.old_digest.copied(),
            new_digest: event.new_digest.copied(),
            hint: event.hint.map(str::to_owned),
            source: event.by.source,
            rotation_id: event.rotation_id,
            client_address: event.client_address(),
            client_request_id: event.client_request_id(),
            uses: event.uses,
        });
        Ok(())
    }

    fn insert_session(&mut self, digest: &Digest, user: &UserId, at: UnixMillis) -> Changed {
        let session = SessionRow {
            user: user.clone(),
            created: at,
            seen: at,
        };
        match self.tables.users.has(user) && self.tables.sessions.add(*digest, session) {
            true => Ok(()),
            false => Err(Impossible("a session of nobody, or one that was there")),
        }
    }

    fn touch_session(&mut self, digest: &Digest, at: UnixMillis) -> Changed {
        self.tables
            .sessions
            .change(digest, |session| session.seen = at);
        Ok(())
    }

    fn end_session(&mut self, digest: &Digest) -> Result<bool, Impossible> {
        Ok(self.tables.sessions.remove(digest))
    }

    fn end_sessions(&mut self, user: &UserId) -> Changed {
        let sessions = &mut self.tables.sessions;
        sessions.remove_where(|_, session| session.user == *user);
        Ok(())
    }

    fn end_sessions_after(&mut self, user: &UserId, after: UnixMillis) -> Changed {
        let sessions = &mut self.tables.sessions;
        sessions.remove_where(|_, session| session.user == *user && session.created > after);
        Ok(())
    }

    fn keep_newest_sessions(&mut self, user: &UserId, most: u32) -> Changed {
        let sessions = self.tables.sessions.iter();
        let of_user = sessions.filter(|(_, session)| session.user == *user);
        let by_age = of_user.map(|(digest, session)| (session.created, *digest));
        for digest in all_but_newest(by_age.collect(), most) {
            self.tables.sessions.remove(&digest);
        }
        Ok(())
    }

    fn insert_device(&mut self, digest: &Digest, user: &UserId, at: UnixMillis) -> Changed {
        let device = Device {
            user: user.clone(),
            seen: at,
        };
        match self.tables.users.has(user) && self.tables.devices.add(*digest, device) {
            true => Ok(()),
            false => Err(Impossible("a browser of nobody, or one that was there")),
        }
    }

    fn forget_device(&mut self, digest: &Digest, user: &UserId) -> Changed {
        if self.is_known_device(digest, user)? {
            self.tables.devices.remove(digest);
        }
        Ok(())
    }

    fn forget_devices(&mut self, user: &UserId) -> Changed {
        let devices = &mut self.tables.devices;
        devices.remove_where(|_, device| device.user == *user);
        Ok(())
    }

    fn forget_devices_after(&mut self, user: &UserId, after: UnixMillis) -> Changed {
        let devices = &mut self.tables.devices;
        devices.remove_where(|_, device| device.user == *user && device.seen > after);
        Ok(())
    }

    fn keep_newest_devices(&mut self, user: &UserId, most: u32) -> Changed {
        let devices = self.tables.devices.iter();
        let of_user = devices.filter(|(_, device)| device.user == *user);
        let by_age = of_user.map(|(digest, device)| (device.seen, *digest));
        for digest in all_but_newest(by_age.collect(), most) {
            self.tables.devices.remove(&digest);
        }
        Ok(())
    }

    fn log_everybody_out(&mut self) -> Changed {
        self.tables.sessions.remove_where(|_, _| true);
        self.tables.devices.remove_where(|_, _| true);
        Ok(())
    }

    fn begin_import(&mut self, _: UnixMillis) -> Result<ImportId, Impossible> {
        let last = self.tables.imports.last();
        let id = last.map_or(1, |(last, _)| last + 1);
        let import = ImportState {
            counts: None,
            is_told: false,
        };
        self.tables.imports.put(id, import);
        Ok(ImportId(id))
    }

    fn insert_imported(
        &mut self,
        import: ImportId,
        rows: &[ImportedRow],
        at: UnixMillis,
    ) -> Result<Loaded, Impossible> {
        let mut rows_in = rows
            .iter()
            .take_while(|row| self.tables.import(import, row, at));
        match rows_in.by_ref().count() {
            count if count == rows.len() => Ok(Loaded::Rows(count)),
            _ => Ok(Loaded::Conflict),
        }
    }

    fn count_import(&mut self, import: ImportId, revision: u64, at: UnixMillis) -> Changed {
        self.tables.count_import(import, revision, at)
    }

    fn tell_imported(&mut self, keys: &[Digest]) -> Result<usize, Impossible> {
        for digest in keys {
            self.tables.tell_imported(digest);
        }
        Ok(keys.len())
    }

    fn end_import(&mut self, import: ImportId) -> Changed {
        if self.tables.counts(Some(import.0)) {
            let imports = &mut self.tables.imports;
            imports.change(&import.0, |import| import.is_told = true);
        }
        Ok(())
    }

    fn remove_imported_keys(
        &mut self,
        import: ImportId,
        keys: &[Digest],
    ) -> Result<usize, Impossible> {
        self.tables.remove_imported_keys(import, keys)
    }

    fn remove_imported_users(
        &mut self,
        import: ImportId,
        users: &[UserId],
    ) -> Result<usize, Impossible> {
        self.tables.remove_imported_users(import, users)
    }

    fn forget_import(&mut self, import: ImportId) -> Changed {
        if !self.tables.counts(Some(import.0)) {
            self.tables.imports.remove(&import.0);
        }
        Ok(())
    }
}

impl OwnerTx for MemoryTx<'_, &mut Tables> {
    fn begin_incarnation(&mut self, incarnation: &NewIncarnation) -> Result<Mark, Impossible> {
        self.tables.begin_incarnation(incarnation)
    }

    fn accept_loss_before(&mut self, revision: u64) -> Changed {
        let counters = &mut self.tables.counters;
        counters.change(|counters| counters.accepted_before = revision);
        Ok(())
    }

    fn record_longest_lease(&mut self, lease_ms: u32) -> Changed {
        self.tables.counters.change(|counters| {
            counters.longest_lease_ms = counters.longest_lease_ms.max(lease_ms);
        });
        Ok(())
    }
}

impl MemoryTx<'_, &mut Tables> {
    /// Notes something about a record.
    fn note(&mut self, note: impl FnOnce(&mut KeptReplays)) -> Changed {
        if let Some(kept) = &mut self.kept {
            note(kept);
        }
        Ok(())
    }
}
