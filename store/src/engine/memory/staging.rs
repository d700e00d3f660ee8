//! The rows of an import before they go into the data in memory.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use rekey_protocol::UserId;

use super::MemoryEngine;
use super::tables::{Address, Tables};
use crate::api::BadRow;
use crate::engine::import::{ImportError, RowFault, Staging};
use crate::engine::rows::{ImportedRow, UserStatus};

/// Rows on their way into the data.
pub struct MemoryStaging {
    engine: MemoryEngine,
    good: Vec<StagedRow>,
    /// All lines that are bad, by themselves or beside others.
    bad: BTreeMap<u64, String>,
    rows: u64,
}

struct StagedRow {
    line: u64,
    row: ImportedRow,
}

impl MemoryStaging {
    /// An empty one.
    pub(super) fn new(engine: MemoryEngine) -> Self {
        Self {
            engine,
            good: Vec::new(),
            bad: BTreeMap::new(),
            rows: 0,
        }
    }
}

impl Staging for MemoryStaging {
    fn rows(&self) -> u64 {
        self.rows
    }

    fn add(&mut self, line: u64, row: &ImportedRow) -> Result<(), ImportError> {
        self.rows += 1;
        let row = row.clone();
        self.good.push(StagedRow { line, row });
        Ok(())
    }

    fn add_bad(&mut self, line: u64, reason: &str) -> Result<(), ImportError> {
        self.rows += 1;
        note(&mut self.bad, line, reason.to_owned());
        Ok(())
    }

    fn check(&mut self) -> Result<u64, ImportError> {
        let mut bad = std::mem::take(&mut self.bad);
        let mut found = |line, fault: RowFault| note(&mut bad, line, fault.to_string());
        check_twins(&self.good, &mut found);
        let data = self.engine.data();
        for StagedRow { line, row } in &self.good {
            check_against(&data.tables, row, |fault| found(*line, fault));
        }
        drop(data);
        self.bad = bad;
        Ok(self.bad.len() as u64)
    }

    fn rows_after(
        &self,
        user: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<ImportedRow>, ImportError> {
        let rows = self.good.iter().map(|staged| &staged.row);
        let mut rows: Vec<_> = rows
            .filter(|row| user.is_none_or(|user| row.user > *user))
            .collect();
        rows.sort_by(|one, other| one.user.cmp(&other.user));
        Ok(rows.into_iter().take(limit).cloned().collect())
    }

    fn bad_rows(&self, mut take: impl FnMut(BadRow) -> bool) -> Result<(), ImportError> {
        let mut rows = self.bad.iter();
        rows.all(|(line, reason)| {
            take(BadRow {
                line: *line,
                reason: reason.clone(),
            })
        });
        Ok(())
    }
}

/// Of the reasons for a line the first by the alphabet is told.
fn note(bad: &mut BTreeMap<u64, String>, line: u64, reason: String) {
    match bad.entry(line) {
        Entry::Vacant(new) => drop(new.insert(reason)),
        Entry::Occupied(mut known) if reason < *known.get() => drop(known.insert(reason)),
        Entry::Occupied(_) => {}
    }
}

/// Compares the rows with each other.
fn check_twins(rows: &[StagedRow], found: &mut impl FnMut(u64, RowFault)) {
    let (mut keys, mut users, mut emails) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for StagedRow { line, row } in rows {
        let first = *keys.entry(row.digest).or_insert(line);
        if first != line {
            found(*line, RowFault::SameKey { first: *first });
        }
        let first = *users.entry(&row.user).or_insert(line);
        if first != line {
            found(*line, RowFault::SameUser { first: *first });
        }
        let Some(normal) = &row.email_normal else {
            continue;
        };
        let first = *emails.entry(normal).or_insert(line);
        if first != line {
            found(*line, RowFault::SameEmail { first: *first });
        }
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
