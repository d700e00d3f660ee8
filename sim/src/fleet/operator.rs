//! The operator, who revokes keys and gives new ones to users that lost theirs.

use super::store::Task;
use super::world::{Event, World};

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
        self.store_task(500..5_000, Task::Revoke(index, operation));
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
    pub fn operator_heard_revoked(&mut self, index: usize, operation: u64) {
        if !self.users[index].is_in(operation) {
            return;
        }
        let id = self.users[index].id.clone();
        let keys = self.oracle.owners.iter().filter(|(_, owner)| **owner == id);
        let keys: Vec<_> = keys.map(|(key, _)| *key).collect();
        if self.now >= self.blind_until {
            self.oracle.dead.extend(keys);
        }
        let key = match self.draw_key() {
            Ok(key) => key,
            Err(error) => return self.violate(error.to_string()),
        };
        self.oracle.owners.insert(key.digest, id);
        let digest = key.digest;
        self.users[index].next = Some(key);
        self.store_task(500..5_000, Task::Issue(index, operation, digest));
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
