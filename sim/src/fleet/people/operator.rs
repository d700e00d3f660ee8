//! Who revokes keys and gives new ones to users that lost theirs: the operator,
//! or the users themselves by the dashboard's Revoke now.

use rekey_protocol::{Client, Digest, Revocation};
use rekey_store::clock::UnixMillis;
use rekey_store::engine::Impossible;
use rekey_store::operations::keys::own_key::{IssueOwn, OwnRefusal, RevokeOwn};
use rekey_store::operations::keys::revoke::Revoke;
use rekey_store::operations::keys::{ActiveKeyOf, LastChangeOf};
use rekey_store::operations::users::Issue;

use crate::fleet::people::dashboard::Form;
use crate::fleet::store::tasks::{By, Task};
use crate::fleet::world::{Event, World};

impl World {
    /// A user cannot know any more which key is the right one.
    pub fn user_is_uncertain(&mut self, index: usize) {
        self.users[index].certain = false;
        let delay = self.rng.u64(1_000..500_000);
        self.after(delay, Event::Operator(index));
    }

    /// The operator ends a user's key, whichever it is, and gives another one.
    pub fn operate(&mut self, index: usize) {
        let user = &mut self.users[index];
        if user.operating {
            return;
        }
        if user.regenerating > 0 {
            // Not while a rotation may be answered.
            if !user.certain {
                self.after(1_000_000, Event::Operator(index));
            }
            return;
        }
        user.operating = true;
        user.certain = false;
        self.begin_operation(index);
    }

    fn begin_operation(&mut self, index: usize) {
        let user = &mut self.users[index];
        user.operations += 1;
        let operation = user.operations;
        let by = match self.rng.f64() < self.plan.dashboard {
            true => By::User,
            false => By::Operator,
        };
        self.store_task(500..5_000, Task::Revoke(index, operation, by));
    }

    /// Commits a revocation: the revision to wait for, that of the commit, and
    /// what it revoked.
    pub fn revoke(
        &mut self,
        index: usize,
        by: By,
        time: UnixMillis,
    ) -> Result<(u64, u64, Vec<Revocation>), Impossible> {
        let id = self.users[index].id.clone();
        let data = &mut self.store.data;
        if by == By::Operator {
            let done = data.run(&Revoke::OfUser(id), time)?;
            let revision = done.result.map(|answer| answer.revision);
            if let Err(refusal) = revision {
                self.violate(format!("a revocation: {refusal:?}"));
            }
            return Ok((revision.unwrap_or(0), done.revision, done.revoked));
        }
        let key = data.read(&ActiveKeyOf(id.clone()), time)?;
        let revoke = RevokeOwn {
            user: id,
            shown: key.map_or(0, |key| key.revision),
            client: Client::default(),
        };
        let done = data.run(&revoke, time)?;
        if let Err(refusal) = done.result {
            self.violate(format!("Revoke now: {refusal:?}"));
        }
        let revision = done.result.map_or(0, |revoked| revoked.revision);
        Ok((revision, done.revision, done.revoked))
    }

    /// Commits a new key: the revision to wait for where one was made, that of
    /// the commit, and what it revoked.
    pub fn issue(
        &mut self,
        (index, digest): (usize, Digest),
        by: By,
        time: UnixMillis,
    ) -> Result<(Option<u64>, u64, Vec<Revocation>), Impossible> {
        let id = self.users[index].id.clone();
        if by == By::User {
            let wish = Form::wish(id.clone(), digest, self.draw_ticket());
            let data = &mut self.store.data;
            let shown = data.read(&LastChangeOf(id.clone()), time)?;
            let done = data.run(&IssueOwn { wish, shown }, time)?;
            match done.result {
                Ok(made) => {
                    self.hour_began(id, time);
                    return Ok((Some(made.revision), done.revision, done.revoked));
                }
                // The operator helps.
                Err(OwnRefusal::AtOnceUsedUp(_) | OwnRefusal::NotByUser) => {}
                Err(refusal) => self.violate(format!("a key after Revoke now: {refusal:?}")),
            }
        }
        let issue = Issue {
            user: id,
            digest,
            hint: "hint".to_owned(),
        };
        let done = self.store.data.run(&issue, time)?;
        let given = done.result.ok().map(|issued| issued.revision);
        Ok((given, done.revision, done.revoked))
    }

    /// What the operator was at when the store died is begun anew.
    pub fn operator_tries_again(&mut self) {
        for index in 0..self.users.len() {
            if self.users[index].operating {
                self.begin_operation(index);
            }
        }
    }

    /// The operator reads that a user's key is dead.
    pub fn operator_heard_revoked(&mut self, index: usize, operation: u64, by: By) {
        if !self.users[index].is_in(operation) {
            return;
        }
        let id = self.users[index].id.clone();
        let keys = self.oracle.owners.iter().filter(|(_, owner)| **owner == id);
        let keys: Vec<_> = keys.map(|(key, _)| *key).collect();
        self.oracle.dead.extend(keys);
        let key = match self.draw_key() {
            Ok(key) => key,
            Err(error) => return self.violate(error.to_string()),
        };
        self.oracle.owners.insert(key.digest, id);
        let digest = key.digest;
        self.users[index].next = Some(key);
        self.store_task(500..5_000, Task::Issue(index, operation, digest, by));
    }

    /// The operator has given a user a key.
    pub fn operator_heard_issued(&mut self, index: usize, operation: u64, given: bool) {
        let user = &mut self.users[index];
        if !user.is_in(operation) {
            return;
        }
        let Some(new) = user.next.take().filter(|_| given) else {
            return self.violate(format!("no key could be issued for user {index}"));
        };
        let old = std::mem::replace(&mut user.key, new);
        user.operating = false;
        user.certain = true;
        user.torn = false;
        self.retire(index, old);
    }
}
