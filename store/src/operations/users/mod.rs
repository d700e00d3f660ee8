//! The users: adding one, giving one a key or an address, listing them.

pub mod passwords;
pub mod removal;
pub mod sessions;

use rekey_protocol::{Digest, UserId};

use super::{Context, Operation, Read, audit};
use crate::accounts::email::Email;
use crate::api::UserEntry;
use crate::clock::UnixMillis;
use crate::engine::look::Look;
use crate::engine::rows::{By, Event, NewKey, UserClaim, UserStatus};
use crate::engine::tx::settle;
use crate::engine::{ReadTx, Tx};
use crate::operations::audit::action::Action;

/// A user to be, with the first key.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// Unique.
    pub id: UserId,
    /// Unique.
    pub email: Email,
    /// Of the first key.
    pub digest: Digest,
    /// The key's last characters.
    pub hint: String,
    /// The hash of a password to log in with, as a PHC string.
    pub phc: Option<String>,
}

/// Why a user cannot be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddRefusal {
    /// The id is taken.
    UserExists,
    /// The id was a removed user's.
    UserRemoved,
    /// The address is taken.
    EmailExists,
    /// An import holds the id or the address whose rows do not count.
    BeingImported,
}

/// Adds a user and the first key; tells when.
#[derive(Debug, Clone)]
pub struct AddUser(pub NewUser);

impl AddUser {
    fn refusal<T: ReadTx>(&self, tx: &T) -> Result<Option<AddRefusal>, T::Error> {
        let Self(new) = self;
        Ok(match tx.user_status(&new.id)? {
            Some(UserStatus::Here) => Some(AddRefusal::UserExists),
            Some(UserStatus::Removed | UserStatus::Pseudonym) => Some(AddRefusal::UserRemoved),
            None if tx.owner_of_email(new.email.as_str())?.is_some() => {
                Some(AddRefusal::EmailExists)
            }
            None => {
                let claim = UserClaim {
                    user: &new.id,
                    email: Some(&new.email),
                };
                tx.is_reserved(&claim)?.then_some(AddRefusal::BeingImported)
            }
        })
    }
}

impl Operation for AddUser {
    type Out = Result<UnixMillis, AddRefusal>;

    fn looks_at(&self) -> Vec<Look> {
        let Self(new) = self;
        vec![
            Look::Head,
            Look::Log,
            Look::User(new.id.clone()),
            Look::Address(new.email.as_str().to_owned()),
            Look::FirstKey(new.digest),
        ]
    }

    fn apply<T: Tx>(&self, tx: &mut T, cx: &Context) -> Result<Self::Out, T::Error> {
        if let Some(refusal) = self.refusal(tx)? {
            return Ok(Err(refusal));
        }
        let (Self(new), now) = (self, cx.now);
        let revision = tx.next_revision(now)?;
        tx.insert_user(new, now.told)?;
        tx.insert_key(&NewKey {
            digest: &new.digest,
            user: &new.id,
            hint: Some(&new.hint),
            created: now.told,
            revision,
        })?;
        let event = Event {
            user: &new.id,
            action: Action::UserAdded,
            revision,
            old_digest: None,
            new_digest: Some(&new.digest),
            hint: Some(&new.hint),
            rotation_id: None,
            uses: None,
            by: By::OPERATOR,
        };
        tx.append_event(&event, now)?;
        Ok(Ok(now.told))
    }
}

/// Why a user gets no new key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IssueRefusal {
    /// There is no such user.
    UnknownUser,
    /// The user has an active key, which would have to be revoked first (I3).
    HasKey,
    /// An import holds a key for the user whose rows do not count.
    BeingImported,
}

/// A key that was given to a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Issued {
    /// When.
    pub at: UnixMillis,
    /// The revision of this change.
    pub revision: u64,
}

/// Gives a user without an active key a new one. It is no rotation: the hour is as
/// it was.
#[derive(Debug, Clone)]
pub struct Issue {
    /// Who gets it.
    pub user: UserId,
    /// Of the key.
    pub digest: Digest,
    /// The key's last characters.
    pub hint: String,
}

impl Operation for Issue {
    type Out = Result<Issued, IssueRefusal>;

    fn settle(out: &mut Self::Out, committed: u64) {
        if let Ok(issued) = out {
            settle(&mut issued.revision, committed);
        }
    }

    fn looks_at(&self) -> Vec<Look> {
        vec![
            Look::Head,
            Look::Log,
            Look::User(self.user.clone()),
            Look::Key(self.digest),
        ]
    }

    fn apply<T: Tx>(&self, tx: &mut T, cx: &Context) -> Result<Self::Out, T::Error> {
        let (Self { user, digest, hint }, now) = (self, cx.now);
        if !tx.user_exists(user)? {
            return Ok(Err(IssueRefusal::UnknownUser));
        }
        if tx.active_key(user)?.is_some() {
            return Ok(Err(IssueRefusal::HasKey));
        }
        if tx.is_reserved(&UserClaim { user, email: None })? {
            return Ok(Err(IssueRefusal::BeingImported));
        }
        let revision = tx.next_revision(now)?;
        tx.insert_key(&NewKey {
            digest,
            user,
            hint: Some(hint),
            created: now.told,
            revision,
        })?;
        let event = Event {
            user,
            action: Action::Issued,
            revision,
            old_digest: None,
            new_digest: Some(digest),
            hint: Some(hint),
            rotation_id: None,
            uses: None,
            by: By::OPERATOR,
        };
        tx.append_event(&event, now)?;
        Ok(Ok(Issued {
            at: now.told,
            revision,
        }))
    }
}

/// Some users, in the order of their ids.
#[derive(Debug, Clone)]
pub struct ListUsers {
    /// Those after this id.
    pub after: String,
    /// At most so many.
    pub limit: u32,
}

impl Read for ListUsers {
    type Out = Vec<UserEntry>;

    fn read<T: ReadTx>(&self, tx: &T, _: &Context) -> Result<Self::Out, T::Error> {
        tx.users_after(&self.after, self.limit)
    }
}

/// Gives a user an address to log in with, in place of the present one if there is
/// one.
#[derive(Debug, Clone)]
pub struct SetEmail {
    /// Who gets it.
    pub user: UserId,
    /// The address.
    pub email: Email,
}

/// Why a user gets no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmailRefusal {
    /// There is no such user.
    UnknownUser,
    /// Another user has the address.
    Taken,
}

impl Operation for SetEmail {
    type Out = Result<(), EmailRefusal>;

    fn apply<T: Tx>(&self, tx: &mut T, cx: &Context) -> Result<Self::Out, T::Error> {
        let Self { user, email } = self;
        if !tx.user_exists(user)? {
            return Ok(Err(EmailRefusal::UnknownUser));
        }
        if tx.is_anothers_email(email, user)? {
            return Ok(Err(EmailRefusal::Taken));
        }
        tx.set_email(user, email)?;
        audit::append_aside(tx, cx, user, Action::EmailSet, By::OPERATOR)?;
        Ok(Ok(()))
    }
}
