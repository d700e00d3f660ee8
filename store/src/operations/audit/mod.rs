//! The audit log: one row for each change, in that change's transaction (I3). It is
//! only added to.

pub(crate) mod action;

use std::time::Duration;

use rekey_protocol::{Client, UserId};

use self::action::Action;
use crate::api::AuditPage;
use crate::clock::UnixMillis;
use crate::engine::look::Look;
use crate::engine::rows::{By, Event, UserStatus};
use crate::engine::{ReadTx, Tx};
use crate::operations::{Context, Operation, Read};

/// Rows about refused tries of one account within an hour.
const REFUSED_PER_HOUR: u32 = 10;
const HOUR: Duration = Duration::from_secs(3600);
/// Old keys that the operator is shown.
const OLD_KEYS_SHOWN: u32 = 10;

/// Which events are wanted.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Of this user only.
    pub user: Option<UserId>,
    /// After this one; 0: from the first.
    pub after: i64,
    /// Not of before.
    pub since: Option<UnixMillis>,
    /// At most so many.
    pub limit: u32,
}

/// Shows the events that are wanted. If these are all of a user, also what is done
/// with the user's old keys. `None`: no such user.
#[derive(Debug, Clone)]
pub struct ShowEvents(pub Selection);

impl Read for ShowEvents {
    type Out = Option<AuditPage>;

    fn read<T: ReadTx>(&self, tx: &T, _: &Context) -> Result<Self::Out, T::Error> {
        let Self(wanted) = self;
        let user = wanted.user.as_ref();
        if let Some(user) = user
            && matches!(tx.user_status(user)?, None | Some(UserStatus::Removed))
        {
            return Ok(None);
        }
        let events = tx.events(wanted)?;
        let is_full = events.len() == wanted.limit as usize;
        let next = events.last().filter(|_| is_full).map(|last| last.id);
        let old_keys = match (user, next) {
            (Some(user), None) => tx.old_key_uses(user, OLD_KEYS_SHOWN)?,
            _ => Vec::new(),
        };
        Ok(Some(AuditPage {
            events,
            next,
            old_keys,
        }))
    }
}

/// Adds a row about something that changed no key, at the present revision.
pub(super) fn append_aside<T: Tx>(
    tx: &mut T,
    cx: &Context,
    user: &UserId,
    action: Action,
    by: By<'_>,
) -> Result<(), T::Error> {
    let revision = tx.head()?.revision;
    tx.append_event(&Event::aside(user, action, revision, by), cx.now)
}

/// Somebody did not know a user's password. It is put on record, unless there are
/// enough such rows of the last hour: who tries for ever must not fill the disk with
/// rows that cannot be deleted.
#[derive(Debug, Clone)]
pub struct NoteRefused {
    /// Whose password.
    pub user: UserId,
    /// What it was tried for.
    pub tried: Tried,
    /// From where.
    pub client: Client,
}

/// What needs a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tried {
    /// To log in.
    LogIn,
    /// To change the password.
    Change,
}

impl Tried {
    /// What it is when it was refused.
    const fn refused(self) -> Action {
        match self {
            Self::LogIn => Action::LoginRefused,
            Self::Change => Action::PasswordRefused,
        }
    }
}

impl Operation for NoteRefused {
    type Out = ();

    fn looks_at(&self) -> Vec<Look> {
        vec![Look::Head, Look::Log, Look::User(self.user.clone())]
    }

    fn apply<T: Tx>(&self, tx: &mut T, cx: &Context) -> Result<(), T::Error> {
        let told = tx.count_refused(&self.user, cx.now.limit.minus(HOUR))?;
        // A user who was removed meanwhile must not come back into the log.
        if told >= REFUSED_PER_HOUR || !tx.user_exists(&self.user)? {
            return Ok(());
        }
        let by = By::dashboard(&self.client);
        append_aside(tx, cx, &self.user, self.tried.refused(), by)
    }
}
