//! Imports. Rows that they bring do not count until the import does, so who finds
//! such a row looks at its import, too.
//!
//! What an import brought is on two lists, of keys and of users. A key and its user
//! are taken off as the audit log is told of them.

use rekey_protocol::{Digest, UserId};

use crate::clock::UnixMillis;
use crate::engine::Impossible;
use crate::engine::keyspace::names::{self, Alias};
use crate::engine::keyspace::rows::{Brought, KeptImport, KeptKey, KeptUser, Revision, Spelled};
use crate::engine::keyspace::space::{Change, Order, Range, Space, after_prefix};
use crate::engine::keyspace::words::keys::FreshKey;
use crate::engine::keyspace::words::people::FreshUser;
use crate::engine::keyspace::{Held, KeyspaceTx, MOST_WRITES};
use crate::engine::rows::{ImportId, ImportedRow, Loaded, Stage, UserClaim};

/// Rows that one change puts in. One takes eight writes: key, active key, user, alias,
/// two for the address, and two lists. It looks at eight rows at most, too, and there
/// are a few for all: as many may be compared as may be written.
const LOADED: usize = MOST_WRITES / 8 - 1;
/// Keys of which one change tells. One takes four writes: event, index, two lists.
const TOLD: usize = MOST_WRITES / 4;
/// Keys that one change takes out. One takes four writes: key, active key, last use,
/// list.
const KEYS_REMOVED: usize = MOST_WRITES / 4;
/// Users that one change takes out. One takes six writes: user, alias, interval, two
/// for the address, list.
const USERS_REMOVED: usize = MOST_WRITES / 6;

/// The change that made the rows of an import count.
pub(crate) struct Cut {
    pub revision: u64,
    pub at: UnixMillis,
}

/// Some of the names of a list, after one of them.
struct Listing {
    list: Vec<u8>,
    after: Option<Vec<u8>>,
    limit: usize,
}

