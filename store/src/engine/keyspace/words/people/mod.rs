//! Users: adding, listing and removing them, their passwords and their intervals.

mod addresses;
mod sessions;

use rekey_protocol::UserId;

use crate::accounts::password::StoredHash;
use crate::api::{KeyEntry, UserEntry};
use crate::clock::{StoreTime, UnixMillis};
use crate::engine::Impossible;
use crate::engine::keyspace::names::{self, Alias};
use crate::engine::keyspace::rows::{
    HolderOf, KeptPassword, KeptUser, LastRotation, Spelled, Stands,
};
use crate::engine::keyspace::space::{Change, Order, PENDING, Range, Space, after_prefix};
use crate::engine::keyspace::{Held, KeyspaceTx, Person};
use crate::engine::rows::{ImportId, LastUse, PasswordHash, UserStatus};
use crate::operations::users::NewUser;

impl<S: Space> KeyspaceTx<'_, S> {
    /// A user, whether or not one that counts.
    pub(crate) fn any_user(&self, user: &UserId) -> Result<Option<Held<KeptUser>>, S::Error> {
        self.get(&names::user(user))
    }

    /// Whether it is a user who counts.
    pub(crate) fn is_live(&self, user: &KeptUser) -> Result<bool, S::Error> {
        Ok(user.stands.is_here() && self.counts(user.import)?)
    }

    /// What rows call this user; none: there is no such user.
    pub(crate) fn alias_of(&self, user: &UserId) -> Result<Option<Alias>, S::Error> {
        let known = self.people.borrow().get(user).copied();
        match known {
            Some(person) => Ok(Some(person.alias)),
            None => Ok(self.any_user(user)?.and_then(|held| held.row.alias)),
        }
    }

    /// The same with when the user last rotated.
    pub(crate) fn person(&self, user: &UserId) -> Result<Option<Person>, S::Error> {
        let known = self.people.borrow().get(user).copied();
        if known.is_some() {
            return Ok(known);
        }
        let Some(Held { row, made, .. }) = self.any_user(user)? else {
            return Ok(None);
        };
        let Some(alias) = row.alias else {
            return Ok(None);
        };
        // Who has just come has rotated nothing.
        let is_new = made == PENDING && row.stands.is_here();
        let last = match is_new {
            true => None,
            false => self.last_rotation_of(alias)?,
        };
        let person = Person {
            alias,
            last_rotated: last.map(|last| last.limit),
        };
        self.people.borrow_mut().insert(user.clone(), person);
        Ok(Some(person))
    }

    pub(crate) fn last_rotation_of(&self, alias: Alias) -> Result<Option<LastRotation>, S::Error> {
        let found: Option<Held<LastRotation>> = self.get(&names::interval(alias))?;
        Ok(found.map(|held| held.row))
    }

    pub(crate) fn user_status(&self, user: &UserId) -> Result<Option<UserStatus>, S::Error> {
        let Some(Held { row, .. }) = self.any_user(user)? else {
            return Ok(None);
        };
        let counts = self.counts(row.import)?;
        Ok(counts.then(|| row.stands.into()))
    }

    pub(crate) fn last_rotated(&self, user: &UserId) -> Result<Option<UnixMillis>, S::Error> {
        match self.person(user)? {
            Some(person) => Ok(person.last_rotated),
            None if self.any_user(user)?.is_some() => Ok(None),
            None => Err(Impossible("no such user").into()),
        }
    }

    pub(crate) fn has_email(&self, user: &UserId) -> Result<bool, S::Error> {
        match self.any_user(user)? {
            Some(Held { row, .. }) => Ok(row.email.is_some() && self.is_live(&row)?),
            None => Ok(false),
        }
    }

    pub(crate) fn password(&self, user: &UserId) -> Result<Option<PasswordHash>, S::Error> {
        let found: Option<Held<KeptPassword>> = self.get(&names::password(user))?;
        Ok(found.map(|Held { row, .. }| PasswordHash {
            changed: row.changed,
            stored: StoredHash {
                spelling: row.spelling(),
                phc: row.phc,
            },
        }))
    }

    pub(crate) fn users_after(&self, after: &str, limit: u32) -> Result<Vec<UserEntry>, S::Error> {
        let mut from = names::users_after(after);
        let mut entries = Vec::new();
        while (entries.len() as u64) < u64::from(limit) {
            let range = Range {
                from,
                to: after_prefix(&names::all_users()),
                order: Order::Ascending,
                limit,
                made_after: 0,
            };
            let pairs = self.space.range(&range)?;
            let mut page = Vec::new();
            for pair in &pairs {
                let id = names::user_id(&pair.key).ok_or(Impossible("a name of no user"))?;
                let row: KeptUser = crate::engine::keyspace::rows::read(&pair.found)?;
                if self.is_live(&row)? {
                    page.push(Listed { id, row });
                }
            }
            page.truncate(limit as usize - entries.len());
            entries.extend(self.listed(page)?);
            let Some(last) = pairs.last().filter(|_| pairs.len() >= limit as usize) else {
                break;
            };
            from = [&last.key[..], &[0]].concat();
        }
        Ok(entries)
    }

    /// As the operator is shown them: two looks for all.
    fn listed(&self, page: Vec<Listed>) -> Result<Vec<UserEntry>, S::Error> {
        let mut names = Vec::new();
        for Listed { id, row } in &page {
            names.push(names::active_key(id));
            names.extend(row.alias.map(names::interval));
        }
        self.look_ahead(&names)?;
        let mut names = Vec::new();
        for Listed { id, .. } in &page {
            if let Some(digest) = self.active_digest(id)? {
                names.extend([names::key(&digest), names::last_use(&digest)]);
            }
        }
        self.look_ahead(&names)?;
        page.into_iter().map(|listed| self.entry(listed)).collect()
    }

    fn entry(&self, Listed { id, row }: Listed) -> Result<UserEntry, S::Error> {
        let last = match row.alias {
            Some(alias) => self.last_rotation_of(alias)?,
            None => None,
        };
        let key = match self.active_key(&id)? {
            None => None,
            Some(key) => {
                let last_use = self.last_use(&key.digest)?;
                Some(KeyEntry {
                    hint: key.hint,
                    created_at: key.created.rfc3339(),
                    last_used_at: last_use.and_then(LastUse::rfc3339),
                    never_used: last_use == Some(LastUse::Never),
                })
            }
        };
        Ok(UserEntry {
            user_id: id,
            email: row.email.map(|email| email.typed),
            created_at: row.created.rfc3339(),
            last_rotated_at: last.map(|last| last.told.rfc3339()),
            key,
        })
    }
}

