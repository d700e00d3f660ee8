//! Starts, backups and restores of the engine in memory, and what lies beside its
//! data: the record of the incarnation that was served last, and the anchor (S8, S9).
//!
//! The simulator restores backups of every age in every way. What is decided about
//! them is decided by the code that the SQLite engine uses.

use rekey_protocol::Incarnation;

use super::MemoryData;
use super::table::Undo;
use super::tables::Tables;
use super::transaction::MemoryTx;
use crate::clock::UnixMillis;
use crate::engine::anchor::Steps;
use crate::engine::record::{Memo, Past, Record};
#[cfg(test)]
use crate::engine::rows::KnownPast;
use crate::engine::{Impossible, OwnerReadTx};
use crate::feed::core::Start;
use crate::operations::feed::RecordLease;
use crate::operations::incarnation::{Begin, OlderData, is_restored};

/// A copy of all data at one moment, without what lies beside it.
#[derive(Debug, Clone)]
pub struct Backup(Tables);

impl MemoryData {
    /// Begins an incarnation, as every start of the store does (S8).
    ///
    /// # Errors
    /// An incarnation began at this revision before.
    pub fn start(
        &mut self,
        id: Incarnation,
        wall: UnixMillis,
        older_data: OlderData,
    ) -> Result<Start, Impossible> {
        self.memo = Memo::found(self.beside);
        let reached = MemoryTx::reading(&self.tables).known_past()?.reached;
        if older_data == OlderData::Refused && is_restored(&reached, self.beside) {
            self.memo.look_only();
        }
        self.fold(wall);
        let begin = Begin {
            id,
            wall,
            past: self.beside,
            older_data,
        };
        let begun = begin.apply(&mut MemoryTx::new(&mut self.tables, &mut self.kept))?;
        self.tables.keep();
        self.published = begun.mark.revision;
        self.imported = self.tables.last_import();
        self.note(|memo| memo.begin(&begun.feed, begun.mark));
        Ok(begun.feed)
    }

    /// All leases of former incarnations are over.
    pub fn settle(&mut self) {
        self.note(Memo::settle);
    }

    /// Puts a lease on record before it is granted (S9).
    ///
    /// # Errors
    /// None as things are.
    pub fn record_lease(&mut self, lease_ms: u32) -> Result<(), Impossible> {
        let mut tx = MemoryTx::new(&mut self.tables, &mut self.kept);
        RecordLease { lease_ms }.apply(&mut tx)?;
        self.tables.keep();
        self.count_commit();
        self.note(|memo| memo.grant(lease_ms));
        Ok(())
    }

    /// A copy of all that is kept now.
    pub fn backup(&self) -> Backup {
        Backup(self.tables.clone())
    }

    /// Takes a backup's content in place of its own.
    pub fn restore(&mut self, backup: &Backup) {
        self.tables = backup.0.clone();
    }

    /// The log is folded into the file, as SQLite's is: the anchor changes.
    pub fn fold(&mut self, wall: UnixMillis) {
        let before = self.tables.counters.get().anchor;
        let steps = Steps::new(self.memo.anchor(), before, wall);
        self.note(|memo| memo.anchored(steps.under_way));
        self.tables.set_anchor(steps.next);
        self.note(|memo| memo.anchored(steps.done));
    }

    /// What SQLite makes of this backup and the log of the present state, which is
    /// left beside it: the present state, if the log continues the backup.
    pub fn continues(&self, backup: &Backup) -> bool {
        let in_file = backup.0.counters.get().anchor;
        let fits = match self.beside {
            Past::Known(record) => record.fits(in_file),
            Past::Nothing | Past::Unknown => true,
        };
        fits && self.tables.counters.get().anchor_of_change <= in_file
    }

    /// Lays the newest pages of what every commit changes over a backup, as SQLite
    /// would if the log were not looked at before.
    pub fn mix(&mut self, backup: &Backup) {
        let newest = std::mem::replace(&mut self.tables, backup.0.clone());
        let in_file = backup.0.counters.get().anchor;
        self.tables.incarnations = newest.incarnations;
        self.tables.counters = newest.counters;
        self.tables.set_anchor(in_file);
    }

    /// What is beside the data is lost, as after a move.
    pub fn lose_beside(&mut self) {
        self.beside = Past::Nothing;
    }

    /// Whether it is on record what was served last.
    pub fn has_record(&self) -> bool {
        matches!(self.beside, Past::Known(_))
    }

    /// Puts on record beside the data what has changed.
    pub(super) fn note(&mut self, change: impl FnOnce(&mut Memo) -> Option<Record>) {
        if let Some(record) = change(&mut self.memo) {
            self.beside = Past::Known(record);
        }
    }
}

#[cfg(test)]
impl MemoryData {
    /// What the data knows of the past.
    pub(crate) fn known_past(&self) -> Result<KnownPast, Impossible> {
        MemoryTx::reading(&self.tables).known_past()
    }

    /// The next change has the revision after this one: as in an engine where changes
    /// have revisions that have none here.
    pub(crate) fn go_on_from(&mut self, revision: u64) {
        assert!(revision >= self.tables.counters.get().revision);
        let counters = &mut self.tables.counters;
        counters.change(|counters| counters.revision = revision);
        counters.keep();
        self.published = revision;
    }
}

impl Tables {
    fn set_anchor(&mut self, value: u64) {
        self.counters.change(|counters| counters.anchor = value);
        self.counters.keep();
    }
}
