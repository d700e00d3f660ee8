//! The rows of an import before they go into the data in memory.

use rekey_protocol::UserId;

use super::MemoryEngine;
use super::tables::{Address, Tables};
use crate::api::BadRow;
use crate::engine::import::{ImportError, RowFault, Staging};
use crate::engine::rows::{ImportedRow, UserStatus};
use crate::engine::staged::{StagedRow, StagedRows};

/// Rows on their way into the data.
pub struct MemoryStaging {
    engine: MemoryEngine,
    rows: StagedRows,
}

impl MemoryStaging {
    /// An empty one.
    pub(super) fn new(engine: MemoryEngine) -> Self {
        Self {
            engine,
            rows: StagedRows::default(),
        }
    }
}

impl Staging for MemoryStaging {
    fn rows(&self) -> u64 {
        self.rows.count()
    }

    fn add(&mut self, line: u64, row: &ImportedRow) -> Result<(), ImportError> {
        self.rows.add(line, row);
        Ok(())
    }

    fn add_bad(&mut self, line: u64, reason: &str) -> Result<(), ImportError> {
        self.rows.add_bad(line, reason);
        Ok(())
    }

    fn check(&mut self) -> Result<u64, ImportError> {
        self.rows.check_twins();
        let data = self.engine.data();
        for StagedRow { line, row } in self.rows.good().to_vec() {
            check_against(&data.tables, &row, |fault| {
                self.rows.note(line, fault.to_string());
            });
        }
        drop(data);
        Ok(self.rows.bad())
    }

    fn rows_after(
        &self,
        user: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<ImportedRow>, ImportError> {
        Ok(self.rows.rows_after(user, limit))
    }

    fn bad_rows(&self, take: impl FnMut(BadRow) -> bool) -> Result<(), ImportError> {
        self.rows.bad_rows(take);
        Ok(())
    }
}

/// Compares a row with what counts in the data.
fn check_against(tables: &Tables, row: &ImportedRow, mut found: impl FnMut(RowFault)) {
    if let Some(key) = tables.live_key(&row.digest) {
        found(RowFault::KnownKey(key.state()));
    }
    let known = tables.users.get(&row.user);
    if known.is_some_and(|user| user.user_status != UserStatus::Here) {
        found(RowFault::RemovedUser);
    }
    let active = tables.active.get(&row.user);
    if active.is_some_and(|active| *active != row.digest && tables.live_key(active).is_some()) {
        found(RowFault::HasKey);
    }
    let (Some(typed), Some(normal)) = (&row.email, &row.email_normal) else {
        return;
    };
    let own = tables.live_user(&row.user);
    let address = own.and_then(|user| user.email.as_ref());
    let is_typed_alike = |own: &Address| own.typed.eq_ignore_ascii_case(typed);
    let is_anothers = tables.users.iter().any(|(id, user)| {
        let email = user.email.as_ref();
        *id != row.user
            && tables.is_live(user)
            && email.is_some_and(|email| email.normal == *normal)
    });
    if is_anothers && !address.is_some_and(is_typed_alike) {
        found(RowFault::TakenEmail);
    }
    if own.is_some() && address.is_none_or(|own| own.normal != *normal) {
        found(RowFault::OtherEmail);
    }
}
