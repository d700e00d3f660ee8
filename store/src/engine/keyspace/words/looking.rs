//! The words that look. What each of them does is in the file of its subject.

use rekey_protocol::{Digest, Head, Revocation, RotationId, UserId};

use crate::accounts::email::Email;
use crate::api::{AuditEvent, KeyShown, OldKeyUse, UserEntry};
use crate::clock::UnixMillis;
use crate::engine::ReadTx;
use crate::engine::keyspace::KeyspaceTx;
use crate::engine::keyspace::space::Space;
use crate::engine::rows::{
    CurrentKey, ImportId, Key, KnownSession, LastUse, MadeRotation, PasswordHash, Stage, UserClaim,
    UserStatus,
};
use crate::operations::audit::Selection;
use crate::rules::rotation::Recorded;

impl<S: Space> ReadTx for KeyspaceTx<'_, S> {
    type Error = S::Error;

    fn head(&self) -> Result<Head, S::Error> {
        self.head()
    }

    fn revoked_after(&self, revision: u64, limit: usize) -> Result<Vec<Revocation>, S::Error> {
        self.revoked_after(revision, limit)
    }

    fn key(&self, digest: &Digest) -> Result<Option<Key>, S::Error> {
        self.key(digest)
    }

    fn key_exists(&self, digest: &Digest) -> Result<bool, S::Error> {
        self.key_exists(digest)
    }

    fn active_key(&self, user: &UserId) -> Result<Option<CurrentKey>, S::Error> {
        self.active_key(user)
    }

    fn key_shown(&self, digest: &Digest) -> Result<Option<KeyShown>, S::Error> {
        self.key_shown(digest)
    }

    fn last_use(&self, digest: &Digest) -> Result<Option<LastUse>, S::Error> {
        self.last_use(digest)
    }

    fn old_key_uses(&self, user: &UserId, limit: u32) -> Result<Vec<OldKeyUse>, S::Error> {
        self.old_key_uses(user, limit)
    }

    fn last_told_of_old_keys(&self, user: &UserId) -> Result<Option<UnixMillis>, S::Error> {
        self.last_told_of_old_keys(user)
    }

    fn user_status(&self, user: &UserId) -> Result<Option<UserStatus>, S::Error> {
        self.user_status(user)
    }

    fn last_rotated(&self, user: &UserId) -> Result<Option<UnixMillis>, S::Error> {
        self.last_rotated(user)
    }

    fn owner_of_email(&self, typed: &str) -> Result<Option<UserId>, S::Error> {
        self.owner_of_email(typed)
    }

    fn is_anothers_email(&self, email: &Email, user: &UserId) -> Result<bool, S::Error> {
        self.is_anothers_email(email, user)
    }

    fn has_email(&self, user: &UserId) -> Result<bool, S::Error> {
        self.has_email(user)
    }

    fn password(&self, user: &UserId) -> Result<Option<PasswordHash>, S::Error> {
        self.password(user)
    }

    fn is_reserved(&self, claim: &UserClaim<'_>) -> Result<bool, S::Error> {
        self.is_reserved(claim)
    }

    fn users_after(&self, after: &str, limit: u32) -> Result<Vec<UserEntry>, S::Error> {
        self.users_after(after, limit)
    }

    fn recorded(&self, id: RotationId) -> Result<Option<Recorded>, S::Error> {
        self.recorded(id)
    }

    fn rotation_that_revoked(
        &self,
        old: &Digest,
        revision: u64,
    ) -> Result<Option<MadeRotation>, S::Error> {
        self.rotation_that_revoked(old, revision)
    }

    fn last_key_event(&self, user: &UserId) -> Result<Option<AuditEvent>, S::Error> {
        self.last_key_event(user)
    }

    fn last_rotation(&self, user: &UserId) -> Result<Option<AuditEvent>, S::Error> {
        self.last_rotation(user)
    }

    fn last_events(&self, user: &UserId, limit: u32) -> Result<Vec<AuditEvent>, S::Error> {
        self.last_events(user, limit)
    }

    fn last_refused(&self, user: &UserId, limit: u32) -> Result<Vec<AuditEvent>, S::Error> {
        self.last_refused(user, limit)
    }

    fn count_issued_by_user(&self, user: &UserId, after: UnixMillis) -> Result<u32, S::Error> {
        self.count_issued_by_user(user, after)
    }

    fn count_refused(&self, user: &UserId, after: UnixMillis) -> Result<u32, S::Error> {
        self.count_refused(user, after)
    }

    fn events(&self, wanted: &Selection) -> Result<Vec<AuditEvent>, S::Error> {
        self.events(wanted)
    }

    fn session_exists(&self, digest: &Digest) -> Result<bool, S::Error> {
        self.session_exists(digest)
    }

    fn session(&self, digest: &Digest) -> Result<Option<KnownSession>, S::Error> {
        self.session(digest)
    }

    fn is_known_device(&self, digest: &Digest, user: &UserId) -> Result<bool, S::Error> {
        self.is_known_device(digest, user)
    }

    fn import_stage(&self, import: ImportId) -> Result<Stage, S::Error> {
        self.import_stage(import)
    }

    fn unfinished_imports(&self) -> Result<Vec<ImportId>, S::Error> {
        self.unfinished_imports()
    }

    fn imported_keys(
        &self,
        import: ImportId,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<Vec<Digest>, S::Error> {
        self.imported_keys(import, after, limit)
    }

    fn imported_users(
        &self,
        import: ImportId,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<UserId>, S::Error> {
        self.imported_users(import, after, limit)
    }
}
