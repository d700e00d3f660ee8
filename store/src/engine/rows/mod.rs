//! What the words of a transaction speak of.

mod event;

use rekey_protocol::{
    Digest, Head, Incarnation, ReplayProof, ResolvedState, RotationId, SealedKey, UserId,
};
use subtle::ConstantTimeEq;

use super::record::Mark;
use crate::accounts::email::Email;
use crate::accounts::password::StoredHash;
use crate::clock::{StoreTime, UnixMillis};
use crate::operations::uses::last_uses::hour_of;
use crate::rules::rotation::OldKey;

pub use event::{By, Event, Source};

/// A key that counts, and what its user may do with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Whether it is accepted.
    pub state: ResolvedState,
    /// Whose it is.
    pub user: UserId,
    /// The revision that last changed it.
    pub revision: u64,
    /// When its user last rotated, by the limit's clock.
    pub last_rotated: Option<UnixMillis>,
    /// Until when the rotation that revoked it may be answered again, by the limit's
    /// clock (X5).
    pub replay_until: Option<UnixMillis>,
}

impl From<Key> for OldKey {
    fn from(key: Key) -> Self {
        Self {
            state: key.state,
            user: key.user,
            revision: key.revision,
            last_rotated: key.last_rotated,
        }
    }
}

/// A key that counts, if there is one, and where the history stood at the same time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyAtHead {
    /// None: nobody was ever given it.
    pub key: Option<Key>,
    /// An answer that says "unknown" carries it.
    pub head: Head,
}

/// A user's active key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CurrentKey {
    /// All that is kept of the key itself.
    pub digest: Digest,
    /// Names it in a form: the revision at which it was made.
    pub revision: u64,
    /// Its last characters, where they are known.
    pub hint: Option<String>,
    /// When it was made or imported.
    pub created: UnixMillis,
}

/// A key that is to be active.
#[derive(Debug, Clone, Copy)]
pub struct NewKey<'a> {
    /// All that is kept of the key itself.
    pub digest: &'a Digest,
    /// Whose.
    pub user: &'a UserId,
    /// Its last characters.
    pub hint: Option<&'a str>,
    /// When it is made, as people are told.
    pub created: UnixMillis,
    /// The revision of that.
    pub revision: u64,
}

/// When a key was last used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastUse {
    /// In the hour that begins here.
    HourFrom(UnixMillis),
    /// Not since it was made.
    Never,
    /// It was made before uses were noted, and none has been since.
    NotKnown,
}

impl LastUse {
    /// Of what is on record, where uses were noted from the first key on.
    pub fn on_record(hour: Option<UnixMillis>, made: UnixMillis) -> Self {
        match hour {
            // The clock may have been ahead when it was written.
            Some(hour) => Self::HourFrom(hour.min(hour_of(UnixMillis::wall()))),
            None if made.0 > 0 => Self::Never,
            None => Self::NotKnown,
        }
    }

    /// The beginning of the hour, as RFC 3339 in UTC.
    pub fn rfc3339(self) -> Option<String> {
        match self {
            Self::HourFrom(hour) => Some(hour.rfc3339()),
            Self::Never | Self::NotKnown => None,
        }
    }
}

/// What an id of a user stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserStatus {
    /// A user.
    Here,
    /// Nobody any more, and nobody again.
    Removed,
    /// What a removed user is called in the audit log.
    Pseudonym,
}

/// What somebody is about to take, and an import may have taken first.
#[derive(Debug, Clone, Copy)]
pub struct UserClaim<'a> {
    /// The id, or a key for the user of this id.
    pub user: &'a UserId,
    /// The address.
    pub email: Option<&'a Email>,
}

/// The hash of a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PasswordHash {
    /// What is kept of it.
    pub stored: StoredHash,
    /// When it was set.
    pub changed: UnixMillis,
}

