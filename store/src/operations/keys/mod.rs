//! What is asked about a key.

pub mod own_key;
pub mod replays;
pub mod revoke;
pub mod rotate;

use rekey_protocol::{Digest, Head, ResolvedState, UserId};

use super::{Context, Read};
use crate::api::KeyShown;
use crate::clock::UnixMillis;
use crate::engine::ReadTx;
use crate::engine::look::Look;
use crate::engine::rows::{CurrentKey, KeyAtHead};
use crate::rules::rotation::RotationLimit;

/// A known key and where the history stood when it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
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
    /// The store's history.
    pub head: Head,
}

impl Resolved {
    /// What follows from it at this time of the limit's clock.
    pub fn at(self, now: UnixMillis, interval: RotationLimit) -> ResolvedAt {
        let wait = interval.retry_after(self.last_rotated, now);
        ResolvedAt {
            rotation_allowed_in: wait.unwrap_or(0),
            is_replayable: self.replay_until.is_some_and(|until| now < until),
            key: self,
        }
    }
}

/// A known key, and what its user may do at some moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedAt {
    /// As it was read.
    pub key: Resolved,
    /// Seconds until the user may rotate; 0: at once.
    pub rotation_allowed_in: u64,
    /// Whether the rotation that revoked it may be answered again (X5).
    pub is_replayable: bool,
}

/// The key is not known, and this is where the history stood when that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unknown(pub Head);

/// Who is behind this digest? All of it from one snapshot (S1).
#[derive(Debug, Clone, Copy)]
pub struct Resolve(pub Digest);

impl Read for Resolve {
    type Out = Result<Resolved, Unknown>;

    const IS_ONE_WORD: bool = true;

    fn looks_at(&self) -> Vec<Look> {
        vec![Look::Head, Look::Key(self.0)]
    }

    fn read<T: ReadTx>(&self, tx: &T, _: &Context) -> Result<Self::Out, T::Error> {
        let KeyAtHead { key, head } = tx.key_and_head(&self.0)?;
        Ok(key.ok_or(Unknown(head)).map(|key| Resolved {
            state: key.state,
            user: key.user,
            revision: key.revision,
            last_rotated: key.last_rotated,
            replay_until: key.replay_until,
            head,
        }))
    }
}

/// What the operator is shown of a key; `None`: no such key.
#[derive(Debug, Clone, Copy)]
pub struct ShowKey(pub Digest);

impl Read for ShowKey {
    type Out = Option<KeyShown>;

    fn read<T: ReadTx>(&self, tx: &T, _: &Context) -> Result<Self::Out, T::Error> {
        tx.key_shown(&self.0)
    }
}

/// The active key of a user.
#[derive(Debug, Clone)]
pub struct ActiveKeyOf(pub UserId);

impl Read for ActiveKeyOf {
    type Out = Option<CurrentKey>;

    fn read<T: ReadTx>(&self, tx: &T, _: &Context) -> Result<Self::Out, T::Error> {
        tx.active_key(&self.0)
    }
}

/// The revision of the last change of a user's keys; 0: there was none.
#[derive(Debug, Clone)]
pub struct LastChangeOf(pub UserId);

impl Read for LastChangeOf {
    type Out = u64;

    fn read<T: ReadTx>(&self, tx: &T, _: &Context) -> Result<u64, T::Error> {
        last_change(tx, &self.0)
    }
}

/// The revision of the last change of the user's keys; 0: there was none.
pub fn last_change<T: ReadTx>(tx: &T, user: &UserId) -> Result<u64, T::Error> {
    let last = tx.last_key_event(user)?;
    Ok(last.map_or(0, |event| event.revision))
}
