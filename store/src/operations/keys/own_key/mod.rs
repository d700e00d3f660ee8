//! What users do to their own key without showing it: replace it, revoke it,
//! and make another one after that. The dashboard asks for it, in the same
//! transactions and by the same decision as the gateways do (S11, S12, I5).

mod overview;
mod wish;

use rekey_protocol::{Client, Digest, ResolvedState, UserId};

use super::{revoke, rotate};
use crate::api::AuditEvent;
use crate::clock::UnixMillis;
use crate::engine::look::Look;
use crate::engine::rows::{By, Source, UserClaim};
use crate::engine::tx::settle;
use crate::engine::{Impossible, ReadTx, Tx};
use crate::operations::audit::action::Action;
use crate::operations::{Context, Kind, Operation, keys};
use crate::rules::rotation::{Asked, Facts, OldKey, Refusal, RotationLimit, Verdict, decide};

pub use self::overview::{Overview, ShowOverview};
pub use self::wish::Wish;

/// How many keys a user may make within a day without waiting for the hour,
/// each after a revocation: an emergency is not a way around the hour.
pub const AT_ONCE_PER_DAY: u32 = 5;
const DAY_MS: i64 = 24 * 3600 * 1000;

/// A key that was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Made {
    /// When.
    pub at: UnixMillis,
    /// The revision of this change.
    pub revision: u64,
}

fn settle_made(out: &mut Result<Made, OwnRefusal>, committed: u64) {
    if let Ok(made) = out {
        settle(&mut made.revision, committed);
    }
}

/// Why nothing was changed. The user's to hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnRefusal {
    /// The form has been used.
    TicketUsed,
    /// There is no active key.
    NoKey,
    /// Something has happened to the key since the form was made.
    OtherKey,
    /// The new key was revoked before it could be shown.
    DeadAlready,
    /// Too early.
    RateLimited {
        /// Whole seconds to wait.
        seconds: u64,
        /// How long a user waits between two rotations.
        interval: RotationLimit,
    },
    /// Too early, and the day's keys that need not wait are used up; whole
    /// seconds to wait.
    AtOnceUsedUp(u64),
    /// There is an active key, which would have to be revoked first (I3).
    HasKey,
    /// It was not the user who revoked the last key.
    NotByUser,
    /// The operator imports a key for the user just now.
    BeingImported,
    /// The session that asked was ended before.
    LoggedOut,
}

/// Something that a user does in the dashboard, if the session has not been ended
/// before.
#[derive(Debug, Clone)]
pub struct BySession<O> {
    /// Of the session's token.
    pub session: Digest,
    /// What is done.
    pub operation: O,
}

impl<O, Out> Operation for BySession<O>
where
    O: Operation<Out = Result<Out, OwnRefusal>>,
{
    type Out = O::Out;

    const KIND: Kind = O::KIND;

    fn settle(out: &mut Self::Out, committed: u64) {
        O::settle(out, committed);
    }

    fn looks_at(&self) -> Vec<Look> {
        let mut looks = self.operation.looks_at();
        looks.push(Look::Session(self.session));
        looks
    }

    fn apply<T: Tx>(&self, tx: &mut T, cx: &Context) -> Result<Self::Out, T::Error> {
        match tx.session_exists(&self.session)? {
            true => self.operation.apply(tx, cx),
            false => Ok(Err(OwnRefusal::LoggedOut)),
        }
    }
}

/// Replaces the active key, if it is still the one that was shown.
#[derive(Debug, Clone)]
pub struct RotateOwn {
    /// What is wished for.
    pub wish: Wish,
    /// The revision of the key that was shown.
    pub shown: u64,
}

impl Operation for RotateOwn {
    type Out = Result<Made, OwnRefusal>;

    const KIND: Kind = Kind::Rotation;

    fn settle(out: &mut Self::Out, committed: u64) {
        settle_made(out, committed);
    }

    fn looks_at(&self) -> Vec<Look> {
        self.wish.looks_at()
    }

    fn apply<T: Tx>(&self, tx: &mut T, cx: &Context) -> Result<Self::Out, T::Error> {
        let (Self { wish, shown }, interval) = (self, cx.interval);
        let active = tx.active_key(&wish.user)?;
        let last_rotated = tx.last_rotated(&wish.user)?;
        let old = active.as_ref().map(|key| OldKey {
            state: ResolvedState::Active,
            user: wish.user.clone(),
            revision: key.revision,
            last_rotated,
        });
        let asked = Asked {
            attempt: 1,
            old_digest: active.as_ref().map_or(wish.new_digest, |key| key.digest),
            new_digest: wish.new_digest,
        };
        let facts = Facts {
            recorded: tx.recorded(wish.ticket)?,
            old,
            new_exists: tx.key_exists(&wish.new_digest)?,
        };
        match decide(&asked, facts, cx.now.limit, interval) {
            Verdict::Repeat(_) | Verdict::Conflict => Ok(Err(OwnRefusal::TicketUsed)),
            Verdict::Refuse { refusal, .. } => match refusal {
                Refusal::UnknownKey | Refusal::Revoked(_) => Ok(Err(OwnRefusal::NoKey)),
                Refusal::RateLimited(seconds) => {
                    Ok(Err(OwnRefusal::RateLimited { seconds, interval }))
                }
                // Nobody has drawn this key before: no fault of the user.
                Refusal::NewKeyExists => Err(Impossible("a new key was drawn before").into()),
            },
            Verdict::Commit(old) if old.revision != *shown => Ok(Err(OwnRefusal::OtherKey)),
            Verdict::Commit(old) => {
                let request = wish.request(asked.old_digest);
                let by = By::dashboard(&wish.client);
                let revision = rotate::commit(tx, cx, &request, &old.user, by)?;
                Ok(Ok(Made {
                    at: cx.now.told,
                    revision,
                }))
            }
        }
    }
}