impl<S: Space> KeyspaceTx<'_, S> {
    pub(crate) fn any_import(
        &self,
        import: ImportId,
    ) -> Result<Option<Held<KeptImport>>, S::Error> {
        self.get(&names::import(import))
    }

    /// None: the rows of this import do not count.
    pub(crate) fn cut(&self, import: i64) -> Result<Option<Cut>, S::Error> {
        let Some(Held { row, changed, .. }) = self.any_import(ImportId(import))? else {
            return Ok(None);
        };
        let revision = Revision::or_own(row.revision, changed);
        Ok(row.since.map(|at| Cut { revision, at }))
    }

    /// Whether an import that brought a row counts; a row that none brought does.
    pub(crate) fn counts(&self, import: Option<i64>) -> Result<bool, S::Error> {
        match import {
            None => Ok(true),
            Some(import) => Ok(self.cut(import)?.is_some()),
        }
    }

    pub(crate) fn is_reserved(&self, claim: &UserClaim<'_>) -> Result<bool, S::Error> {
        let user = self.any_user(claim.user)?;
        if let Some(Held { row, .. }) = user
            && !self.is_live(&row)?
        {
            return Ok(true);
        }
        if let Some(email) = claim.email
            && self.is_email_held(email)?
        {
            return Ok(true);
        }
        let active = self.active_digest(claim.user)?;
        match active {
            None => Ok(false),
            Some(digest) => Ok(self.live_key(&digest)?.is_none()),
        }
    }

    pub(crate) fn import_stage(&self, import: ImportId) -> Result<Stage, S::Error> {
        let found = self.any_import(import)?;
        let unfinished = found.filter(|held| !held.row.is_told);
        Ok(match unfinished {
            None => Stage::Over,
            Some(_) => match self.cut(import.0)? {
                None => Stage::Staged,
                Some(cut) => Stage::Counts(cut.revision),
            },
        })
    }

    pub(crate) fn unfinished_imports(&self) -> Result<Vec<ImportId>, S::Error> {
        let pairs = self.space.range(&Range::under(&names::all_imports()))?;
        let mut unfinished = Vec::new();
        for pair in &pairs {
            let row: KeptImport = crate::engine::keyspace::rows::read(&pair.found)?;
            let id = names::import_id(&pair.key).ok_or(Impossible("a name of no import"))?;
            if !row.is_told {
                unfinished.push(id);
            }
        }
        Ok(unfinished)
    }

    pub(crate) fn imported_keys(
        &self,
        import: ImportId,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<Vec<Digest>, S::Error> {
        let listed = self.listed_names(Listing {
            list: names::imported_keys(import),
            after: after.map(|after| names::imported_key(import, after)),
            limit,
        })?;
        let digests = listed.iter().map(|name| names::digest_at_end(name));
        Ok(digests.flatten().collect())
    }

    pub(crate) fn imported_users(
        &self,
        import: ImportId,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<UserId>, S::Error> {
        let listed = self.listed_names(Listing {
            list: names::imported_users(import),
            after: after.map(|after| names::imported_user(import, after)),
            limit,
        })?;
        let users = listed.iter().map(|name| names::imported_user_id(name));
        Ok(users.flatten().collect())
    }

    fn listed_names(&self, listing: Listing) -> Result<Vec<Vec<u8>>, S::Error> {
        let after = listing.after.map(|after| [&after[..], &[0]].concat());
        let range = Range {
            to: after_prefix(&listing.list),
            from: after.unwrap_or(listing.list),
            order: Order::Ascending,
            limit: u32::try_from(listing.limit).unwrap_or(u32::MAX),
            made_after: 0,
        };
        let pairs = self.space.range(&range)?;
        Ok(pairs.into_iter().map(|pair| pair.key).collect())
    }
}

/// All names that are looked at to put in these rows.
fn names_of_rows(rows: &[ImportedRow]) -> Vec<Vec<u8>> {
    let mut names = Vec::new();
    for row in rows {
        names.extend([
            names::key(&row.digest),
            names::active_key(&row.user),
            names::user(&row.user),
            names::user_called(Alias::by_first_key(&row.digest)),
        ]);
        names.extend(
            row.email
                .as_deref()
                .map(names::of_address)
                .into_iter()
                .flatten(),
        );
    }
    names
}

impl<S: Change> KeyspaceTx<'_, S> {
    pub(crate) fn begin_import(&mut self) -> Result<ImportId, S::Error> {
        let range = Range {
            order: Order::Descending,
            limit: 1,
            ..Range::under(&names::all_imports())
        };
        let last = self.space.range(&range)?.pop();
        let last = last.and_then(|pair| names::import_id(&pair.key));
        let import = ImportId(last.map_or(1, |last| last.0 + 1));
        // Of two that begin at a time, one begins again: it has seen that there is none.
        if self.any_import(import)?.is_some() {
            return Err(Impossible("an import that is to begin has begun").into());
        }
        let row = KeptImport {
            since: None,
            revision: None,
            is_told: false,
        };
        self.put(names::import(import), &row)?;
        Ok(import)
    }

    pub(crate) fn insert_imported(
        &mut self,
        import: ImportId,
        rows: &[ImportedRow],
        at: UnixMillis,
    ) -> Result<Loaded, S::Error> {
        let rows = rows.get(..LOADED).unwrap_or(rows);
        // The import is looked at so that it is compared: rows that were on their way
        // for long must not come into an import that counts by then.
        let mut names = names_of_rows(rows);
        names.push(names::import(import));
        self.look_ahead(&names)?;
        for row in rows {
            if !self.insert_row(import, row, at)? {
                return Ok(Loaded::Conflict);
            }
        }
        Ok(Loaded::Rows(rows.len()))
    }

    /// `false`: it cannot be.
    fn insert_row(
        &mut self,
        import: ImportId,
        row: &ImportedRow,
        at: UnixMillis,
    ) -> Result<bool, S::Error> {
        let email = row.email.as_deref().zip(row.email_normal.as_deref());
        let fresh = FreshUser {
            id: &row.user,
            alias: Alias::by_first_key(&row.digest),
            email: email.map(|(typed, normal)| Spelled::new(typed, normal)),
            created: at,
            import: Some(import),
        };
        let known = self.any_user(&row.user)?.map(|held| held.row);
        let alias = match known {
            None => {
                let alias = fresh.alias;
                if !self.put_fresh_user(fresh)? {
                    return Ok(false);
                }
                self.put(names::imported_user(import, &row.user), &Brought {})?;
                alias
            }
            Some(known) => match self.alias_of_same(&known, row)? {
                Some(alias) => alias,
                None => return Ok(false),
            },
        };
        let key = FreshKey {
            digest: &row.digest,
            user: &row.user,
            row: KeptKey {
                alias,
                user: Some(row.user.clone()),
                last_rotated: self.last_rotated(&row.user)?,
                hint: row.hint.clone(),
                created: at,
                revoked: None,
                is_replaced: false,
                replay_until: None,
                import: Some(import.0),
                // Its import's, until it is changed.
                revision: Revision::kept(0),
            },
        };
        let is_in = self.put_fresh_key(key)?;
        if is_in {
            self.put(names::imported_key(import, &row.digest), &Brought {})?;
        }
        Ok(is_in)
    }

    /// What a user is called who was there before the row, if the row is this user's.
    fn alias_of_same(
        &self,
        known: &KeptUser,
        row: &ImportedRow,
    ) -> Result<Option<Alias>, S::Error> {
        let address = known.email.as_ref().map(Spelled::normal);
        let is_same = row.email_normal.is_none() || row.email_normal == address;
        match is_same && self.is_live(known)? {
            true => Ok(known.alias),
            false => Ok(None),
        }
    }

    pub(crate) fn count_import(
        &mut self,
        import: ImportId,
        revision: u64,
        at: UnixMillis,
    ) -> Result<(), S::Error> {
        let found = self.any_import(import)?.map(|held| held.row);
        let staged = found.filter(|row| row.since.is_none());
        let staged = staged.ok_or(Impossible(
            "an import that is to count does, or is not there",
        ))?;
        let counts = KeptImport {
            since: Some(at),
            revision: Revision::kept(revision),
            ..staged
        };
        self.put(names::import(import), &counts)
    }

    pub(crate) fn tell_imported(&mut self, keys: &[Digest]) -> Result<usize, S::Error> {
        let keys = keys.get(..TOLD).unwrap_or(keys);
        let names: Vec<_> = keys.iter().map(names::key).collect();
        self.look_ahead(&names)?;
        let mut brought = Vec::new();
        for digest in keys {
            let key = self.any_key(digest)?.map(|held| held.row);
            let import = key.and_then(|key| key.import).map(ImportId);
            brought.extend(import.map(|import| names::imported_key(import, digest)));
        }
        self.look_ahead(&brought)?;
        for digest in keys {
            self.tell_imported_key(digest)?;
        }
        Ok(keys.len())
    }

    pub(crate) fn end_import(&mut self, import: ImportId) -> Result<(), S::Error> {
        let Some(cut) = self.cut(import.0)? else {
            return Ok(());
        };
        let told = KeptImport {
            since: Some(cut.at),
            revision: Revision::kept(cut.revision),
            is_told: true,
        };
        self.put(names::import(import), &told)
    }

    pub(crate) fn remove_imported_keys(
        &mut self,
        import: ImportId,
        keys: &[Digest],
    ) -> Result<usize, S::Error> {
        let keys = keys.get(..KEYS_REMOVED).unwrap_or(keys);
        if self.counts(Some(import.0))? {
            return Ok(keys.len());
        }
        let names: Vec<_> = keys.iter().map(names::key).collect();
        self.look_ahead(&names)?;
        for digest in keys {
            let key = self.any_key(digest)?.map(|held| held.row);
            let its = key.filter(|key| key.import == Some(import.0));
            if let Some(user) = its.and_then(|key| key.user) {
                self.remove_key(digest, &user);
                self.space.delete(&names::imported_key(import, digest));
            }
        }
        Ok(keys.len())
    }

    pub(crate) fn remove_imported_users(
        &mut self,
        import: ImportId,
        users: &[UserId],
    ) -> Result<usize, S::Error> {
        let users = users.get(..USERS_REMOVED).unwrap_or(users);
        if self.counts(Some(import.0))? {
            return Ok(users.len());
        }
        let names: Vec<_> = users.iter().map(names::user).collect();
        self.look_ahead(&names)?;
        for id in users {
            let user = self.any_user(id)?.map(|held| held.row);
            let Some(user) = user.filter(|user| user.import == Some(import.0)) else {
                continue;
            };
            if let Some(email) = &user.email {
                self.remove_address(email);
            }
            if let Some(alias) = user.alias {
                self.space.delete(&names::user_called(alias));
                self.space.delete(&names::interval(alias));
            }
            self.space.delete(&names::user(id));
            self.space.delete(&names::imported_user(import, id));
            self.people.borrow_mut().remove(id);
        }
        Ok(users.len())
    }

    pub(crate) fn forget_import(&mut self, import: ImportId) -> Result<(), S::Error> {
        if !self.counts(Some(import.0))? {
            self.space.delete(&names::import(import));
        }
        Ok(())
    }
}
