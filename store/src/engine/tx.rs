//! The words of a transaction.
//!
//! A word that looks sees what the words before it in the same transaction have
//! written, and otherwise one snapshot. The words are as large as the operations
//! need them: one for a page of the audit log and not one for each row.
//!
//! An engine without tables finds at each word which order or which index it needs.

use rekey_protocol::{Change, Digest, Head, Replay, RotationId, UserId};

use super::Impossible;
use super::rows::{
    ActiveKey, Claim, Event, Key, LastUse, MadeRotation, NewKey, ReplayRecord, Standing,
};
use crate::api::{AuditEvent, KeyShown, OldKeyUse, UserEntry};
use crate::clock::{Moment, UnixMillis};
use crate::operations::audit::Selection;
use crate::operations::users::NewUser;
use crate::rotation::Recorded;

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
    fn revoked_after(&self, revision: u64, limit: usize) -> Result<Vec<Change>, Self::Error>;

    // Keys. Those of an import that does not count are not there, except where it is
    // said.

    /// A key that counts.
    fn key(&self, digest: &Digest) -> Result<Option<Key>, Self::Error>;
    /// Whether there is such a key in whatever state, also of an import that does not
    /// count.
    fn key_exists(&self, digest: &Digest) -> Result<bool, Self::Error>;
    /// The user's active key.
    fn active_key(&self, user: &UserId) -> Result<Option<ActiveKey>, Self::Error>;
    /// What the operator is shown of a key, which may be of an import that does not
    /// count.
    fn key_shown(&self, digest: &Digest) -> Result<Option<KeyShown>, Self::Error>;
    /// When a key was last used, whether or not it is still good.
    fn last_use(&self, digest: &Digest) -> Result<Option<LastUse>, Self::Error>;
    /// At most `limit` old keys of a user that were used since they were replaced or
    /// revoked, the last used first.
    fn old_key_uses(&self, user: &UserId, limit: u32) -> Result<Vec<OldKeyUse>, Self::Error>;

    // Users.

    /// What this id stands for; `None`: nobody has had it that counts.
    fn standing(&self, user: &UserId) -> Result<Option<Standing>, Self::Error>;
    /// Whether there is such a user.
    fn user_exists(&self, user: &UserId) -> Result<bool, Self::Error> {
        Ok(self.standing(user)? == Some(Standing::Here))
    }
    /// When this user last rotated, by the limit's clock.
    ///
    /// # Errors
    /// Also if there is no such user.
    fn last_rotated(&self, user: &UserId) -> Result<Option<UnixMillis>, Self::Error>;
    /// Whose an address is, however it is spelled; of several users the one of this
    /// very spelling, and otherwise the oldest.
    fn owner_of_email(&self, typed: &str) -> Result<Option<UserId>, Self::Error>;
    /// Whether an import that does not count holds what is claimed.
    fn is_reserved(&self, claim: &Claim<'_>) -> Result<bool, Self::Error>;
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
    /// The events that are wanted, oldest first.
    fn events(&self, wanted: &Selection) -> Result<Vec<AuditEvent>, Self::Error>;

    // Sessions.

    /// Whether a session is there, over or not: it is until it is ended, and for
    /// some time after it is over.
    fn session_exists(&self, digest: &Digest) -> Result<bool, Self::Error>;
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
    fn next_revision(&mut self, now: Moment) -> Result<u64, Self::Error>;

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

    // Users.

    /// Adds a user without a key; with a password, if there is one.
    fn insert_user(&mut self, new: &NewUser, created: UnixMillis) -> Result<(), Self::Error>;
    /// Begins the user's wait until the next rotation. S12: last = max(last, now).
    fn begin_interval(&mut self, user: &UserId, now: Moment) -> Result<(), Self::Error>;

    // Rotations.

    /// Puts an answer on record under its rotation id, which is not on record yet.
    fn record_answer(
        &mut self,
        id: RotationId,
        answer: &Recorded,
        now: Moment,
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
    fn append_event(&mut self, event: &Event<'_>, now: Moment) -> Result<(), Self::Error>;

    // The feed.

    /// Puts the longest lease on record (S9).
    fn record_longest_lease(&mut self, lease_ms: u32) -> Result<(), Self::Error>;
}
