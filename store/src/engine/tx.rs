//! The words of a transaction.
//!
//! A word that looks sees what the words before it in the same transaction have
//! written, and otherwise one snapshot. The words are as large as the operations
//! need them: one for a page of the audit log and not one for each row.
//!
//! An engine without tables finds at each word which order or which index it needs.

use std::collections::BTreeMap;

use rekey_protocol::{Digest, Head, Replay, Revocation, RotationId, UserId};

use super::Impossible;
use super::record::Mark;
use super::rows::{
    CurrentKey, Event, ImportId, ImportedRow, Key, KeyAtHead, KnownPast, KnownSession, LastUse,
    Loaded, MadeRotation, NewIncarnation, NewKey, OldKeyUsed, PasswordHash, ReplayRecord, Stage,
    UserClaim, UserStatus,
};
use crate::accounts::email::Email;
use crate::api::{AuditEvent, KeyShown, OldKeyUse, UserEntry};
use crate::clock::{StoreTime, UnixMillis};
use crate::operations::audit::Selection;
use crate::operations::users::NewUser;
use crate::rules::rotation::Recorded;

/// Stands for the revision that the transaction under way will have, where an engine
/// learns of it only by the commit.
///
/// It is the largest number that JSON can say exactly, and later than every real
/// revision. It is never kept. Results get the real one when it is known
/// ([`crate::operations::Operation::settle`]).
pub(crate) const PENDING: u64 = (1 << 53) - 1;

/// Puts the revision of the commit where it was not known yet.
pub(crate) fn settle(revision: &mut u64, committed: u64) {
    if *revision == PENDING {
        *revision = committed;
    }
}

/// The words that look.
///
/// They take `&self`: an engine that notes what was looked at does so in a cell.
pub trait ReadTx {
    /// Why a word has no answer: a conflict or a fault, as the engine knows it.
    type Error: From<Impossible>;

    // The history.

    /// Where the history stands.
    fn head(&self) -> Result<Head, Self::Error>;
    /// At most `limit` revocations after a revision, oldest first.
    fn revoked_after(&self, revision: u64, limit: usize) -> Result<Vec<Revocation>, Self::Error>;

    // Keys. Those of an import that does not count are not there, except where it is
    // said.

    /// A key that counts.
    fn key(&self, digest: &Digest) -> Result<Option<Key>, Self::Error>;
    /// A key that counts, and where the history stands. Gateways wait for it, so an
    /// engine may have a quicker way than the two words.
    fn key_and_head(&self, digest: &Digest) -> Result<KeyAtHead, Self::Error> {
        let head = self.head()?;
        let key = self.key(digest)?;
        Ok(KeyAtHead { key, head })
    }
    /// Whether there is such a key in whatever state, also of an import that does not
    /// count.
    fn key_exists(&self, digest: &Digest) -> Result<bool, Self::Error>;
    /// The user's active key.
    fn active_key(&self, user: &UserId) -> Result<Option<CurrentKey>, Self::Error>;
    /// What the operator is shown of a key, which may be of an import that does not
    /// count.
    fn key_shown(&self, digest: &Digest) -> Result<Option<KeyShown>, Self::Error>;
    /// When a key was last used, whether or not it is still good.
    fn last_use(&self, digest: &Digest) -> Result<Option<LastUse>, Self::Error>;
    /// At most `limit` old keys of a user that were used since they were replaced or
    /// revoked, the last used first.
    fn old_key_uses(&self, user: &UserId, limit: u32) -> Result<Vec<OldKeyUse>, Self::Error>;
    /// When the audit log was last told of an old key of the user, by the limit's
    /// clock.
    fn last_told_of_old_keys(&self, user: &UserId) -> Result<Option<UnixMillis>, Self::Error>;

    // Users.

