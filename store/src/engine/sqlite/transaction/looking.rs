//! The words that look.

use rekey_protocol::{Digest, Head, Revocation, RotationId, UserId};

use super::SqliteTx;
use crate::accounts::email::Email;
use crate::api::{AuditEvent, KeyShown, OldKeyUse, UserEntry};
use crate::clock::UnixMillis;
use crate::engine::rows::{
    CurrentKey, ImportId, Key, KeyAtHead, KnownPast, KnownSession, LastUse, MadeRotation,
    PasswordHash, Stage, UserClaim, UserStatus,
};
use crate::engine::sqlite::imports;
use crate::engine::sqlite::tables::{
    audit, devices, history, keys, last_uses, old_keys, passwords, people, rotations, sessions,
    users,
};
use crate::engine::{OwnerReadTx, ReadTx};
use crate::operations::audit::Selection;
use crate::rules::rotation::Recorded;

impl ReadTx for SqliteTx<'_> {
    type Error = rusqlite::Error;

    fn head(&self) -> rusqlite::Result<Head> {
        history::head(self.connection)
    }

    fn revoked_after(&self, revision: u64, limit: usize) -> rusqlite::Result<Vec<Revocation>> {
        history::revoked_after(self.connection, revision, limit)
    }

    fn key(&self, digest: &Digest) -> rusqlite::Result<Option<Key>> {
        keys::find(self.connection, digest)
    }

    fn key_and_head(&self, digest: &Digest) -> rusqlite::Result<KeyAtHead> {
        keys::find_with_head(self.connection, digest)
    }

    fn key_exists(&self, digest: &Digest) -> rusqlite::Result<bool> {
        keys::exists(self.connection, digest)
    }

    fn active_key(&self, user: &UserId) -> rusqlite::Result<Option<CurrentKey>> {
        keys::active(self.connection, user)
    }

    fn key_shown(&self, digest: &Digest) -> rusqlite::Result<Option<KeyShown>> {
        keys::show(self.connection, digest)
    }

    fn last_use(&self, digest: &Digest) -> rusqlite::Result<Option<LastUse>> {
        last_uses::of_key(self.connection, digest)
    }

    fn old_key_uses(&self, user: &UserId, limit: u32) -> rusqlite::Result<Vec<OldKeyUse>> {
        old_keys::of_user(self.connection, user, limit)
    }

    fn last_told_of_old_keys(&self, user: &UserId) -> rusqlite::Result<Option<UnixMillis>> {
        old_keys::last_told(self.connection, user)
    }

    fn user_status(&self, user: &UserId) -> rusqlite::Result<Option<UserStatus>> {
        users::user_status(self.connection, user)
    }

    fn last_rotated(&self, user: &UserId) -> rusqlite::Result<Option<UnixMillis>> {
        users::last_rotated(self.connection, user)
    }

    fn owner_of_email(&self, typed: &str) -> rusqlite::Result<Option<UserId>> {
        people::owner(self.connection, typed)
    }

    fn is_anothers_email(&self, email: &Email, user: &UserId) -> rusqlite::Result<bool> {
        people::is_anothers(self.connection, user, email)
    }

    fn has_email(&self, user: &UserId) -> rusqlite::Result<bool> {
        people::has_address(self.connection, user)
    }

    fn password(&self, user: &UserId) -> rusqlite::Result<Option<PasswordHash>> {
        passwords::of_user(self.connection, user)
    }

    fn is_reserved(&self, claim: &UserClaim<'_>) -> rusqlite::Result<bool> {
        imports::reserves(self.connection, claim.user.as_str(), claim.email)
    }

    fn users_after(&self, after: &str, limit: u32) -> rusqlite::Result<Vec<UserEntry>> {
        users::list(self.connection, after, limit)
    }

    fn recorded(&self, id: RotationId) -> rusqlite::Result<Option<Recorded>> {
        rotations::recorded(self.connection, id)
    }

    fn rotation_that_revoked(
        &self,
        old: &Digest,
        revision: u64,
    ) -> rusqlite::Result<Option<MadeRotation>> {
        rotations::that_revoked(self.connection, old, revision)
    }

    fn last_key_event(&self, user: &UserId) -> rusqlite::Result<Option<AuditEvent>> {
        audit::latest_of_keys(self.connection, user)
    }

    fn last_rotation(&self, user: &UserId) -> rusqlite::Result<Option<AuditEvent>> {
        audit::latest_rotation(self.connection, user)
    }

    fn last_events(&self, user: &UserId, limit: u32) -> rusqlite::Result<Vec<AuditEvent>> {
        audit::latest(self.connection, user, limit)
    }

    fn last_refused(&self, user: &UserId, limit: u32) -> rusqlite::Result<Vec<AuditEvent>> {
        audit::latest_refused(self.connection, user, limit)
    }

    fn count_issued_by_user(&self, user: &UserId, after: UnixMillis) -> rusqlite::Result<u32> {
        audit::count_issued_by_user(self.connection, user, after)
    }

    fn count_refused(&self, user: &UserId, after: UnixMillis) -> rusqlite::Result<u32> {
        audit::count_refused(self.connection, user, after)
    }

    fn events(&self, wanted: &Selection) -> rusqlite::Result<Vec<AuditEvent>> {
        audit::list(self.connection, wanted)
    }

    fn session_exists(&self, digest: &Digest) -> rusqlite::Result<bool> {
        sessions::exists(self.connection, digest)
    }

    fn session(&self, digest: &Digest) -> rusqlite::Result<Option<KnownSession>> {
        sessions::find(self.connection, digest)
    }

    fn is_known_device(&self, digest: &Digest, user: &UserId) -> rusqlite::Result<bool> {
        devices::is_known(self.connection, digest, user)
    }

    fn import_stage(&self, import: ImportId) -> rusqlite::Result<Stage> {
        imports::stage(self.connection, import)
    }

    fn unfinished_imports(&self) -> rusqlite::Result<Vec<ImportId>> {
        imports::unfinished(self.connection)
    }

    fn imported_keys(
        &self,
        import: ImportId,
        after: Option<&Digest>,
        limit: usize,
    ) -> rusqlite::Result<Vec<Digest>> {
        imports::keys_after(self.connection, import, after, limit)
    }

    fn imported_users(
        &self,
        import: ImportId,
        after: Option<&UserId>,
        limit: usize,
    ) -> rusqlite::Result<Vec<UserId>> {
        imports::users_after(self.connection, import, after, limit)
    }
}

impl OwnerReadTx for SqliteTx<'_> {
    fn known_past(&self) -> rusqlite::Result<KnownPast> {
        history::known_past(self.connection)
    }
}
