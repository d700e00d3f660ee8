//! The rows of an import before they go into the data, in the memory of the process: for
//! engines that have no table of their own for them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use rekey_protocol::UserId;

use super::import::RowFault;
use super::rows::ImportedRow;
use crate::api::BadRow;

/// Rows as they came. Some 200 bytes each.
#[derive(Debug, Default)]
pub(crate) struct StagedRows {
    good: Vec<StagedRow>,
    /// All lines that are bad, by themselves or beside others.
    bad: BTreeMap<u64, String>,
    rows: u64,
}

/// A row that is good by itself.
#[derive(Debug, Clone)]
pub(crate) struct StagedRow {
    pub line: u64,
    pub row: ImportedRow,
}

impl StagedRows {
    /// How many there are, good and bad.
    pub(crate) fn count(&self) -> u64 {
        self.rows
    }

    /// Those that are good by themselves, in the order in which they came.
    pub(crate) fn good(&self) -> &[StagedRow] {
        &self.good
    }

    /// How many lines are bad.
    pub(crate) fn bad(&self) -> u64 {
        self.bad.len() as u64
    }

    /// Takes a row that is good by itself.
    pub(crate) fn add(&mut self, line: u64, row: &ImportedRow) {
        self.rows += 1;
        let row = row.clone();
        self.good.push(StagedRow { line, row });
    }

    /// Takes a row that is bad by itself.
    pub(crate) fn add_bad(&mut self, line: u64, reason: &str) {
        self.rows += 1;
        self.note(line, reason.to_owned());
    }

    /// Of the reasons for a line the first by the alphabet is told.
    pub(crate) fn note(&mut self, line: u64, reason: String) {
        match self.bad.entry(line) {
            Entry::Vacant(new) => drop(new.insert(reason)),
            Entry::Occupied(mut known) if reason < *known.get() => drop(known.insert(reason)),
            Entry::Occupied(_) => {}
        }
    }

    /// Compares the rows with each other, and brings them into the order of the users.
    pub(crate) fn check_twins(&mut self) {
        let mut found = Vec::new();
        // As they came, also when they were compared before.
        self.good.sort_by_key(|staged| staged.line);
        let (mut keys, mut users, mut emails) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for StagedRow { line, row } in &self.good {
            let first = *keys.entry(row.digest).or_insert(*line);
            if first != *line {
                found.push(TwinFault::new(*line, RowFault::SameKey { first }));
            }
            let first = *users.entry(&row.user).or_insert(*line);
            if first != *line {
                found.push(TwinFault::new(*line, RowFault::SameUser { first }));
            }
            let Some(normal) = &row.email_normal else {
                continue;
            };
            let first = *emails.entry(normal).or_insert(*line);
            if first != *line {
                found.push(TwinFault::new(*line, RowFault::SameEmail { first }));
            }
        }
        for TwinFault { line, fault } in found {
            self.note(line, fault.to_string());
        }
        self.good
            .sort_by(|one, other| one.row.user.cmp(&other.row.user));
    }

    /// At most `limit` good rows after this user, in the order of the users. To be asked
    /// when they were compared.
    pub(crate) fn rows_after(&self, user: Option<&UserId>, limit: usize) -> Vec<ImportedRow> {
        let start = user.map_or(0, |user| {
            self.good.partition_point(|staged| staged.row.user <= *user)
        });
        let rows = self.good.iter().skip(start).take(limit);
        rows.map(|staged| staged.row.clone()).collect()
    }

    /// Every bad row in the order of the lines; ends early where `take` says `false`.
    pub(crate) fn bad_rows(&self, mut take: impl FnMut(BadRow) -> bool) {
        let mut rows = self.bad.iter();
        rows.all(|(line, reason)| {
            take(BadRow {
                line: *line,
                reason: reason.clone(),
            })
        });
    }
}

/// A row that has a twin.
struct TwinFault {
    line: u64,
    fault: RowFault,
}

impl TwinFault {
    fn new(line: u64, fault: RowFault) -> Self {
        Self { line, fault }
    }
}
