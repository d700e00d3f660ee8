//! Keys: which there are, whose they are, and which is a user's active one.

mod replays;
mod rotations;
mod uses;

use rekey_protocol::{Digest, ResolvedState, UserId};

use crate::api::KeyShown;
use crate::clock::UnixMillis;
use crate::engine::Impossible;
use crate::engine::keyspace::names::{self, Alias};
use crate::engine::keyspace::rows::{ActiveDigest, Gone, KeptKey, Revision};
use crate::engine::keyspace::space::{Change, PENDING, Space};
use crate::engine::keyspace::{Held, KeyspaceTx, Person};
use crate::engine::rows::{CurrentKey, Key, NewKey};

/// A key that counts.
pub(crate) struct LiveKey {
    pub row: KeptKey,
    /// The revision that last changed it: an imported one has its import's until it
    /// is changed.
    pub revision: u64,
}

impl KeptKey {
    pub(crate) fn state(&self) -> ResolvedState {
        match self.revoked {
            Some(_) => ResolvedState::Revoked,
            None => ResolvedState::Active,
        }
    }
}

impl<S: Space> KeyspaceTx<'_, S> {
    /// A key, whether or not it counts.
    pub(crate) fn any_key(&self, digest: &Digest) -> Result<Option<Held<KeptKey>>, S::Error> {
        let found: Option<Held<KeptKey>> = self.get(&names::key(digest))?;
        if let Some(KeptKey {
            user: Some(user),
            alias,
            last_rotated,
            ..
        }) = found.as_ref().map(|held| &held.row)
        {
            let person = Person {
                alias: *alias,
                last_rotated: *last_rotated,
            };
            self.people.borrow_mut().insert(user.clone(), person);
        }
        Ok(found)
    }

    pub(crate) fn live_key(&self, digest: &Digest) -> Result<Option<LiveKey>, S::Error> {
        let Some(held) = self.any_key(digest)? else {
            return Ok(None);
        };
        let own = Revision::or_own(held.row.revision, held.changed);
        let since = match held.row.import {
            None => 0,
            Some(import) => match self.cut(import)? {
                None => return Ok(None),
                Some(cut) => cut.revision,
            },
        };
        Ok(Some(LiveKey {
            row: held.row,
            revision: own.max(since),
        }))
    }

    pub(crate) fn key(&self, digest: &Digest) -> Result<Option<Key>, S::Error> {
        let Some(LiveKey { row, revision }) = self.live_key(digest)? else {
            return Ok(None);
        };
        let last_rotated = match row.user {
            Some(_) => row.last_rotated,
            None => {
                let names = [names::user_called(row.alias), names::interval(row.alias)];
                self.look_ahead(&names)?;
                self.last_rotation_of(row.alias)?.map(|last| last.limit)
            }
        };
        Ok(Some(Key {
            state: row.state(),
            revision,
            last_rotated,
            replay_until: row.replay_until,
            user: self.user_of(&row)?,
        }))
    }

    /// Whose a key is.
    pub(crate) fn user_of(&self, key: &KeptKey) -> Result<UserId, S::Error> {
        match &key.user {
            Some(user) => Ok(user.clone()),
            None => self.user_called(key.alias),
        }
    }

    pub(crate) fn key_exists(&self, digest: &Digest) -> Result<bool, S::Error> {
        self.is_there(&names::key(digest))
    }

    /// The digest of the active key of a user, which may not count.
    pub(crate) fn active_digest(&self, user: &UserId) -> Result<Option<Digest>, S::Error> {
        let found: Option<Held<ActiveDigest>> = self.get(&names::active_key(user))?;
        Ok(found.map(|held| held.row.digest))
    }

    pub(crate) fn active_key(&self, user: &UserId) -> Result<Option<CurrentKey>, S::Error> {
        let Some(digest) = self.active_digest(user)? else {
            return Ok(None);
        };
        let found = self.live_key(&digest)?;
        Ok(found.map(|LiveKey { row, revision }| CurrentKey {
            digest,
            revision,
            hint: row.hint,
            created: row.created,
        }))
    }

    pub(crate) fn key_shown(&self, digest: &Digest) -> Result<Option<KeyShown>, S::Error> {
        let Some(Held { row, .. }) = self.any_key(digest)? else {
            return Ok(None);
        };
        let user_id = self.user_of(&row)?;
        let user = self.any_user(&user_id)?;
        let email = user.and_then(|held| held.row.email);
        Ok(Some(KeyShown {
            user_id,
            email: email.map(|email| email.typed),
            digest: *digest,
            state: row.state(),
            hint: row.hint,
            created_at: row.created.rfc3339(),
            revoked_at: row.revoked.map(UnixMillis::rfc3339),
        }))
    }
}

