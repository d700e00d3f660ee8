//! A transaction of SQLite as operations see it: each word is one or two statements.
//! It is begun and ended by whoever makes it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rekey_protocol::{Change, Digest, Head, Replay, RotationId, UserId};
use rusqlite::Connection;

use super::imports;
use super::replays::{Awaited, Replays};
use super::tables::{
    audit, history, keys, last_uses, old_keys, people, rotations, sessions, users,
};
use crate::api::{AuditEvent, KeyShown, OldKeyUse, UserEntry};
use crate::clock::{Moment, UnixMillis};
use crate::engine::rows::{
    ActiveKey, Claim, Event, Key, LastUse, MadeRotation, NewKey, ReplayRecord, Standing,
};
use crate::engine::{Impossible, ReadTx, Tx};
use crate::operations::audit::Selection;
use crate::operations::users::NewUser;
use crate::rotation::Recorded;

/// What is kept for replays, in its own file, and the new keys whose first use is
/// still to come. Cheap to clone.
#[derive(Clone)]
pub struct ReplayFile {
    records: Arc<Mutex<Replays>>,
    awaited: Arc<Awaited>,
}

impl ReplayFile {
    /// With these new keys, which were made before this moment.
    pub fn new(replays: Replays, now: UnixMillis) -> rusqlite::Result<Self> {
        let awaited = Awaited::default();
        for digest in replays.awaited()? {
            awaited.expect(digest, now);
        }
        Ok(Self {
            records: Arc::new(Mutex::new(replays)),
            awaited: Arc::new(awaited),
        })
    }

    /// The records.
    pub fn records(&self) -> MutexGuard<'_, Replays> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The new keys whose first use is still to come.
    pub fn awaited(&self) -> &Awaited {
        &self.awaited
    }
}

/// A transaction that has begun.
///
/// What is kept for replays is written to its own file at once, and is on disk before
/// the transaction is (X6).
pub struct SqliteTx<'a> {
    connection: &'a Connection,
    /// None: it only looks.
    kept: Option<&'a ReplayFile>,
}

impl<'a> SqliteTx<'a> {
    /// For an operation.
    pub fn new(connection: &'a Connection, kept: &'a ReplayFile) -> Self {
        Self {
            connection,
            kept: Some(kept),
        }
    }

    /// For a read.
    pub fn reading(connection: &'a Connection) -> Self {
        Self {
            connection,
            kept: None,
        }
    }

    /// Notes something about a record.
    fn note(
        &self,
        note: impl FnOnce(&mut Replays) -> rusqlite::Result<()>,
    ) -> rusqlite::Result<()> {
        self.kept.map_or(Ok(()), |kept| note(&mut kept.records()))
    }
}

impl From<Impossible> for rusqlite::Error {
    fn from(impossible: Impossible) -> Self {
        Self::ToSqlConversionFailure(Box::new(impossible))
    }
}

impl ReadTx for SqliteTx<'_> {
    type Error = rusqlite::Error;

    fn head(&self) -> rusqlite::Result<Head> {
        history::head(self.connection)
    }

    fn revoked_after(&self, revision: u64, limit: usize) -> rusqlite::Result<Vec<Change>> {
        history::revoked_after(self.connection, revision, limit)
    }

    fn key(&self, digest: &Digest) -> rusqlite::Result<Option<Key>> {
        keys::find(self.connection, digest)
    }

    fn key_exists(&self, digest: &Digest) -> rusqlite::Result<bool> {
        keys::exists(self.connection, digest)
    }

    fn active_key(&self, user: &UserId) -> rusqlite::Result<Option<ActiveKey>> {
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

    fn standing(&self, user: &UserId) -> rusqlite::Result<Option<Standing>> {
        users::standing(self.connection, user)
    }

    fn last_rotated(&self, user: &UserId) -> rusqlite::Result<Option<UnixMillis>> {
        users::last_rotated(self.connection, user)
    }

    fn owner_of_email(&self, typed: &str) -> rusqlite::Result<Option<UserId>> {
        people::owner(self.connection, typed)
    }

    fn is_reserved(&self, claim: &Claim<'_>) -> rusqlite::Result<bool> {
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

    fn events(&self, wanted: &Selection) -> rusqlite::Result<Vec<AuditEvent>> {
        audit::list(self.connection, wanted)
    }

    fn session_exists(&self, digest: &Digest) -> rusqlite::Result<bool> {
        sessions::exists(self.connection, digest)
    }
}

impl Tx for SqliteTx<'_> {
    fn next_revision(&mut self, now: Moment) -> rusqlite::Result<u64> {
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

    fn insert_user(&mut self, new: &NewUser, created: UnixMillis) -> rusqlite::Result<()> {
        users::insert(self.connection, new, created)
    }

    fn begin_interval(&mut self, user: &UserId, now: Moment) -> rusqlite::Result<()> {
        users::begin_hour(self.connection, now, user)
    }

    fn record_answer(
        &mut self,
        id: RotationId,
        answer: &Recorded,
        now: Moment,
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

    fn append_event(&mut self, event: &Event<'_>, now: Moment) -> rusqlite::Result<()> {
        audit::append(self.connection, now, event)
    }

    fn record_longest_lease(&mut self, lease_ms: u32) -> rusqlite::Result<()> {
        history::record_lease(self.connection, lease_ms)
    }
}

/// Operations on a bare connection, for tests.
#[cfg(test)]
pub mod testing {
    use rusqlite::Connection;

    use super::*;
    use crate::operations::{Context, Operation, Read};
    use crate::rotation::RotationInterval;

    fn context(now: Moment) -> Context {
        Context {
            now,
            interval: RotationInterval::HOUR,
        }
    }

    /// Carries an operation out that keeps nothing for replays.
    pub fn run<O: Operation>(connection: &Connection, now: Moment, operation: &O) -> O::Out {
        let mut transaction = SqliteTx::reading(connection);
        operation.apply(&mut transaction, &context(now)).unwrap()
    }

    /// Looks.
    pub fn read<R: Read>(connection: &Connection, now: Moment, read: &R) -> R::Out {
        let transaction = SqliteTx::reading(connection);
        read.read(&transaction, &context(now)).unwrap()
    }
}
