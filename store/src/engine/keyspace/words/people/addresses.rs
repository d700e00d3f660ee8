//! Addresses: whose they are, however they are spelled.
//!
//! Each address has one row by its normal form, and another one by its small letters
//! of ASCII if those are something else. A row names one user: an address that is
//! taken by either is refused.

use rekey_protocol::UserId;

use crate::accounts::email::Email;
use crate::accounts::typed;
use crate::engine::Impossible;
use crate::engine::keyspace::names;
use crate::engine::keyspace::rows::{HolderOf, KeptUser, Spelled};
use crate::engine::keyspace::space::{Change, Space};
use crate::engine::keyspace::{Held, KeyspaceTx};

/// A user who has an address.
pub(crate) struct Holder {
    id: UserId,
    user: KeptUser,
    typed: String,
}

impl Spelled {
    pub(crate) fn of(email: &Email) -> Self {
        Self::new(email.as_str(), &email.normal())
    }

    fn names(&self) -> Vec<Vec<u8>> {
        let (normal, small) = (self.normal(), self.typed.to_ascii_lowercase());
        let mut names = vec![names::normal_address(&normal)];
        if small != normal {
            names.push(names::small_address(&small));
        }
        names
    }
}

impl<S: Space> KeyspaceTx<'_, S> {
    /// Those who have this address, also by an import that does not count.
    pub(crate) fn holders(&self, typed: &str) -> Result<Vec<Holder>, S::Error> {
        let normal = typed::address(typed);
        self.holders_of(typed, &normal)
    }

    fn holders_of(&self, typed: &str, normal: &str) -> Result<Vec<Holder>, S::Error> {
        let names = names::of_address(typed);
        self.look_ahead(&names)?;
        let mut ids = Vec::new();
        for name in &names {
            let held: Option<Held<HolderOf>> = self.get(name)?;
            ids.extend(held.map(|held| held.row.user));
        }
        ids.sort();
        ids.dedup();
        let users: Vec<_> = ids.iter().map(names::user).collect();
        if !users.is_empty() {
            self.look_ahead(&users)?;
        }
        let mut holders = Vec::new();
        for id in ids {
            let Some(Held { row, .. }) = self.any_user(&id)? else {
                continue;
            };
            let email = row.email.clone();
            if let Some(email) = email.filter(|email| email.is(typed, normal)) {
                holders.push(Holder {
                    id,
                    user: row,
                    typed: email.typed,
                });
            }
        }
        Ok(holders)
    }

    pub(crate) fn owner_of_email(&self, typed: &str) -> Result<Option<UserId>, S::Error> {
        let mut owners = Vec::new();
        for holder in self.holders(typed)? {
            if self.is_live(&holder.user)? {
                owners.push(holder);
            }
        }
        // Two that are one address by now may not have been when they were added.
        let owner = owners.into_iter().min_by_key(|holder| {
            let is_nearly = holder.typed.eq_ignore_ascii_case(typed);
            (holder.typed != typed, !is_nearly, holder.id.clone())
        });
        Ok(owner.map(|holder| holder.id))
    }

    pub(crate) fn is_anothers_email(&self, email: &Email, user: &UserId) -> Result<bool, S::Error> {
        let holders = self.holders(email.as_str())?;
        Ok(holders.iter().any(|holder| holder.id != *user))
    }

    /// Whether somebody has it who does not count, or not yet.
    pub(crate) fn is_email_held(&self, email: &Email) -> Result<bool, S::Error> {
        for holder in self.holders(email.as_str())? {
            if !self.is_live(&holder.user)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(crate) fn is_email_taken(&self, email: &Spelled) -> Result<bool, S::Error> {
        let holders = self.holders_of(&email.typed, &email.normal())?;
        Ok(!holders.is_empty())
    }
}

impl<S: Change> KeyspaceTx<'_, S> {
    pub(crate) fn set_email(&mut self, user: &UserId, email: &Email) -> Result<(), S::Error> {
        if self.is_anothers_email(email, user)? {
            return Err(Impossible("an address is another user's").into());
        }
        let Some(Held { mut row, .. }) = self.any_user(user)? else {
            return Ok(());
        };
        if let Some(former) = &row.email {
            self.remove_address(former);
        }
        let email = Spelled::of(email);
        self.put_address(user, &email)?;
        row.email = Some(email);
        self.put(names::user(user), &row)
    }

    pub(crate) fn put_address(&mut self, user: &UserId, email: &Spelled) -> Result<(), S::Error> {
        for name in email.names() {
            let user = user.clone();
            self.put(name, &HolderOf { user })?;
        }
        Ok(())
    }

    pub(crate) fn remove_address(&mut self, email: &Spelled) {
        for name in email.names() {
            self.space.delete(&name);
        }
    }
}