/// A key that is put in, active.
pub(crate) struct FreshKey<'a> {
    pub digest: &'a Digest,
    pub user: &'a UserId,
    pub row: KeptKey,
}

impl<S: Change> KeyspaceTx<'_, S> {
    pub(crate) fn insert_key(&mut self, key: &NewKey<'_>) -> Result<(), S::Error> {
        let known = self.person(key.user)?;
        let Person {
            alias,
            last_rotated,
        } = known.ok_or(Impossible("a key of nobody"))?;
        let fresh = FreshKey {
            digest: key.digest,
            user: key.user,
            row: KeptKey {
                alias,
                user: Some(key.user.clone()),
                last_rotated,
                hint: key.hint.map(str::to_owned),
                created: key.created,
                revoked: None,
                is_replaced: false,
                replay_until: None,
                import: None,
                revision: Revision::kept(key.revision),
            },
        };
        match self.put_fresh_key(fresh)? {
            true => Ok(()),
            false => Err(Impossible("a key that cannot be: I3").into()),
        }
    }

    /// Adds an active key; `false`: it is known, or the user has one (I3).
    pub(crate) fn put_fresh_key(&mut self, key: FreshKey<'_>) -> Result<bool, S::Error> {
        let FreshKey { digest, user, row } = key;
        let active = names::active_key(user);
        if self.key_exists(digest)? || self.is_there(&active)? {
            return Ok(false);
        }
        self.put(active, &ActiveDigest { digest: *digest })?;
        self.put(names::key(digest), &row)?;
        Ok(true)
    }

    pub(crate) fn revoke_key(
        &mut self,
        digest: &Digest,
        at: UnixMillis,
        revision: u64,
    ) -> Result<(), S::Error> {
        let known = self.any_key(digest)?.map(|held| held.row);
        let active = known.filter(|row| row.revoked.is_none());
        let Some((row, user)) = active.and_then(|row| Some((row.clone(), row.user?))) else {
            return Err(Impossible("a key that is to end is not active").into());
        };
        let ended = KeptKey {
            user: None,
            last_rotated: None,
            revoked: Some(at),
            revision: Revision::kept(revision),
            ..row
        };
        self.put(names::key(digest), &ended)?;
        let gone = Gone {
            replay_until: ended.replay_until,
            rotation: None,
        };
        self.put(names::gone(digest), &gone)?;
        self.space.delete(&names::active_key(&user));
        // X4: what is kept of its making is of no use any more.
        self.space.delete(&names::replay(digest));
        self.revoked.insert(*digest);
        Ok(())
    }

    pub(crate) fn set_replayable(
        &mut self,
        digest: &Digest,
        until: UnixMillis,
    ) -> Result<(), S::Error> {
        self.rewrite_key(digest, |row| row.replay_until = Some(until))?;
        let name = names::gone(digest);
        if let Some(Held::<Gone> { mut row, .. }) = self.get(&name)? {
            row.replay_until = Some(until);
            self.put(name, &row)?;
        }
        Ok(())
    }

    /// Changes a key's row, if there is one. For others the key is as old as it was.
    pub(crate) fn rewrite_key(
        &mut self,
        digest: &Digest,
        change: impl FnOnce(&mut KeptKey),
    ) -> Result<(), S::Error> {
        let Some(Held {
            mut row, changed, ..
        }) = self.any_key(digest)?
        else {
            return Ok(());
        };
        if changed != PENDING && row.revision.is_none() {
            row.revision = Revision::kept(changed);
        }
        change(&mut row);
        self.put(names::key(digest), &row)
    }

    /// Takes out a key that nobody was told of, which is this user's.
    pub(crate) fn remove_key(&mut self, digest: &Digest, user: &UserId) {
        self.space.delete(&names::key(digest));
        self.space.delete(&names::active_key(user));
        self.space.delete(&names::last_use(digest));
    }
}

impl<S: Space> KeyspaceTx<'_, S> {
    /// The user whom rows call this.
    pub(crate) fn user_called(&self, alias: Alias) -> Result<UserId, S::Error> {
        let found: Option<Held<crate::engine::keyspace::rows::HolderOf>> =
            self.get(&names::user_called(alias))?;
        let known = found.map(|held| held.row.user);
        Ok(known.ok_or(Impossible("an alias of nobody"))?)
    }
}
