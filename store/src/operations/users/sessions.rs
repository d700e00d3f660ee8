//! Who is logged in to the dashboard, and in which browsers users have been.

use std::time::Duration;

use rekey_protocol::{Client, Digest, UserId};

use crate::clock::UnixMillis;
use crate::engine::look::Look;
use crate::engine::rows::{By, KnownSession};
use crate::engine::{ReadTx, Tx};
use crate::operations::audit::action::Action;
use crate::operations::{Context, Operation, Read, ReadQueue, audit};

/// The longest that a session may be set to last.
pub const SESSION_LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);
/// Sessions that one user may have; a further one ends the oldest.
const PER_USER: u32 = 20;
/// Browsers that are remembered of one user.
pub const DEVICES_PER_USER: u32 = 20;
/// A session that began so much later than now is of a clock that was wrong:
/// less is the time between two looks at a clock that is right.
const SLACK: Duration = Duration::from_secs(60);

/// When a session is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionLimits {
    /// After so long without a request.
    pub idle: Duration,
    /// So long after the log-in, whatever happens.
    pub max: Duration,
}

impl SessionLimits {
    /// One of the future is over, too: the clock was wrong when it began, and nobody
    /// knows how old it is.
    fn is_over(self, session: &KnownSession, now: UnixMillis) -> bool {
        let is_within = |at: UnixMillis, age| at > now.minus(age) && at <= now.plus(SLACK);
        !is_within(session.created, self.max) || !is_within(session.seen, self.idle)
    }
}

/// A session to be.
#[derive(Debug, Clone)]
pub struct NewSession {
    /// Of the token.
    pub digest: Digest,
    /// Whose.
    pub user: UserId,
    /// From where.
    pub client: Client,
}

impl NewSession {
    /// What is looked at to begin it with a password.
    pub(super) fn looks_at(&self) -> Vec<Look> {
        vec![
            Look::Head,
            Look::Log,
            Look::User(self.user.clone()),
            Look::Password(self.user.clone()),
            Look::Session(self.digest),
        ]
    }
}

/// A session that is not over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenSession {
    /// Whose.
    pub user: UserId,
    /// The user's address.
    pub email: String,
    /// Whether it is time to note that it is in use, by [`TouchSession`].
    pub is_touch_due: bool,
}

/// Finds a session that is not over.
#[derive(Debug, Clone, Copy)]
pub struct FindSession {
    /// Of the token.
    pub digest: Digest,
    /// When it would be over.
    pub limits: SessionLimits,
}

impl Read for FindSession {
    type Out = Option<OpenSession>;

    const QUEUE: ReadQueue = ReadQueue::Dashboard;

    const IS_ONE_WORD: bool = true;

    fn looks_at(&self) -> Vec<Look> {
        vec![Look::Session(self.digest)]
    }

    fn read<T: ReadTx>(&self, tx: &T, cx: &Context) -> Result<Self::Out, T::Error> {
        let now = cx.now.limit;
        let found = tx.session(&self.digest)?;
        let open = found.filter(|session| !self.limits.is_over(session, now));
        Ok(open.map(|session| OpenSession {
            user: session.user,
            email: session.email,
            // A write for every page would be too many, and a sixteenth late is
            // early enough.
            is_touch_due: now.since(session.seen) >= self.limits.idle / 16,
        }))
    }
}

/// Notes that a session is in use.
#[derive(Debug, Clone, Copy)]
pub struct TouchSession(pub Digest);

impl Operation for TouchSession {
    type Out = ();

    fn apply<T: Tx>(&self, tx: &mut T, cx: &Context) -> Result<(), T::Error> {
        tx.touch_session(&self.0, cx.now.limit)
    }
}

/// Whether a session has not been ended.
#[derive(Debug, Clone, Copy)]
pub struct IsLoggedIn(pub Digest);

impl Read for IsLoggedIn {
    type Out = bool;

    const QUEUE: ReadQueue = ReadQueue::Dashboard;

    const IS_ONE_WORD: bool = true;

