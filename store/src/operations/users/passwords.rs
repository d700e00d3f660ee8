//! Who may log in: finding an account, and its password.

use rekey_protocol::{Digest, UserId};

use super::sessions::{self, NewSession};
use crate::accounts::password::StoredHash;
use crate::engine::look::Look;
use crate::engine::rows::{By, PasswordHash};
use crate::engine::{ReadTx, Tx};
use crate::operations::audit::action::Action;
use crate::operations::{Context, Operation, Read, ReadQueue, audit};

/// Whom an e-mail address belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Whose address it is.
    pub user: UserId,
    /// The hash of the password; `None`: cannot log in.
    pub hash: Option<StoredHash>,
    /// By what the browser is known, if the user has logged in in it before.
    pub known_device: Option<Digest>,
}

/// Finds an account by its address, however that is spelled. Of the devices that a
/// browser may be, the first counts that is the user's.
#[derive(Debug, Clone)]
pub struct FindAccount {
    /// As it was typed.
    pub email: String,
    /// What the browser may be known by.
    pub devices: Vec<Digest>,
}

impl Read for FindAccount {
    type Out = Option<Account>;

    const QUEUE: ReadQueue = ReadQueue::Dashboard;

    fn read<T: ReadTx>(&self, tx: &T, _: &Context) -> Result<Self::Out, T::Error> {
        let Some(user) = tx.owner_of_email(&self.email)? else {
            return Ok(None);
        };
        let mut known_device = None;
        for device in &self.devices {
            if tx.is_known_device(device, &user)? {
                known_device = Some(*device);
                break;
            }
        }
        Ok(Some(Account {
            hash: tx.password(&user)?.map(|hash| hash.stored),
            user,
            known_device,
        }))
    }
}

/// The hash of a user's password.
#[derive(Debug, Clone)]
pub struct PasswordOf(pub UserId);

impl Read for PasswordOf {
    type Out = Option<PasswordHash>;

    const QUEUE: ReadQueue = ReadQueue::Dashboard;

    const IS_ONE_WORD: bool = true;

    fn read<T: ReadTx>(&self, tx: &T, _: &Context) -> Result<Self::Out, T::Error> {
        tx.password(&self.0)
    }
}

/// The operator sets a password; the user is logged out everywhere.
#[derive(Debug, Clone)]
pub struct SetPassword {
    /// Whose.
    pub user: UserId,
    /// Its hash.
    pub phc: String,
}

/// Why a password cannot be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PasswordRefusal {
    /// There is no such user.
    UnknownUser,
    /// The user has no address to log in with.
    NoEmail,
}

impl Operation for SetPassword {
    type Out = Result<(), PasswordRefusal>;

    fn apply<T: Tx>(&self, tx: &mut T, cx: &Context) -> Result<Self::Out, T::Error> {
        let Self { user, phc } = self;
        if !tx.user_exists(user)? {
            return Ok(Err(PasswordRefusal::UnknownUser));
        }
        if !tx.has_email(user)? {
            return Ok(Err(PasswordRefusal::NoEmail));
        }
        tx.set_password(user, phc, cx.now.told)?;
        sessions::end_all(tx, user)?;
        audit::append_aside(tx, cx, user, Action::PasswordSet, By::OPERATOR)?;
        Ok(Ok(()))
    }
}

/// A change of a user's password, by somebody who is logged in. It ends all other
/// sessions.
#[derive(Debug, Clone)]
pub struct ChangePassword {
    /// The hash of the password that was shown.
    pub old: String,
    /// The hash of the new one.
    pub new: String,
    /// The session that asked.
    pub former: Digest,
    /// What it goes on as.
    pub session: NewSession,
    /// What the browser is to be known by from now on.
    pub device: Digest,
}

/// The password was changed, or the session ended, since it was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outdated;

impl Operation for ChangePassword {
    type Out = Result<(), Outdated>;

    fn looks_at(&self) -> Vec<Look> {
        let mut looks = self.session.looks_at();
        looks.push(Look::Session(self.former));
        looks
    }

    fn apply<T: Tx>(&self, tx: &mut T, cx: &Context) -> Result<Self::Out, T::Error> {
        let user = &self.session.user;
        let phc = tx.password(user)?.map(|hash| hash.stored.phc);
        // A session that was ended while the passwords were hashed stays out.
        if phc.as_ref() != Some(&self.old) || !tx.end_session(&self.former)? {
            return Ok(Err(Outdated));
        }
        tx.set_password(user, &self.new, cx.now.told)?;
        sessions::end_all(tx, user)?;
        sessions::begin(tx, cx, &self.session)?;
        sessions::remember(tx, cx, user, &self.device)?;
        let by = By::dashboard(&self.session.client);
        audit::append_aside(tx, cx, user, Action::PasswordChanged, by)?;
        Ok(Ok(()))
    }
}
