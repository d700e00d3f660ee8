//! Imports: keys that are in the database and do not count, until all of an import
//! do; and imports that the store's death stops half-way.

use std::sync::Arc;

use rekey_protocol::UserId;
use rekey_store::clock::UnixMillis;
use rekey_store::engine::Impossible;
use rekey_store::engine::rows::{ImportId, ImportedRow};
use rekey_store::operations::Operation;
use rekey_store::operations::imports::{
    BeginImport, CountImport, EndImport, ForgetImport, KeysOfImport, LoadRows, Part,
    RemoveImportedKeys, RemoveImportedUsers, TellImported, UnfinishedImports, UsersOfImport,
};

use crate::fleet::people::clients::{Ending, Key};
use crate::fleet::plan::Sabotage;
use crate::fleet::store::tasks::{Say, Task, Waiter};
use crate::fleet::world::{Event, World};

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
    ) -> Result<(), Impossible> {
        let rows: Vec<_> = self.imported[first..first + count]
            .iter()
            .map(|imported| ImportedRow {
                user: imported.user.clone(),
                digest: imported.key.digest,
                email: None,
                email_normal: None,
                hint: None,
            })
            .collect();
        let data = &mut self.store.data;
        let import = data.run(&BeginImport, time)?.result;
        let rows = whole(rows);
        data.run(&LoadRows { import, rows }, time)?;
        let count_now = self.plan.sabotage == Some(Sabotage::ImportByHalves);
        let delay = if count_now { 0..1 } else { 500..1_000_000 };
        self.store_task(delay, Task::CountImport(first, count, import));
        Ok(())
    }

    /// All of it counts.
    pub fn import_counts(
        &mut self,
        (first, count): (usize, usize),
        import: ImportId,
        time: UnixMillis,
    ) -> Result<(), Impossible> {
        let done = self.store.data.run(&CountImport(import), time)?;
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

    /// What every start does about imports that were stopped half-way.
    pub fn finish_imports(&mut self, time: UnixMillis) -> Result<(), Impossible> {
        for import in self.store.data.read(&UnfinishedImports, time)? {
            let (after, limit) = (None, usize::MAX);
            let keys = KeysOfImport {
                import,
                after,
                limit,
            };
            let keys = self.store.data.read(&keys, time)?;
            let users = UsersOfImport {
                import,
                after: None,
                limit,
            };
            let users = whole(self.store.data.read(&users, time)?);
            self.store_runs(&TellImported(whole(keys.clone())), time)?;
            self.store_runs(&EndImport(import), time)?;
            let keys = whole(keys);
            self.store_runs(&RemoveImportedKeys { import, keys }, time)?;
            self.store_runs(&RemoveImportedUsers { import, users }, time)?;
            self.store_runs(&ForgetImport(import), time)?;
        }
        Ok(())
    }

    fn store_runs(
        &mut self,
        operation: &impl Operation,
        time: UnixMillis,
    ) -> Result<(), Impossible> {
        self.store.data.run(operation, time).map(drop)
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

/// All items, as one part.
fn whole<T>(items: Vec<T>) -> Part<T> {
    Part {
        range: 0..items.len(),
        of: Arc::new(items),
    }
}
