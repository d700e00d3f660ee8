//! The end of a key that gets no successor by it.

use rekey_protocol::{Digest, ResolvedState, UserId};

use crate::api::RevokeResponse;
use crate::engine::look::Look;
use crate::engine::rows::{By, Event, Source};
use crate::engine::tx::settle;
use crate::engine::{ReadTx, Tx};
use crate::operations::audit::action::Action;
use crate::operations::{Context, Operation};

/// Revokes a key, by the operator's wish. Doing it again changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Revoke {
    /// The active one of this user.
    OfUser(UserId),
    /// This one.
    Key(Digest),
}

/// Why nothing can be revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RevokeRefusal {
    /// There is no such user.
    UnknownUser,
    /// There is no such key.
    UnknownKey,
}

/// What is to be revoked: whose, and the active key if there is one.
struct Target {
    user: UserId,
    active: Option<Digest>,
}

impl Operation for Revoke {
    type Out = Result<RevokeResponse, RevokeRefusal>;

    fn settle(out: &mut Self::Out, committed: u64) {
        if let Ok(response) = out {
            settle(&mut response.revision, committed);
        }
    }

    fn looks_at(&self) -> Vec<Look> {
        match self {
            Self::OfUser(user) => vec![Look::Head, Look::Log, Look::User(user.clone())],
            Self::Key(digest) => vec![Look::Head, Look::Log, Look::Key(*digest)],
        }
    }

    fn apply<T: Tx>(&self, tx: &mut T, cx: &Context) -> Result<Self::Out, T::Error> {
        let Target { user, active } = match self.target(tx)? {
            Ok(found) => found,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let revision = match &active {
            Some(digest) => end(tx, cx, &user, digest, By::OPERATOR)?,
            None => self.confirm(tx, cx, &user)?,
        };
        Ok(Ok(RevokeResponse {
            user_id: user,
            revoked: active.is_some(),
            revision,
        }))
    }
}

impl Revoke {
    fn target<T: ReadTx>(&self, tx: &T) -> Result<Result<Target, RevokeRefusal>, T::Error> {
        Ok(match self {
            Self::OfUser(user) if !tx.user_exists(user)? => Err(RevokeRefusal::UnknownUser),
            Self::OfUser(user) => Ok(Target {
                user: user.clone(),
                active: tx.active_key(user)?.map(|key| key.digest),
            }),
            Self::Key(digest) => match tx.key(digest)? {
                None => Err(RevokeRefusal::UnknownKey),
                Some(key) => Ok(Target {
                    user: key.user,
                    active: (key.state == ResolvedState::Active).then_some(*digest),
                }),
            },
        })
    }

    /// The operator revokes a key that is not active any more. If its user did it,
    /// it is now the operator's word as well: without that the user could go on
    /// making keys, which the operator just wanted to end. Returns the revision of
    /// the last change.
    fn confirm<T: Tx>(&self, tx: &mut T, cx: &Context, user: &UserId) -> Result<u64, T::Error> {
        let Some(last) = tx.last_key_event(user)? else {
            return Ok(0);
        };
        // An older key that is named is not what the user has ended.
        let is_meant = match self {
            Self::OfUser(_) => true,
            Self::Key(digest) => last.old_digest == Some(*digest),
        };
        if is_meant
            && tx.user_exists(user)?
            && tx.active_key(user)?.is_none()
            && last.action == Action::Revoked.name()
            && last.source == Source::Dashboard.as_str()
        {
            let old = last.old_digest.as_ref();
            let event = revoked(user, last.revision, old, By::OPERATOR);
            tx.append_event(&event, cx.now)?;
        }
        Ok(last.revision)
    }
}

/// Ends the user's active key and says in the audit log by which way and for whom.
/// Returns the revision of that.
pub fn end<T: Tx>(
    tx: &mut T,
    cx: &Context,
    user: &UserId,
    digest: &Digest,
    by: By<'_>,
) -> Result<u64, T::Error> {
    let revision = tx.next_revision(cx.now)?;
    tx.revoke_key(digest, cx.now.told, revision)?;
    let event = revoked(user, revision, Some(digest), by);
    tx.append_event(&event, cx.now)?;
    Ok(revision)
}

fn revoked<'a>(
    user: &'a UserId,
    revision: u64,
    digest: Option<&'a Digest>,
    by: By<'a>,
) -> Event<'a> {
    Event {
        user,
        action: Action::Revoked,
        revision,
        old_digest: digest,
        new_digest: None,
        hint: None,
        rotation_id: None,
        uses: None,
        by,
    }
}