    fn read<T: ReadTx>(&self, tx: &T, _: &Context) -> Result<bool, T::Error> {
        tx.session_exists(&self.0)
    }
}

/// A log-in that has been found right: begins a session, and ends those that the
/// browser had. `false`: the password was changed since it was shown.
#[derive(Debug, Clone)]
pub struct LogIn {
    /// It begins if the password is still that one.
    pub session: NewSession,
    /// The hash of the password that was shown.
    pub phc: String,
    /// What it is to become: the hash of the password's normal form, where that on
    /// record is of what was typed.
    pub renewed: Option<String>,
    /// The sessions that the browser had: one, unless somebody has planted others.
    pub former: Vec<Digest>,
    /// What the browser is to be known by from now on.
    pub device: Digest,
    /// What it was known by.
    pub former_device: Option<Digest>,
}

impl Operation for LogIn {
    type Out = bool;

    fn looks_at(&self) -> Vec<Look> {
        let mut looks = self.session.looks_at();
        looks.extend(self.former.iter().copied().map(Look::Session));
        looks
    }

    fn apply<T: Tx>(&self, tx: &mut T, cx: &Context) -> Result<bool, T::Error> {
        let user = &self.session.user;
        let phc = tx.password(user)?.map(|hash| hash.stored.phc);
        if phc.as_ref() != Some(&self.phc) {
            return Ok(false);
        }
        if let Some(renewed) = &self.renewed {
            tx.renew_password(user, renewed)?;
        }
        for former in &self.former {
            tx.end_session(former)?;
        }
        begin(tx, cx, &self.session)?;
        if let Some(former) = &self.former_device {
            tx.forget_device(former, user)?;
        }
        remember(tx, cx, user, &self.device)?;
        let by = By::dashboard(&self.session.client);
        audit::append_aside(tx, cx, user, Action::Login, by)?;
        Ok(true)
    }
}

/// Ends one session, or all of a user.
#[derive(Debug, Clone)]
pub struct LogOut {
    /// Who asks.
    pub session: NewSession,
    /// How much is ended.
    pub scope: LogOutScope,
}

/// What a log-out ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogOutScope {
    /// The session that asks.
    Here,
    /// All sessions of its user.
    Everywhere,
}

impl Operation for LogOut {
    type Out = ();

    fn apply<T: Tx>(&self, tx: &mut T, cx: &Context) -> Result<(), T::Error> {
        let session = &self.session;
        let action = match self.scope {
            LogOutScope::Everywhere => {
                end_all(tx, &session.user)?;
                Action::LogoutEverywhere
            }
            LogOutScope::Here => {
                tx.end_session(&session.digest)?;
                Action::Logout
            }
        };
        // A user who was removed meanwhile must not come back into the log.
        if !tx.user_exists(&session.user)? {
            return Ok(());
        }
        let by = By::dashboard(&session.client);
        audit::append_aside(tx, cx, &session.user, action, by)
    }
}

/// Begins a session. Those of the future are ended: they would count as the newest,
/// and this one as too many.
pub fn begin<T: Tx>(tx: &mut T, cx: &Context, session: &NewSession) -> Result<(), T::Error> {
    let (user, now) = (&session.user, cx.now.limit);
    tx.end_sessions_after(user, now.plus(SLACK))?;
    tx.insert_session(&session.digest, user, now)?;
    tx.keep_newest_sessions(user, PER_USER)
}

/// Notes that a user has logged in in this browser.
pub fn remember<T: Tx>(
    tx: &mut T,
    cx: &Context,
    user: &UserId,
    device: &Digest,
) -> Result<(), T::Error> {
    let now = cx.now.limit;
    tx.forget_devices_after(user, now.plus(SLACK))?;
    tx.insert_device(device, user, now)?;
    tx.keep_newest_devices(user, DEVICES_PER_USER)
}

/// Ends all sessions of a user, and forgets in which browsers there were any.
pub(super) fn end_all<T: Tx>(tx: &mut T, user: &UserId) -> Result<(), T::Error> {
    tx.end_sessions(user)?;
    tx.forget_devices(user)
}
