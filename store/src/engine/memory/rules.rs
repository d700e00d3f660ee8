//! What a change of one row means for the others: what a database's schema holds
//! by itself, and the changes that go over several tables.

use rekey_protocol::{Digest, UserId};

use super::tables::{Address, AuditRow, KeyRow, Tables, User};
use crate::accounts::email::Email;
use crate::clock::{StoreTime, UnixMillis};
use crate::engine::Impossible;
use crate::engine::rows::{ImportId, ImportedRow, Source, UserStatus};
use crate::operations::audit::action::Action;
use crate::rules::rotation::RecordedOutcome;

impl Address {
    pub(super) fn of(email: &Email) -> Self {
        Self {
            typed: email.as_str().to_owned(),
            normal: email.normal(),
        }
    }
}

impl Tables {
    /// Adds an active key; `false`: it is known, or the user has one (I3).
    pub(super) fn insert_key(&mut self, digest: Digest, key: KeyRow) -> bool {
        let is_free = !self.keys.has(&digest) && !self.active.has(&key.user);
        if is_free {
            self.active.put(key.user.clone(), digest);
            self.keys.put(digest, key);
        }
        is_free
    }

    /// Takes out a key that nobody was told of.
    pub(super) fn remove_key(&mut self, digest: &Digest) {
        let Some(key) = self.keys.get(digest) else {
            return;
        };
        let user = key.user.clone();
        if self.active.get(&user) == Some(digest) {
            self.active.remove(&user);
        }
        self.keys.remove(digest);
    }

    /// Adds a user; `false`: the id or the address is another one's.
    pub(super) fn insert_user(&mut self, id: UserId, user: User) -> bool {
        let is_taken = user.email.as_ref().is_some_and(|new| {
            let mut users = self.users.iter();
            users.any(|(_, other)| {
                let other = other.email.as_ref();
                other.is_some_and(|other| other.is(&new.typed, &new.normal))
            })
        });
        !is_taken && self.users.add(id, user)
    }

    /// Puts in a row of an import; `false`: it cannot be.
    pub(super) fn import(&mut self, import: ImportId, row: &ImportedRow, at: UnixMillis) -> bool {
        let typed = row.email.as_ref();
        let email = typed.zip(row.email_normal.as_ref());
        let email = email.map(|(typed, normal)| Address {
            typed: typed.clone(),
            normal: normal.clone(),
        });
        let user = User {
            email,
            created: at,
            last_rotated: None,
            rotated_told: None,
            import: Some(import.0),
            user_status: UserStatus::Here,
        };
        let is_the_users = |known: &User| {
            let address = known.email.as_ref().map(|email| &email.normal);
            row.email_normal.is_none() || row.email_normal.as_ref() == address
        };
        let is_known = self.insert_user(row.user.clone(), user)
            || self.live_user(&row.user).is_some_and(is_the_users);
        let key = KeyRow {
            user: row.user.clone(),
            hint: row.hint.clone(),
            created: at,
            revoked: None,
            revision: 0,
            replay_until: None,
            import: Some(import.0),
            last_used: None,
        };
        is_known && self.insert_key(row.digest, key)
    }

    /// Tells the audit log of the import of this key, unless it has been told or no
    /// import that counts brought the key.
    pub(super) fn tell_imported(&mut self, digest: &Digest) {
        let Some(key) = self.keys.get(digest) else {
            return;
        };
        let import = key.import.and_then(|import| self.imports.get(&import));
        let Some(cut) = import
            .filter(|import| !import.is_told)
            .and_then(|import| import.counts)
        else {
            return;
        };
        let is_told = self.audit.iter().any(|(_, entry)| {
            entry.new_digest == Some(*digest)
                && entry.action == Action::Imported
                && entry.user == key.user
        });
        if is_told {
            return;
        }
        let entry = AuditRow {
            at: StoreTime::both(cut.at),
            user: key.user.clone(),
            action: Action::Imported,
            revision: cut.revision,
            old_digest: None,
            new_digest: Some(*digest),
            hint: key.hint.clone(),
            source: Source::Admin,
            rotation_id: None,
            client_address: None,
            client_request_id: None,
            uses: None,
        };
        self.log(entry);
    }

    /// See [`crate::engine::Tx::make_pseudonymous`].
    pub(super) fn make_pseudonymous(
        &mut self,
        user: &UserId,
        pseudonym: &UserId,
    ) -> Result<(), Impossible> {
        let Some(known) = self.users.get(user).cloned() else {
            return Err(Impossible("nobody is to be removed"));
        };
        if let Some(active) = self.active.get(user).copied() {
            self.tell_imported(&active);
            self.active.remove(user);
            self.active.put(pseudonym.clone(), active);
        }
        let stays = User {
            email: None,
            import: None,
            user_status: UserStatus::Pseudonym,
            ..known
        };
        if !self.users.add(pseudonym.clone(), stays) {
            return Err(Impossible("a pseudonym was drawn before"));
        }
        let rename = |name: &mut UserId| *name = pseudonym.clone();
        self.keys
            .change_where(|_, key| key.user == *user, |key| rename(&mut key.user));
        self.old_key_uses
            .change_where(|_, uses| uses.user == *user, |uses| rename(&mut uses.user));
        self.audit.change_where(
            |_, entry| entry.user == *user,
            |entry| rename(&mut entry.user),
        );
        self.rotations.change_where(
            |_, answer| owner(&answer.recorded.outcome) == Some(user),
            |answer| {
                if let RecordedOutcome::Rotated { user, .. } = &mut answer.recorded.outcome {
                    rename(user);
                }
            },
        );
        self.passwords.remove(user);
        // Not the time either: it is the one of the pseudonym's first event.
        self.users.change(user, |user| {
            user.email = None;
            user.created = UnixMillis(0);
            user.last_rotated = None;
            user.rotated_told = None;
            user.user_status = UserStatus::Removed;
        });
        Ok(())
    }
}

fn owner(outcome: &RecordedOutcome) -> Option<&UserId> {
    match outcome {
        RecordedOutcome::Rotated { user, .. } => Some(user),
        RecordedOutcome::Burned(_) => None,
    }
}
