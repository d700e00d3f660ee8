//! Sessions, and the browsers in which users have logged in. Both are under their
//! users, who have some twenty of each; a session is also found by its digest alone.

use rekey_protocol::{Digest, UserId};

use crate::clock::UnixMillis;
use crate::engine::Impossible;
use crate::engine::keyspace::names;
use crate::engine::keyspace::rows::{KeptBrowser, KeptSession, SessionAge, read};
use crate::engine::keyspace::space::{Change, Range, Space};
use crate::engine::keyspace::{Held, KeyspaceTx};
use crate::engine::rows::KnownSession;

const NAMELESS: Impossible = Impossible("a session or a browser has a name that is none");

/// A session or a browser, and since when it is as it is.
struct Aged {
    since: UnixMillis,
    digest: Digest,
}

impl<S: Space> KeyspaceTx<'_, S> {
    fn any_session(&self, digest: &Digest) -> Result<Option<KeptSession>, S::Error> {
        let found: Option<Held<KeptSession>> = self.get(&names::session(digest))?;
        Ok(found.map(|held| held.row))
    }

    pub(crate) fn session_exists(&self, digest: &Digest) -> Result<bool, S::Error> {
        self.is_there(&names::session(digest))
    }

    pub(crate) fn session(&self, digest: &Digest) -> Result<Option<KnownSession>, S::Error> {
        let Some(session) = self.any_session(digest)? else {
            return Ok(None);
        };
        let user = self.any_user(&session.user)?;
        let email = user.and_then(|held| held.row.email);
        Ok(Some(KnownSession {
            user: session.user,
            email: email.map(|email| email.typed).unwrap_or_default(),
            created: session.created,
            seen: session.seen,
        }))
    }

    pub(crate) fn is_known_device(&self, digest: &Digest, user: &UserId) -> Result<bool, S::Error> {
        self.is_there(&names::browser_of(user, digest))
    }

    fn sessions_of(&self, user: &UserId) -> Result<Vec<Aged>, S::Error> {
        let pairs = self.space.range(&Range::under(&names::sessions_of(user)))?;
        let mut sessions = Vec::new();
        for pair in &pairs {
            let row: SessionAge = read(&pair.found)?;
            sessions.push(Aged {
                since: row.created,
                digest: names::digest_at_end(&pair.key).ok_or(NAMELESS)?,
            });
        }
        Ok(sessions)
    }

    fn browsers_of(&self, user: &UserId) -> Result<Vec<Aged>, S::Error> {
        let pairs = self.space.range(&Range::under(&names::browsers_of(user)))?;
        let mut browsers = Vec::new();
        for pair in &pairs {
            let row: KeptBrowser = read(&pair.found)?;
            browsers.push(Aged {
                since: row.seen,
                digest: names::digest_at_end(&pair.key).ok_or(NAMELESS)?,
            });
        }
        Ok(browsers)
    }
}

impl<S: Change> KeyspaceTx<'_, S> {
    pub(crate) fn insert_session(
        &mut self,
        digest: &Digest,
        user: &UserId,
        at: UnixMillis,
    ) -> Result<(), S::Error> {
        self.look_ahead(&[names::user(user), names::session(digest)])?;
        if self.any_user(user)?.is_none() || self.session_exists(digest)? {
            return Err(Impossible("a session of nobody, or one that was there").into());
        }
        let session = KeptSession {
            user: user.clone(),
            created: at,
            seen: at,
        };
        self.put(names::session(digest), &session)?;
        let age = SessionAge { created: at };
        self.put(names::session_of(user, digest), &age)
    }

    pub(crate) fn touch_session(
        &mut self,
        digest: &Digest,
        at: UnixMillis,
    ) -> Result<(), S::Error> {
        let Some(session) = self.any_session(digest)? else {
            return Ok(());
        };
        let touched = KeptSession {
            seen: at,
            ..session
        };
        self.put(names::session(digest), &touched)
    }

    pub(crate) fn end_session(&mut self, digest: &Digest) -> Result<bool, S::Error> {
        let session = self.any_session(digest)?;
        if let Some(session) = &session {
            self.remove_session(digest, &session.user);
        }
        Ok(session.is_some())
    }

    fn remove_session(&mut self, digest: &Digest, user: &UserId) {
        self.space.delete(&names::session(digest));
        self.space.delete(&names::session_of(user, digest));
    }

    pub(crate) fn end_sessions(&mut self, user: &UserId) -> Result<(), S::Error> {
        for Aged { digest, .. } in self.sessions_of(user)? {
            self.remove_session(&digest, user);
        }
        Ok(())
    }

    pub(crate) fn end_sessions_after(
        &mut self,
        user: &UserId,
        after: UnixMillis,
    ) -> Result<(), S::Error> {
        for Aged { since, digest } in self.sessions_of(user)? {
            if since > after {
                self.remove_session(&digest, user);
            }
        }
        Ok(())
    }

    pub(crate) fn keep_newest_sessions(
        &mut self,
        user: &UserId,
        most: u32,
    ) -> Result<(), S::Error> {
        for digest in all_but_newest(self.sessions_of(user)?, most) {
            self.remove_session(&digest, user);
        }
        Ok(())
    }

    /// A browser that is another user's, too, is no error: it is known by random bits
    /// that nobody draws twice.
    pub(crate) fn insert_device(
        &mut self,
        digest: &Digest,
        user: &UserId,
        at: UnixMillis,
    ) -> Result<(), S::Error> {
        // All of them: who comes has looked at them already, or will.
        let known = self.browsers_of(user)?;
        let is_known = known.iter().any(|browser| browser.digest == *digest);
        if is_known || self.any_user(user)?.is_none() {
            return Err(Impossible("a browser of nobody, or one that was there").into());
        }
        let name = names::browser_of(user, digest);
        self.put(name, &KeptBrowser { seen: at })
    }

    pub(crate) fn forget_device(&mut self, digest: &Digest, user: &UserId) {
        self.space.delete(&names::browser_of(user, digest));
    }

    /// One by one: etcd takes no transaction that clears a prefix and puts something
    /// under it, as a change of a password does.
    pub(crate) fn forget_devices(&mut self, user: &UserId) -> Result<(), S::Error> {
        for Aged { digest, .. } in self.browsers_of(user)? {
            self.forget_device(&digest, user);
        }
        Ok(())
    }

    pub(crate) fn forget_devices_after(
        &mut self,
        user: &UserId,
        after: UnixMillis,
    ) -> Result<(), S::Error> {
        for Aged { since, digest } in self.browsers_of(user)? {
            if since > after {
                self.forget_device(&digest, user);
            }
        }
        Ok(())
    }

    pub(crate) fn keep_newest_devices(&mut self, user: &UserId, most: u32) -> Result<(), S::Error> {
        for digest in all_but_newest(self.browsers_of(user)?, most) {
            self.forget_device(&digest, user);
        }
        Ok(())
    }

    pub(crate) fn log_everybody_out(&mut self) {
        self.space.delete_under(&names::all_sessions());
        self.space.delete_under(&names::all_sessions_of_users());
        self.space.delete_under(&names::all_browsers());
    }
}

/// All but so many of the newest.
fn all_but_newest(mut all: Vec<Aged>, most: u32) -> Vec<Digest> {
    all.sort_by_key(|aged| (aged.since, aged.digest));
    all.truncate(all.len().saturating_sub(most as usize));
    all.into_iter().map(|aged| aged.digest).collect()
}
