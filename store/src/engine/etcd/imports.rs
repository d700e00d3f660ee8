//! The rows of an import before they go into etcd. They wait in the memory of the
//! process, and are compared with the data by reads of a few rows each.

use std::sync::Arc;

use rekey_protocol::UserId;
use tokio::runtime::Handle;

use super::Etcd;
use crate::api::BadRow;
use crate::engine::Engine;
use crate::engine::import::{ImportError, Importing, Staging};
use crate::engine::rows::ImportedRow;
use crate::engine::staged::StagedRows;
use crate::operations::imports::{CheckRows, Part};

/// Rows that are compared at a time: each looks at up to five keys, of which one
/// transaction takes 128.
const CHECKED_AT_ONCE: usize = 24;

/// Rows on their way into etcd.
pub struct EtcdStaging {
    engine: Etcd,
    rows: StagedRows,
}

impl Importing for Etcd {
    type Staging = EtcdStaging;

    fn stage(&self) -> Result<EtcdStaging, ImportError> {
        Ok(EtcdStaging {
            engine: self.clone(),
            rows: StagedRows::default(),
        })
    }

    fn free_bytes(&self) -> Option<u64> {
        None
    }
}

impl Staging for EtcdStaging {
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
        let lines: Vec<_> = self.rows.good().iter().map(|staged| staged.line).collect();
        let rows: Vec<_> = self
            .rows
            .good()
            .iter()
            .map(|staged| staged.row.clone())
            .collect();
        let rows = Arc::new(rows);
        for start in (0..rows.len()).step_by(CHECKED_AT_ONCE) {
            let range = start..rows.len().min(start + CHECKED_AT_ONCE);
            let part = Part {
                of: rows.clone(),
                range,
            };
            let faults = Handle::current().block_on(self.engine.read(CheckRows(part)))?;
            for (faults, line) in faults.into_iter().zip(lines.iter().skip(start)) {
                for fault in faults {
                    self.rows.note(*line, fault.to_string());
                }
            }
        }
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
