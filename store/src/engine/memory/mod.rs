//! An engine in memory: ordered maps, and nothing that outlives the process. It
//! shows that what is decided needs no SQLite.
//!
//! [`MemoryData`] is the data. The simulator uses it as it is, with its own time and ids.
//! It answers at once and alone, so there is no queue and no conflict: an operation
//! is applied to the rows themselves, and what it replaced is put back if it fails.
//!
//! [`MemoryEngine`] is an engine around it: with a clock, a listener, and turns.

mod changes;
mod engine;
mod incarnations;
mod replays;
mod rules;
mod staging;
mod table;
mod tables;
mod transaction;

use rekey_protocol::{Digest, Revocation};

use self::replays::KeptReplays;
use self::table::Undo;
use self::tables::Tables;
use self::transaction::MemoryTx;
use super::record::{Mark, Memo, Past};
use super::{Impossible, ReadTx};
use crate::clock::{StoreTime, UnixMillis};
use crate::feed::history::PAGE;
use crate::operations::keys::replays::NoteFirstUse;
use crate::operations::keys::{Resolve, ResolvedAt, Unknown};
use crate::operations::{Context, Operation, Read};
use crate::rules::rotation::RotationLimit;

pub use self::engine::MemoryEngine;
pub use self::incarnations::Backup;
pub use self::staging::MemoryStaging;

/// What one committed operation left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryCommit<T> {
    /// What the operation answers.
    pub result: T,
    /// The revision after it.
    pub revision: u64,
    /// The keys that it revoked.
    pub revoked: Vec<Revocation>,
    /// The revision of an import that counts since.
    pub imported: Option<u64>,
}

/// The data of one store, and what lies beside it.
#[derive(Debug)]
pub struct MemoryData {
    tables: Tables,
    interval: RotationLimit,
    /// Revocations up to here were handed out in a [`MemoryCommit`].
    published: u64,
    /// As were imports that count.
    imported: u64,
    /// What is on record beside the data, which no backup carries.
    beside: Past,
    memo: Memo,
    /// Beside the data as well.
    kept: KeptReplays,
}

impl MemoryData {
    /// An empty one.
    pub fn new(interval: RotationLimit) -> Self {
        Self {
            tables: Tables::default(),
            interval,
            published: 0,
            imported: 0,
            beside: Past::Nothing,
            memo: Memo::found(Past::Nothing),
            kept: KeptReplays::default(),
        }
    }

    /// How long a user waits between two rotations.
    pub fn interval(&self) -> RotationLimit {
        self.interval
    }

    /// From now on no rotation can be answered again.
    pub fn keep_no_replays(&mut self) {
        self.kept.turn_off();
    }

    /// Carries an operation out, at this moment of both clocks.
    ///
    /// # Errors
    /// Nothing was changed.
    pub fn run<O: Operation>(
        &mut self,
        operation: &O,
        now: UnixMillis,
    ) -> Result<MemoryCommit<O::Out>, Impossible> {
        self.run_at(operation, StoreTime::both(now))
    }

    pub(crate) fn run_at<O: Operation>(
        &mut self,
        operation: &O,
        now: StoreTime,
    ) -> Result<MemoryCommit<O::Out>, Impossible> {
        let cx = self.context(now);
        let mut tx = MemoryTx::new(&mut self.tables, &mut self.kept);
        let result = match operation.apply(&mut tx, &cx) {
            Ok(result) => result,
            Err(error) => {
                self.tables.undo();
                return Err(error);
            }
        };
        if self.tables.keep() {
            self.count_commit();
        }
        let revision = self.tables.counters.get().revision;
        let revoked = MemoryTx::reading(&self.tables).revoked_after(self.published, PAGE)?;
        for change in &revoked {
            self.kept.revoked(&change.digest);
        }
        self.published = revision;
        let last_import = self.tables.last_import();
        let imported = (last_import > self.imported).then_some(last_import);
        self.imported = last_import;
        Ok(MemoryCommit {
            result,
            revision,
            revoked,
            imported,
        })
    }

    /// Looks, at this moment of both clocks.
    ///
    /// # Errors
    /// What is asked for cannot be.
    pub fn read<R: Read>(&self, read: &R, now: UnixMillis) -> Result<R::Out, Impossible> {
        self.read_at(read, StoreTime::both(now))
    }

    pub(crate) fn read_at<R: Read>(&self, read: &R, now: StoreTime) -> Result<R::Out, Impossible> {
        read.read(&MemoryTx::reading(&self.tables), &self.context(now))
    }

    fn context(&self, now: StoreTime) -> Context {
        Context {
            now,
            interval: self.interval,
        }
    }

    /// Who is behind this digest, and the seconds until the user may rotate.
    ///
    /// # Errors
    /// No incarnation has begun.
    pub fn resolve(
        &self,
        digest: &Digest,
        now: UnixMillis,
    ) -> Result<Result<ResolvedAt, Unknown>, Impossible> {
        let found = self.read(&Resolve(*digest), now)?;
        Ok(found.map(|key| key.at(now, self.interval)))
    }

    /// A gateway resolves this key for a client.
    ///
    /// # Errors
    /// None as things are.
    pub fn used(&mut self, digest: &Digest, now: UnixMillis) -> Result<(), Impossible> {
        self.run(&NoteFirstUse(*digest), now).map(drop)
    }

    /// How many users have more than one active key that counts (I3).
    pub fn users_with_two_keys(&self) -> usize {
        let keys = self.tables.keys.iter();
        let live = keys.filter(|(_, key)| key.revoked.is_none() && self.tables.counts(key.import));
        let mut users: Vec<_> = live.map(|(_, key)| &key.user).collect();
        let all = users.len();
        users.sort_unstable();
        users.dedup();
        all - users.len()
    }

    /// What every commit does that changes something (S8).
    fn count_commit(&mut self) {
        self.tables.counters.change(|counters| {
            counters.commits += 1;
            counters.anchor_of_change = counters.anchor;
        });
        self.tables.keep();
        let counters = self.tables.counters.get();
        let mark = Mark {
            commits: counters.commits,
            revision: counters.revision,
        };
        self.note(|memo| memo.committed(mark));
    }
}
