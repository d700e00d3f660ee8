//! Removing a user. The audit log goes on under a pseudonym.

use rekey_protocol::UserId;

use super::sessions;
use crate::engine::Tx;
use crate::engine::look::Look;
use crate::engine::rows::{By, Event, UserClaim, UserStatus};
use crate::engine::tx::settle;
use crate::operations::audit::action::Action;
use crate::operations::{Context, Operation};

/// Removes a user: the key is revoked, and address, password, sessions and devices
/// are deleted. To do it again changes nothing.
#[derive(Debug, Clone)]
pub struct RemoveUser {
    /// Who.
    pub user: UserId,
    /// What the audit log calls the user from then on.
    pub pseudonym: UserId,
}

/// Why a user cannot be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemoveRefusal {
    /// There is no such user.
    UnknownUser,
    /// An import that is under way brings a key of the user.
    BeingImported,
}

/// A user who is not here any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    /// What the audit log calls the user from now on; `None`: the user had been
    /// removed before.
    pub pseudonym: Option<UserId>,
    /// When its barrier is open, no gateway accepts the user's key.
    pub revision: u64,
}

impl Operation for RemoveUser {
    type Out = Result<Removed, RemoveRefusal>;

    fn settle(out: &mut Self::Out, committed: u64) {
        if let Ok(removed) = out {
            settle(&mut removed.revision, committed);
        }
    }

    fn looks_at(&self) -> Vec<Look> {
        let both = [&self.user, &self.pseudonym];
        let users = both.map(|user| Look::User(user.clone()));
        [Look::Head, Look::Log].into_iter().chain(users).collect()
    }

    fn apply<T: Tx>(&self, tx: &mut T, cx: &Context) -> Result<Self::Out, T::Error> {
        let (Self { user, pseudonym }, now) = (self, cx.now);
        match tx.user_status(user)? {
            None => return Ok(Err(RemoveRefusal::UnknownUser)),
            Some(UserStatus::Here) => {}
            Some(UserStatus::Removed | UserStatus::Pseudonym) => {
                // S7: the call that removed the user may not have waited.
                let revision = tx.head()?.revision;
                return Ok(Ok(Removed {
                    pseudonym: None,
                    revision,
                }));
            }
        }
        // Its key would be good again when the import counts.
        if tx.is_reserved(&UserClaim { user, email: None })? {
            return Ok(Err(RemoveRefusal::BeingImported));
        }
        let revision = tx.next_revision(now)?;
        let active = tx.active_key(user)?.map(|key| key.digest);
        tx.make_pseudonymous(user, pseudonym)?;
        if let Some(digest) = &active {
            tx.revoke_key(digest, now.told, revision)?;
        }
        sessions::end_all(tx, user)?;
        let event = Event {
            old_digest: active.as_ref(),
            ..Event::aside(pseudonym, Action::UserRemoved, revision, By::OPERATOR)
        };
        tx.append_event(&event, now)?;
        Ok(Ok(Removed {
            pseudonym: Some(pseudonym.clone()),
            revision,
        }))
    }
}
