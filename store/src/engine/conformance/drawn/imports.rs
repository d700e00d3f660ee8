//! Draws what is done with imports: also what comes too late, or to none.

use rekey_protocol::Digest;

use super::Peer;
use super::drawing::Drawing;
use super::step::{DrawnStep, whole};
use crate::clock::StoreTime;
use crate::engine::conformance::subject::{OnMemory, Subject};
use crate::engine::rows::{ImportId, ImportedRow, Stage};
use crate::operations::imports;
use crate::operations::imports::{
    BeginImport, CountImport, EndImport, ForgetImport, LoadRows, Part, RemoveImportedKeys,
    RemoveImportedUsers, StageOf, TellImported,
};

impl Drawing {
    fn import(&mut self) -> ImportId {
        let last = self.imports.last().map_or(1, |import| import.0);
        ImportId(self.rng.i64((last - 2).max(1)..=last + 1))
    }

    pub(super) fn step_of_import<P: Peer>(
        &mut self,
        memory: &OnMemory,
        now: StoreTime,
    ) -> Box<dyn DrawnStep<P>> {
        let import = self.import();
        let keys = || {
            let (after, limit) = (None, 99);
            let of = imports::KeysOfImport {
                import,
                after,
                limit,
            };
            whole(memory.read(of, now))
        };
        let users = || {
            let (after, limit) = (None, 99);
            let of = imports::UsersOfImport {
                import,
                after,
                limit,
            };
            whole(memory.read(of, now))
        };
        match self.rng.u8(0..12) {
            0 | 1 => {
                self.imports.push(import);
                Box::new(BeginImport)
            }
            2..6 if self.takes_rows(import, memory, now) => Box::new(LoadRows {
                import,
                rows: whole(vec![self.row()]),
            }),
            6 | 7 => Box::new(CountImport(import)),
            8 => Box::new(self.tell(import, keys(), memory, now)),
            9 => self.end(import, keys(), memory, now),
            10 => Box::new(RemoveImportedKeys {
                import,
                keys: keys(),
            }),
            // Users go after their keys; otherwise SQLite holds them.
            _ if keys().of.is_empty() => match self.rng.bool() {
                true => Box::new(RemoveImportedUsers {
                    import,
                    users: users(),
                }),
                false => Box::new(ForgetImport(import)),
            },
            _ => self.end(import, keys(), memory, now),
        }
    }

    /// Whether the store could put rows in: it never does once they count.
    fn takes_rows(&self, import: ImportId, memory: &OnMemory, now: StoreTime) -> bool {
        let counts = matches!(memory.read(StageOf(import), now), Stage::Counts(_));
        !counts && !self.told.contains(&import)
    }

    fn tell(
        &mut self,
        import: ImportId,
        keys: Part<Digest>,
        memory: &OnMemory,
        now: StoreTime,
    ) -> TellImported {
        if let Stage::Counts(_) = memory.read(StageOf(import), now) {
            self.told.push(import);
        }
        TellImported(keys)
    }

    /// Tells of the keys first where that is still to do, because the store does so
    /// before it ends an import, and an engine may rely on it: SQLite finds the keys
    /// of a removed user by the audit log.
    fn end<P: Peer>(
        &mut self,
        import: ImportId,
        keys: Part<Digest>,
        memory: &OnMemory,
        now: StoreTime,
    ) -> Box<dyn DrawnStep<P>> {
        let counts = matches!(memory.read(StageOf(import), now), Stage::Counts(_));
        match counts && !self.told.contains(&import) {
            true => Box::new(self.tell(import, keys, memory, now)),
            false => Box::new(EndImport(import)),
        }
    }

    fn row(&mut self) -> ImportedRow {
        let user = self.user();
        let email = self
            .rng
            .bool()
            .then(|| format!("{}@Example.com", user.as_str()));
        ImportedRow {
            digest: self.new_key(),
            email_normal: email.as_deref().map(crate::accounts::typed::address),
            email,
            hint: self.rng.bool().then(|| self.hint()),
            user,
        }
    }
}