/// Ends the active key, if it is still the one that was shown. To do it again
/// changes nothing.
#[derive(Debug, Clone)]
pub struct RevokeOwn {
    /// Whose.
    pub user: UserId,
    /// The revision of the key that was shown.
    pub shown: u64,
    /// From where.
    pub client: Client,
}

/// A user's key is not active any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RevokedOwn {
    /// The revision to wait for.
    pub revision: u64,
    /// Whether it was ended just now, and not before.
    pub is_new: bool,
}

impl Operation for RevokeOwn {
    type Out = Result<RevokedOwn, OwnRefusal>;

    fn settle(out: &mut Self::Out, committed: u64) {
        if let Ok(revoked) = out {
            settle(&mut revoked.revision, committed);
        }
    }

    fn looks_at(&self) -> Vec<Look> {
        vec![Look::Head, Look::Log, Look::User(self.user.clone())]
    }

    fn apply<T: Tx>(&self, tx: &mut T, cx: &Context) -> Result<Self::Out, T::Error> {
        let user = &self.user;
        match tx.active_key(user)? {
            Some(key) if key.revision == self.shown => {
                let by = By::dashboard(&self.client);
                let revision = revoke::end(tx, cx, user, &key.digest, by)?;
                Ok(Ok(RevokedOwn {
                    revision,
                    is_new: true,
                }))
            }
            Some(_) => Ok(Err(OwnRefusal::OtherKey)),
            None => Ok(Ok(RevokedOwn {
                revision: keys::last_change(tx, user)?,
                is_new: false,
            })),
        }
    }
}

/// Makes a new key for a user who has revoked the last one, by the change that was
/// shown, and begins the hour again.
#[derive(Debug, Clone)]
pub struct IssueOwn {
    /// What is wished for.
    pub wish: Wish,
    /// The revision of that change.
    pub shown: u64,
}

impl Operation for IssueOwn {
    type Out = Result<Made, OwnRefusal>;

    fn settle(out: &mut Self::Out, committed: u64) {
        settle_made(out, committed);
    }

    fn looks_at(&self) -> Vec<Look> {
        self.wish.looks_at()
    }

    fn apply<T: Tx>(&self, tx: &mut T, cx: &Context) -> Result<Self::Out, T::Error> {
        let wish = &self.wish;
        if tx.recorded(wish.ticket)?.is_some() {
            return Ok(Err(OwnRefusal::TicketUsed));
        }
        let last = tx.last_key_event(&wish.user)?;
        let past = KeyHistory {
            user: &wish.user,
            has_key: tx.active_key(&wish.user)?.is_some(),
            last: last.as_ref(),
        };
        if let Err(refusal) = past.allows_issue(tx, cx)? {
            return Ok(Err(refusal));
        }
        if last.as_ref().is_none_or(|last| last.revision != self.shown) {
            return Ok(Err(OwnRefusal::OtherKey));
        }
        let claim = UserClaim {
            user: &wish.user,
            email: None,
        };
        if tx.is_reserved(&claim)? {
            return Ok(Err(OwnRefusal::BeingImported));
        }
        // The ticket is used up like a rotation's id.
        let old = last.and_then(|event| event.old_digest);
        let revision = wish.issue(tx, cx, old.unwrap_or(wish.new_digest))?;
        Ok(Ok(Made {
            at: cx.now.told,
            revision,
        }))
    }
}

/// What has happened to a user's keys.
#[derive(Debug, Clone, Copy)]
struct KeyHistory<'a> {
    user: &'a UserId,
    has_key: bool,
    /// What happened last.
    last: Option<&'a AuditEvent>,
}

impl KeyHistory<'_> {
    /// Whether the user may make a key.
    fn allows_issue<T: ReadTx>(
        &self,
        tx: &T,
        cx: &Context,
    ) -> Result<Result<(), OwnRefusal>, T::Error> {
        if self.has_key {
            return Ok(Err(OwnRefusal::HasKey));
        }
        // Whom the operator has locked out does not come back by this door.
        let by_user = |event: &AuditEvent| {
            event.action == Action::Revoked.name() && event.source == Source::Dashboard.as_str()
        };
        if !self.last.is_some_and(by_user) {
            return Ok(Err(OwnRefusal::NotByUser));
        }
        let now = cx.now.limit;
        let last_rotated = tx.last_rotated(self.user)?;
        let Some(seconds) = cx.interval.retry_after(last_rotated, now) else {
            return Ok(Ok(()));
        };
        let day_ago = UnixMillis(now.0.saturating_sub(DAY_MS));
        let today = tx.count_issued_by_user(self.user, day_ago)?;
        Ok(match today < AT_ONCE_PER_DAY {
            true => Ok(()),
            false => Err(OwnRefusal::AtOnceUsedUp(seconds)),
        })
    }
}

#[cfg(test)]
mod tests;