    /// What this id stands for; `None`: nobody has had it that counts.
    fn user_status(&self, user: &UserId) -> Result<Option<UserStatus>, Self::Error>;
    /// Whether there is such a user.
    fn user_exists(&self, user: &UserId) -> Result<bool, Self::Error> {
        Ok(self.user_status(user)? == Some(UserStatus::Here))
    }
    /// When this user last rotated, by the limit's clock.
    ///
    /// # Errors
    /// Also if there is no such user.
    fn last_rotated(&self, user: &UserId) -> Result<Option<UnixMillis>, Self::Error>;
    /// Whose an address is, however it is spelled; of several users the one of this
    /// very spelling, and otherwise the oldest.
    fn owner_of_email(&self, typed: &str) -> Result<Option<UserId>, Self::Error>;
    /// Whether somebody other than this user has the address, however it is spelled.
    /// An import that does not count holds its addresses, too.
    fn is_anothers_email(&self, email: &Email, user: &UserId) -> Result<bool, Self::Error>;
    /// Whether the user has an address to log in with.
    fn has_email(&self, user: &UserId) -> Result<bool, Self::Error>;
    /// The hash of the user's password.
    fn password(&self, user: &UserId) -> Result<Option<PasswordHash>, Self::Error>;
    /// Whether an import that does not count holds what is claimed.
    fn is_reserved(&self, claim: &UserClaim<'_>) -> Result<bool, Self::Error>;
    /// At most `limit` users after the id `after`, in the order of the ids.
    fn users_after(&self, after: &str, limit: u32) -> Result<Vec<UserEntry>, Self::Error>;

    // Rotations.

    /// What is on record under a rotation id, or the ticket of a form (S11).
    fn recorded(&self, id: RotationId) -> Result<Option<Recorded>, Self::Error>;
    /// The rotation that revoked a key at this revision.
    fn rotation_that_revoked(
        &self,
        old: &Digest,
        revision: u64,
    ) -> Result<Option<MadeRotation>, Self::Error>;

    // The audit log, in the order in which it was written.

    /// The last thing that happened to the user's keys.
    fn last_key_event(&self, user: &UserId) -> Result<Option<AuditEvent>, Self::Error>;
    /// The user's last rotation.
    fn last_rotation(&self, user: &UserId) -> Result<Option<AuditEvent>, Self::Error>;
    /// The last `limit` events of a user except refused tries, newest first.
    fn last_events(&self, user: &UserId, limit: u32) -> Result<Vec<AuditEvent>, Self::Error>;
    /// The last `limit` refused tries with a user's password, newest first.
    fn last_refused(&self, user: &UserId, limit: u32) -> Result<Vec<AuditEvent>, Self::Error>;
    /// How many keys a user has made after a revocation, later than this moment of
    /// the limit's clock.
    fn count_issued_by_user(&self, user: &UserId, after: UnixMillis) -> Result<u32, Self::Error>;
    /// How many tries with a user's password were refused, later than this moment of
    /// the limit's clock, as far as the log has them.
    fn count_refused(&self, user: &UserId, after: UnixMillis) -> Result<u32, Self::Error>;
    /// The events that are wanted, oldest first.
    fn events(&self, wanted: &Selection) -> Result<Vec<AuditEvent>, Self::Error>;

    // Sessions.

    /// Whether a session is there, over or not: it is until it is ended, and for
    /// some time after it is over.
    fn session_exists(&self, digest: &Digest) -> Result<bool, Self::Error>;
    /// A session that is there, over or not.
    fn session(&self, digest: &Digest) -> Result<Option<KnownSession>, Self::Error>;
    /// Whether the user has logged in in the browser that is known by this.
    fn is_known_device(&self, digest: &Digest, user: &UserId) -> Result<bool, Self::Error>;

    // Imports.

    /// How far an import has come.
    fn import_stage(&self, import: ImportId) -> Result<Stage, Self::Error>;
    /// Those that are not over.
    fn unfinished_imports(&self) -> Result<Vec<ImportId>, Self::Error>;
    /// At most `limit` keys that an import brought and that are there, after this
    /// one, in the order of the digests.
    fn imported_keys(
        &self,
        import: ImportId,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<Vec<Digest>, Self::Error>;
    /// The same of the users that an import brought, in the order of the ids.
    fn imported_users(
        &self,
        import: ImportId,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<UserId>, Self::Error>;
}

/// The words that change.
///
/// An engine keeps what they write until the operation is at its end, and forgets it
/// if the operation fails. What is kept for replays is the exception: a record
/// counts only together with its rotation (X6), so one without may be left behind,
/// and what is noted about a record may stand although the operation was undone.
pub trait Tx: ReadTx {
    // The history.

    /// Counts one change: every change has a revision of its own. Notes the time that
    /// it acted upon, which is never forgotten (S12).
    fn next_revision(&mut self, now: StoreTime) -> Result<u64, Self::Error>;

    // Keys.

    /// Adds an active key. A second one of the same user is an error (I3), as is a
    /// digest that was there before.
    fn insert_key(&mut self, key: &NewKey<'_>) -> Result<(), Self::Error>;
    /// Ends a key. It is an error if it is not active.
    fn revoke_key(
        &mut self,
        digest: &Digest,
        at: UnixMillis,
        revision: u64,
    ) -> Result<(), Self::Error>;
    /// The rotation that just revoked this key may be answered again until then.
    fn set_replayable(&mut self, digest: &Digest, until: UnixMillis) -> Result<(), Self::Error>;

    /// Moves the last uses of these keys forwards, to the hours that begin here, and
    /// returns how many that changed. Keys that are not there are passed over. Of one
    /// that is revoked, uses count until the hour of its end. What is on record and
    /// later than the present hour is of a clock that was wrong: it is replaced.
    fn record_last_uses(
        &mut self,
        uses: &BTreeMap<Digest, UnixMillis>,
        present_hour: UnixMillis,
    ) -> Result<u64, Self::Error>;
    /// Adds uses to a revoked key. `None`: there is no such key. With the first ones
    /// it is noted whether a rotation replaced the key, as the audit log says.
    fn add_old_key_uses(
        &mut self,
        digest: &Digest,
        uses: u64,
        at: UnixMillis,
    ) -> Result<Option<OldKeyUsed>, Self::Error>;
    /// The audit log is told of the uses of this old key, at this moment of the
    /// limit's clock.
    fn note_old_key_told(&mut self, digest: &Digest, at: UnixMillis) -> Result<(), Self::Error>;

    // Users.

    /// Adds a user without a key; with a password, if there is one.
    fn insert_user(&mut self, new: &NewUser, created: UnixMillis) -> Result<(), Self::Error>;
    /// Begins the user's wait until the next rotation. S12: last = max(last, now).
    fn begin_interval(&mut self, user: &UserId, now: StoreTime) -> Result<(), Self::Error>;

    /// Gives a user an address, in place of the present one if there is one.
    fn set_email(&mut self, user: &UserId, email: &Email) -> Result<(), Self::Error>;
    /// Gives a user a password, in place of the present one if there is one. The hash
    /// is of its normal form.
    fn set_password(&mut self, user: &UserId, phc: &str, at: UnixMillis)
    -> Result<(), Self::Error>;
    /// Replaces the hash of a password that stays what it is, by that of its normal
    /// form.
    fn renew_password(&mut self, user: &UserId, phc: &str) -> Result<(), Self::Error>;
    /// Takes a user's name out of all that stays. There is a new user who is a
    /// [`UserStatus::Pseudonym`] and has the times of the old one. The keys, their
    /// rotations and uses, and the whole audit log are the pseudonym's from now on;
    /// rows that an import owes for the active key come before that. The old id stays
    /// as [`UserStatus::Removed`], without an address, a password, or any time.
    ///
    /// Sessions and browsers have words of their own.
    fn make_pseudonymous(&mut self, user: &UserId, pseudonym: &UserId) -> Result<(), Self::Error>;

    // Rotations.

    /// Puts an answer on record under its rotation id, which is not on record yet.
    fn record_answer(
        &mut self,
        id: RotationId,
        answer: &Recorded,
        now: StoreTime,
    ) -> Result<(), Self::Error>;

    // What is kept for replays. An engine that keeps nothing answers that there is
    // nothing.

    /// Keeps the record of a rotation that is about to be committed. `false`: it is
    /// not kept, because a rotation without one is better than none. From now on the
    /// engine waits for the first use of the new key (X4).
    fn keep_replay(
        &mut self,
        rotation: RotationId,
        new_digest: &Digest,
        replay: &Replay,
        now: UnixMillis,
    ) -> Result<bool, Self::Error>;
    /// The record of a committed rotation, if it can be read.
    fn replay(&mut self, rotation: RotationId) -> Result<Option<ReplayRecord>, Self::Error>;
    /// An opening failed.
    fn count_failed_opening(&mut self, rotation: RotationId) -> Result<(), Self::Error>;
    /// The record is of no use any more.
    fn destroy_replay(&mut self, rotation: RotationId) -> Result<(), Self::Error>;
    /// The record was handed out.
    fn count_handed_out(&mut self, rotation: RotationId) -> Result<(), Self::Error>;
    /// A client has used this new key, for the first time.
    fn note_first_use(&mut self, new_digest: &Digest, now: UnixMillis) -> Result<(), Self::Error>;

    // The audit log.

    /// Adds a row (I3). Rows that an import owes for the old key come before it.
    fn append_event(&mut self, event: &Event<'_>, now: StoreTime) -> Result<(), Self::Error>;

    // Sessions, and the browsers in which users have logged in. All moments are of
    // the limit's clock.

    /// Adds a session that begins at this moment.
    fn insert_session(
        &mut self,
        digest: &Digest,
        user: &UserId,
        at: UnixMillis,
    ) -> Result<(), Self::Error>;
    /// Notes that a session is in use.
    fn touch_session(&mut self, digest: &Digest, at: UnixMillis) -> Result<(), Self::Error>;
    /// Ends a session; whether there was one.
    fn end_session(&mut self, digest: &Digest) -> Result<bool, Self::Error>;
    /// Ends all sessions of a user.
    fn end_sessions(&mut self, user: &UserId) -> Result<(), Self::Error>;
    /// Ends the sessions of a user that began later than this.
    fn end_sessions_after(&mut self, user: &UserId, after: UnixMillis) -> Result<(), Self::Error>;
    /// Ends all sessions of a user but the newest. Of those of one moment, any.
    fn keep_newest_sessions(&mut self, user: &UserId, most: u32) -> Result<(), Self::Error>;
    /// Adds a browser in which the user logs in at this moment.
    fn insert_device(
        &mut self,
        digest: &Digest,
        user: &UserId,
        at: UnixMillis,
    ) -> Result<(), Self::Error>;
    /// Forgets a browser, if it is this user's.
    fn forget_device(&mut self, digest: &Digest, user: &UserId) -> Result<(), Self::Error>;
    /// Forgets all browsers of a user.
    fn forget_devices(&mut self, user: &UserId) -> Result<(), Self::Error>;
    /// Forgets the browsers of a user that were last seen later than this.
    fn forget_devices_after(&mut self, user: &UserId, after: UnixMillis)
    -> Result<(), Self::Error>;
    /// Forgets all browsers of a user but those that were seen last. Of those of one
    /// moment, any.
    fn keep_newest_devices(&mut self, user: &UserId, most: u32) -> Result<(), Self::Error>;
    /// Ends all sessions and forgets all browsers, of all users.
    fn log_everybody_out(&mut self) -> Result<(), Self::Error>;

    // Imports. Their rows do not count until one change makes them. Words that take
    // many rows do with them in their order as many as are fit for one change, at
    // least one of those that there are.

    /// Begins an import without rows.
    fn begin_import(&mut self, at: UnixMillis) -> Result<ImportId, Self::Error>;
    /// Puts rows in. After a conflict some of them may be in.
    fn insert_imported(
        &mut self,
        import: ImportId,
        rows: &[ImportedRow],
        at: UnixMillis,
    ) -> Result<Loaded, Self::Error>;
    /// From now on all rows of the import count. It is an error if they do already,
    /// or if there is no such import.
    fn count_import(
        &mut self,
        import: ImportId,
        revision: u64,
        at: UnixMillis,
    ) -> Result<(), Self::Error>;
    /// Tells the audit log of imported keys that count, as of the moment from which
    /// they do, by the operator. Keys of which it was told are passed over. Returns
    /// how many of the list are done.
    fn tell_imported(&mut self, keys: &[Digest]) -> Result<usize, Self::Error>;
    /// The audit log has been told of all keys of an import that counts.
    fn end_import(&mut self, import: ImportId) -> Result<(), Self::Error>;
    /// Takes out keys that an import brought, unless it counts. Returns how many of
    /// the list are done.
    fn remove_imported_keys(
        &mut self,
        import: ImportId,
        keys: &[Digest],
    ) -> Result<usize, Self::Error>;
    /// Takes out users that an import brought, unless it counts. Their keys are out.
    /// Returns how many of the list are done.
    fn remove_imported_users(
        &mut self,
        import: ImportId,
        users: &[UserId],
    ) -> Result<usize, Self::Error>;
    /// Nothing is left of an import that does not count.
    fn forget_import(&mut self, import: ImportId) -> Result<(), Self::Error>;
}

/// The words that look, of an engine whose data one process owns at a time (S10).
pub trait OwnerReadTx: ReadTx {
    /// What the data knows of the past, for an incarnation that is about to begin.
    fn known_past(&self) -> Result<KnownPast, Self::Error>;
}

/// The words that change, of such an engine.
pub trait OwnerTx: Tx + OwnerReadTx {
    /// Begins an incarnation: the one before it ends with what the data has reached, and this
    /// one goes on from its own first revision (S8). Returns how far that is.
    fn begin_incarnation(&mut self, incarnation: &NewIncarnation) -> Result<Mark, Self::Error>;
    /// From now on cursors before this revision may be of a history whose loss the
    /// operator has accepted (S8).
    fn accept_loss_before(&mut self, revision: u64) -> Result<(), Self::Error>;
    /// Puts the longest lease on record (S9).
    fn record_longest_lease(&mut self, lease_ms: u32) -> Result<(), Self::Error>;
}
