//! Imports: keys that are in the database and do not count, until all of an import
//! do; and imports that the store's death stops half-way.

use rekey_protocol::UserId;
use rekey_store::clock::UnixMillis;
use rekey_store::engine::sqlite::direct::{ImportedKey, Loading};

use super::clients::{Ending, Key};
use super::plan::Sabotage;
use super::tasks::{Say, Task, Waiter};
use super::world::{Event, World};

/// A key that an import brings.
#[derive(Debug, Clone)]
pub struct Imported {
    /// Whose.
    pub user: UserId,
    /// The key.
    pub key: Key,
}

impl World {
    /// The operator begins an import.
    pub fn import(&mut self) {
        let count = self.rng.usize(1..4);
        let first = self.imported.len();
        for number in first..first + count {
            let drawn = self.draw_key();
            let user = format!("i_{number}").parse::<UserId>();
            match (drawn, user) {
                (Ok(key), Ok(user)) => self.imported.push(Imported { user, key }),
                _ => return self.violate("an import has no keys".to_owned()),
            }
            // Somebody tries it early.
            for _ in 0..3 {
                let delay = self.rng.u64(0..3_000_000);
                self.after(delay, Event::TryImported(number));
            }
        }
        self.store_task(500..500_000, Task::LoadImport(first, count));
    }

    /// Its rows are in.
    pub fn import_loads(
        &mut self,
        (first, count): (usize, usize),
        time: UnixMillis,
    ) -> rusqlite::Result<()> {
        let rows: Vec<_> = self.imported[first..first + count]
            .iter()
            .map(|imported| ImportedKey {
                user: imported.user.clone(),
                digest: imported.key.digest,
            })
            .collect();
        let loaded = self.store.ledger.load_import(&rows, time)?;
        let count_now = self.plan.sabotage == Some(Sabotage::ImportByHalves);
        let delay = if count_now { 0..1 } else { 500..1_000_000 };
        self.store_task(delay, Task::CountImport(first, count, loaded.result));
        Ok(())
    }

    /// All of it counts.
    pub fn import_counts(
        &mut self,
        (first, count): (usize, usize),
        loading: Loading,
        time: UnixMillis,
    ) -> rusqlite::Result<()> {
        let done = self.store.ledger.count_import(loading, time)?;
        if self.plan.sabotage != Some(Sabotage::ImportByHalves) {
            for imported in &self.imported[first..first + count] {
                // Until the barrier is open a gateway may not have heard of it.
                self.oracle.unsettled.insert(imported.key.digest, u64::MAX);
                self.oracle
                    .owners
                    .insert(imported.key.digest, imported.user.clone());
            }
        }
        let waiter = Waiter {
            revision: Some(done.revision),
            say: Say::Imported(first, count),
        };
        self.tell_feed(done.revision, done.revoked, waiter);
        self.store.importing.push(done.result);
        Ok(())
    }

    /// The command returns.
    pub fn import_is_heard(&mut self, first: usize, count: usize) {
        for imported in &self.imported[first..first + count] {
            self.oracle.unsettled.insert(imported.key.digest, self.now);
        }
    }

    /// Somebody uses a key of an import, whether it counts or not.
    pub fn try_imported(&mut self, number: usize) {
        if self.healed {
            return;
        }
        let key = self.imported[number].key.clone();
        self.request_anywhere(0, key, None);
    }

    /// In good times a key of an import is accepted if the import counts.
    pub fn imported_outcome(&mut self, number: usize) -> Ending {
        let digest = self.imported[number].key.digest;
        match self.is_active(&digest) {
            true => Ending::Served,
            false => Ending::Refused(401, "invalid_api_key".to_owned()),
        }
    }
}