/// A session that was not ended. It may be over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownSession {
    /// Whose.
    pub user: UserId,
    /// The user's address; empty: none.
    pub email: String,
    /// When it began, by the limit's clock.
    pub created: UnixMillis,
    /// When it was last noted that it is in use, by the limit's clock.
    pub seen: UnixMillis,
}

/// An old key to which uses were added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldKeyUsed {
    /// Whose it was.
    pub user: UserId,
    /// Its last characters, where they are known.
    pub hint: Option<String>,
    /// How often it was used, with these.
    pub uses: u64,
    /// When the audit log was last told of it, by the limit's clock.
    pub told: Option<UnixMillis>,
}

/// Names an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImportId(pub i64);

/// A row of an import that was found good: an active key, and its user unless there
/// is one.
#[derive(Debug, Clone)]
pub struct ImportedRow {
    /// Whose key it is.
    pub user: UserId,
    /// Of the key.
    pub digest: Digest,
    /// The user's address, as it was typed.
    pub email: Option<String>,
    /// And in the form in which it is compared.
    pub email_normal: Option<String>,
    /// The key's last characters.
    pub hint: Option<String>,
}

/// How far an import has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Its rows do not count.
    Staged,
    /// They do, as of this revision; the audit log is not told of all of them.
    Counts(u64),
    /// All is done, or nothing is left of it.
    Over,
}

/// What came of one change with some rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loaded {
    /// So many of them, from the first on, are in.
    Rows(usize),
    /// A row cannot be: somebody has its id, address or key.
    Conflict,
}

/// One incarnation of the store, as it is on record in the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownIncarnation {
    /// Its random id.
    pub id: Incarnation,
    /// Its first revision.
    pub first: u64,
    /// How far it came; none for the last one.
    pub end: Option<IncarnationEnd>,
}

/// How far an incarnation came that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IncarnationEnd {
    /// Its last revision.
    pub revision: u64,
    /// The commits up to then; none where nobody counted yet.
    pub commits: Option<u64>,
}

/// All incarnations, and how far the last of them is (S8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// In their order.
    pub incarnations: Vec<KnownIncarnation>,
    /// How far the data is.
    pub mark: Mark,
}

/// What the data knows of the past when an incarnation begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownPast {
    /// The incarnations, and how far they came.
    pub reached: Reached,
    /// The last moment that was acted upon; none in new data.
    pub time: Option<StoreTime>,
    /// The longest lease on record (S9).
    pub longest_lease_ms: u32,
    /// Cursors before this revision may be of a history whose loss was accepted (S8).
    pub accepted_before: u64,
}

/// An incarnation to be (S8).
#[derive(Debug, Clone, Copy)]
pub struct NewIncarnation {
    /// Drawn at random: a counter in a restored database would give one out twice.
    pub id: Incarnation,
    /// Its first revision.
    pub first: u64,
    /// When it begins, by the wall clock.
    pub began: UnixMillis,
    /// Whether its beginning counts as a commit.
    pub is_counted: bool,
}

/// A rotation that was committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeRotation {
    /// Under which it was asked for.
    pub id: RotationId,
    /// The key that it made.
    pub new_digest: Digest,
    /// Whether that is still active.
    pub new_is_active: bool,
    /// When, by both clocks.
    pub at: StoreTime,
    /// Whose key it was.
    pub user: UserId,
}

/// What is kept of a rotation so that it can be answered again (X2).
pub struct ReplayRecord {
    /// When a client first used the new key.
    pub used: Option<UnixMillis>,
    /// Openings that failed.
    pub failures: u32,
    /// How often it was handed out.
    pub handed_out: u32,
    /// Proves that a request is of the rotation's client.
    pub proof: ReplayProof,
    /// The new key, sealed for that client.
    pub sealed: SealedKey,
}

impl ReplayRecord {
    /// Whether the proof is the record's. In constant time.
    pub fn is_proved_by(&self, proof: &ReplayProof) -> bool {
        self.proof.0.ct_eq(&proof.0).into()
    }
}