/// A user on a page.
struct Listed {
    id: UserId,
    row: KeptUser,
}

/// A user who is put in.
pub(crate) struct FreshUser<'a> {
    pub id: &'a UserId,
    pub alias: Alias,
    pub email: Option<Spelled>,
    pub created: UnixMillis,
    pub import: Option<ImportId>,
}

impl<S: Change> KeyspaceTx<'_, S> {
    pub(crate) fn insert_user(
        &mut self,
        new: &NewUser,
        created: UnixMillis,
    ) -> Result<(), S::Error> {
        let fresh = FreshUser {
            id: &new.id,
            alias: Alias::by_first_key(&new.digest),
            email: Some(Spelled::of(&new.email)),
            created,
            import: None,
        };
        if !self.put_fresh_user(fresh)? {
            return Err(Impossible("a user has an id or an address of another one").into());
        }
        match &new.phc {
            Some(phc) => self.set_password(&new.id, phc, created),
            None => Ok(()),
        }
    }

    /// Adds a user; `false`: the id, the alias or the address is another one's.
    pub(crate) fn put_fresh_user(&mut self, fresh: FreshUser<'_>) -> Result<bool, S::Error> {
        let called = names::user_called(fresh.alias);
        if self.any_user(fresh.id)?.is_some() || self.is_there(&called)? {
            return Ok(false);
        }
        if let Some(email) = &fresh.email {
            if self.is_email_taken(email)? {
                return Ok(false);
            }
            self.put_address(fresh.id, email)?;
        }
        let user = fresh.id.clone();
        self.put(called, &HolderOf { user })?;
        let row = KeptUser {
            alias: Some(fresh.alias),
            email: fresh.email,
            created: fresh.created,
            stands: Stands::Here,
            import: fresh.import.map(|import| import.0),
        };
        self.put(names::user(fresh.id), &row)?;
        Ok(true)
    }

    pub(crate) fn begin_interval(&mut self, user: &UserId, now: StoreTime) -> Result<(), S::Error> {
        let Some(person) = self.person(user)? else {
            return Ok(());
        };
        let last = person.last_rotated.max(Some(now.limit));
        let limit = last.unwrap_or(now.limit);
        let row = LastRotation {
            limit,
            told: now.told,
        };
        self.put(names::interval(person.alias), &row)?;
        if let Some(digest) = self.active_digest(user)? {
            self.rewrite_key(&digest, |key| key.last_rotated = last)?;
        }
        let person = Person {
            last_rotated: last,
            ..person
        };
        self.people.borrow_mut().insert(user.clone(), person);
        Ok(())
    }

    pub(crate) fn set_password(
        &mut self,
        user: &UserId,
        phc: &str,
        at: UnixMillis,
    ) -> Result<(), S::Error> {
        if self.any_user(user)?.is_none() {
            return Err(Impossible("a password of nobody").into());
        }
        let row = KeptPassword {
            phc: phc.to_owned(),
            changed: at,
            is_as_typed: false,
        };
        self.put(names::password(user), &row)
    }

    pub(crate) fn renew_password(&mut self, user: &UserId, phc: &str) -> Result<(), S::Error> {
        let name = names::password(user);
        let Some(Held::<KeptPassword> { mut row, .. }) = self.get(&name)? else {
            return Ok(());
        };
        phc.clone_into(&mut row.phc);
        row.is_as_typed = false;
        self.put(name, &row)
    }

    pub(crate) fn make_pseudonymous(
        &mut self,
        user: &UserId,
        pseudonym: &UserId,
    ) -> Result<(), S::Error> {
        let nobody = Impossible("nobody is to be removed");
        let Held { row, .. } = self.any_user(user)?.ok_or(nobody)?;
        let alias = row.alias.ok_or(nobody)?;
        if self.any_user(pseudonym)?.is_some() {
            return Err(Impossible("a pseudonym was drawn before").into());
        }
        if let Some(digest) = self.active_digest(user)? {
            self.tell_imported_key(&digest)?;
            self.space.delete(&names::active_key(user));
            let active = crate::engine::keyspace::rows::ActiveDigest { digest };
            self.put(names::active_key(pseudonym), &active)?;
            self.rewrite_key(&digest, |key| key.user = Some(pseudonym.clone()))?;
        }
        let called = HolderOf {
            user: pseudonym.clone(),
        };
        self.put(names::user_called(alias), &called)?;
        let stays = KeptUser {
            email: None,
            import: None,
            stands: Stands::Pseudonym,
            ..row.clone()
        };
        self.put(names::user(pseudonym), &stays)?;
        // Not the time either: it is the one of the pseudonym's first event.
        let removed = KeptUser {
            alias: None,
            email: None,
            created: UnixMillis(0),
            stands: Stands::Removed,
            import: None,
        };
        self.put(names::user(user), &removed)?;
        self.space.delete(&names::password(user));
        if let Some(email) = &row.email {
            self.remove_address(email);
        }
        if let Some(import) = row.import {
            let brought = names::imported_user(ImportId(import), user);
            self.space.delete(&brought);
        }
        self.people.borrow_mut().remove(user);
        Ok(())
    }
}
