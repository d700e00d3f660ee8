//! What the dashboard and the operator do with accounts: the [`Database`]'s
//! half of it, each a read or a change of its own.

use rekey_protocol::{Client, Digest, UserId};
use rusqlite::Connection;

use super::passwords::{self, Account, PasswordHash, PasswordRefusal};
use super::removal::{self, EmailRefusal, RemoveRefusal, Removed};
use super::sessions::{self, LogIn, NewSession, OpenSession, SessionLimits};
use super::{Database, audit};
use crate::email::Email;
use crate::engine::{ReadError, WriteError};
use crate::operations::Kind;

impl Database {
    /// Whom an address belongs to, and whether they have logged in in this
    /// browser before.
    pub async fn account(
        &self,
        email: String,
        devices: Vec<Digest>,
    ) -> Result<Option<Account>, ReadError> {
        let find =
            move |connection: &mut Connection| passwords::account(connection, &email, &devices);
        self.aside.read(find).await
    }

    /// The hash of a user's password.
    pub async fn password_of(&self, user: UserId) -> Result<Option<PasswordHash>, ReadError> {
        let read = self
            .aside
            .read(move |connection| passwords::of_user(connection, &user));
        read.await
    }

    /// Sets a user's password and ends all of the user's sessions.
    pub async fn set_password(
        &self,
        user: UserId,
        phc: String,
    ) -> Result<Result<(), PasswordRefusal>, WriteError> {
        let change = self.writer.change(Kind::Admin, move |transaction, now| {
            passwords::set(transaction, now, &user, &phc)
        });
        change.await
    }

    /// See [`removal::set_email`].
    pub async fn set_email(
        &self,
        user: UserId,
        email: Email,
    ) -> Result<Result<(), EmailRefusal>, WriteError> {
        let change = self.writer.change(Kind::Admin, move |transaction, now| {
            removal::set_email(transaction, now, &user, &email)
        });
        change.await
    }

    /// See [`removal::remove`].
    pub async fn remove_user(
        &self,
        user: UserId,
        pseudonym: UserId,
    ) -> Result<Result<Removed, RemoveRefusal>, WriteError> {
        let change = self.writer.change(Kind::Admin, move |transaction, now| {
            removal::remove(transaction, now, &user, &pseudonym)
        });
        change.await
    }

    /// See [`passwords::change`].
    pub async fn change_password(
        &self,
        change: passwords::Change,
    ) -> Result<Result<(), PasswordRefusal>, WriteError> {
        let change = self.writer.change(Kind::Admin, move |transaction, now| {
            passwords::change(transaction, now, &change)
        });
        change.await
    }

    /// Puts on record that somebody did not know the password: `action` says
    /// what for.
    pub async fn note_refused(
        &self,
        user: UserId,
        action: &'static str,
        client: Client,
    ) -> Result<(), WriteError> {
        let change = self.writer.change(Kind::Admin, move |transaction, now| {
            audit::append_refused(transaction, now, &user, (action, &client))
        });
        change.await
    }

    /// See [`sessions::find`].
    pub async fn session(
        &self,
        digest: Digest,
        limits: SessionLimits,
    ) -> Result<Option<OpenSession>, ReadError> {
        let now = self.clock.now();
        let read = self
            .aside
            .read(move |connection| sessions::find(connection, now, limits, &digest));
        let Some(session) = read.await? else {
            return Ok(None);
        };
        // A write for every page would be too many, and a sixteenth late is
        // early enough.
        if now.limit.since(session.seen) >= limits.idle / 16 {
            let touch = self.writer.change(Kind::Admin, move |transaction, now| {
                sessions::touch(transaction, now, &digest)
            });
            if let Err(error) = touch.await {
                tracing::warn!(%error, "a session may end early");
            }
        }
        Ok(Some(session))
    }

    /// See [`sessions::open`].
    pub async fn open_session(&self, log_in: LogIn) -> Result<bool, WriteError> {
        let change = self.writer.change(Kind::Admin, move |transaction, now| {
            sessions::open(transaction, now, &log_in)
        });
        change.await
    }

    /// See [`sessions::close`].
    pub async fn close_session(
        &self,
        session: NewSession,
        everywhere: bool,
    ) -> Result<(), WriteError> {
        let change = self.writer.change(Kind::Admin, move |transaction, now| {
            sessions::close(transaction, now, &session, everywhere)
        });
        change.await
    }

    /// Whether a session has not been ended.
    pub async fn is_logged_in(&self, session: Digest) -> Result<bool, ReadError> {
        let read = self
            .aside
            .read(move |connection| sessions::exists(connection, &session));
        read.await
    }
}
