//! Imports: one at a time, in changes so short that nobody notices them. What each
//! change does is in [`crate::operations::imports`].

mod ending;
mod row;

use std::sync::Arc;
use std::time::Duration;

use rekey_protocol::UserId;
use tokio::sync::OwnedSemaphorePermit;

use super::KeyStore;
use crate::api::{BadRow, ImportRow};
use crate::engine::import::{ImportError, Importing, RESERVE_MIB, Staging};
use crate::engine::rows::{ImportId, ImportedRow, Loaded};
use crate::engine::{Patience, Serve, WriteError};
use crate::operations::imports::{BeginImport, CountImport, LoadRows, Part, Timed};

/// How long a change of an import should take, the commit with it: others wait for
/// it, and then for their own.
const TAKES: Duration = Duration::from_millis(30);
/// Rows that one change may take with it.
const ROWS_LEAST: usize = 16;
const ROWS_MOST: usize = 8192;
/// Rows or keys read at a time.
const PAGE: usize = 8192;

/// The one import that is under way.
pub struct Import<S> {
    /// Its rows.
    staging: S,
    permit: Permit,
}

impl<S: Staging> Import<S> {
    /// How many rows there are, good and bad.
    pub fn rows(&self) -> u64 {
        self.staging.rows()
    }

    /// Takes a row; what is wrong with the row alone is noted.
    pub fn add(&mut self, row: &ImportRow<'_>) -> Result<(), ImportError> {
        match row::checked(row) {
            Ok(good) => self.staging.add(row.line, &good),
            Err(reason) => self.staging.add_bad(row.line, &reason),
        }
    }

    /// Notes a row that cannot be read at all.
    pub fn add_bad(&mut self, line: u64, reason: &str) -> Result<(), ImportError> {
        self.staging.add_bad(line, reason)
    }

    /// See [`Staging::bad_rows`].
    pub fn bad_rows(&self, take: impl FnMut(BadRow) -> bool) -> Result<(), ImportError> {
        self.staging.bad_rows(take)
    }
}

/// The right to be the one import: held until nothing is left to be done for it.
pub type Permit = Arc<OwnedSemaphorePermit>;

/// What is to be done with rows that are good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportMode {
    /// They are put in.
    PutIn,
    /// Nothing: a dry run.
    DryRun,
}

/// An import whose rows were compared.
pub struct CheckedImport<S> {
    /// With its rows.
    pub import: Import<S>,
    /// How many lines are bad.
    pub bad_rows: u64,
}

/// What became of an import.
pub enum Imported<S> {
    /// It is in the database.
    Done {
        /// So many rows; 0 after a dry run.
        rows: u64,
        /// The revision of the change; none after a dry run. Until its barrier is
        /// open a gateway may still refuse the keys, for it has heard that they are
        /// unknown.
        revision: Option<u64>,
    },
    /// Nothing was imported, because some lines are bad.
    Refused(CheckedImport<S>),
}

const MIB: u64 = 1 << 20;
/// What a row takes of the disk with its indexes and its line in the audit log, in
/// bytes; reckoned.
const ROW_TAKES: u64 = 1024;

/// How many rows the next change takes, by how long the last one took.
#[derive(Debug)]
struct Pace(usize);

impl Pace {
    fn took(&mut self, rows: usize, took: Duration) {
        let took = took.as_secs_f64().max(0.000_1);
        let next = rows as f64 * TAKES.as_secs_f64() / took;
        // Upwards by steps: one quick commit says little about the next.
        let next = next.min(self.0 as f64 * 1.5) as usize;
        self.0 = next.clamp(ROWS_LEAST, ROWS_MOST);
    }
}

/// What was done with an import, which comes back with it.
struct WithImport<S, T> {
    import: Import<S>,
    result: T,
}

/// Some rows in their order, or why they cannot be read.
type RowPage = Result<Vec<ImportedRow>, ImportError>;

/// Why the rows of an import are not in.
enum NotIn {
    Conflict,
    Failed(ImportError),
    /// It may have been the cut-over.
    Unknown,
}

impl<E: Into<ImportError>> From<E> for NotIn {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl<E: Serve + Importing> KeyStore<E> {
    /// The right to be the one import.
    pub fn import_permit(&self) -> Result<Permit, ImportError> {
        // Before anybody sends millions of rows.
        if self.feed.is_restored() {
            return Err(WriteError::NotServed.into());
        }
        let permit = self.imports.clone().try_acquire_owned();
        permit.map(Arc::new).map_err(|_| ImportError::Running)
    }

    /// Begins an import without rows. Blocks.
    pub fn begin_import(&self, permit: Permit) -> Result<Import<E::Staging>, ImportError> {
        Ok(Import {
            staging: self.engine.stage()?,
            permit,
        })
    }

    /// Checks all rows and, unless one is bad or it is a dry run, puts them in. If
    /// the future is dropped before they count, they never will.
    pub async fn finish_import(
        &self,
        import: Import<E::Staging>,
        wish: ImportMode,
    ) -> Result<Imported<E::Staging>, ImportError> {
        let checked = check(import).await?;
        match checked.bad_rows {
            0 if wish == ImportMode::DryRun => Ok(Imported::Done {
                rows: 0,
                revision: None,
            }),
            0 => self.put_in(checked.import).await,
            _ => Ok(Imported::Refused(checked)),
        }
    }

    /// Puts the rows in, in a task that outlives the one who asked: what has begun
    /// to count is told to the end, and what was given up is taken out.
    async fn put_in(
        &self,
        import: Import<E::Staging>,
    ) -> Result<Imported<E::Staging>, ImportError> {
        let asker = Arc::new(());
        let waits = Arc::downgrade(&asker);
        let is_awaited = Arc::new(move || waits.strong_count() > 0);
        let store = self.clone();
        let task = tokio::spawn(async move {
            let patience = || Patience::While(is_awaited.clone());
            store.put_in_while(import, patience).await
        });
        let done = task.await;
        drop(asker);
        done.map_err(|_| WriteError::Unknown)?
    }

    async fn put_in_while(
        &self,
        import: Import<E::Staging>,
        patience: impl Fn() -> Patience,
    ) -> Result<Imported<E::Staging>, ImportError> {
        self.has_room(import.staging.rows())?;
        let begun = self.engine.run_within(patience(), BeginImport).await;
        let (id, mut pace) = (begun?, Pace(ROWS_LEAST));
        let rows = import.staging.rows();
        let loading = self.load(id, import, &mut pace, &patience);
        let WithImport { import, result } = loading.await;
        let fault = match result {
            Ok(revision) => {
                tracing::info!(rows, revision, "imported keys count from now on");
                self.tell_staged(id, import, pace).await;
                let revision = Some(revision);
                return Ok(Imported::Done { rows, revision });
            }
            Err(fault) => fault,
        };
        let permit = import.permit.clone();
        // Its end is not waited for, unless nobody knows whether the rows count.
        let cleaned = tokio::spawn(self.clone().finish(id, permit));
        match fault {
            NotIn::Failed(error) => Err(error),
            NotIn::Unknown => match cleaned.await {
                Ok(Some(revision)) => Ok(Imported::Done {
                    rows,
                    revision: Some(revision),
                }),
                Ok(None) => Err(WriteError::RolledBack.into()),
                Err(_) => Err(WriteError::Unknown.into()),
            },
            NotIn::Conflict => match check(import).await? {
                CheckedImport { bad_rows: 0, .. } => Err(ImportError::Changed),
                checked => Ok(Imported::Refused(checked)),
            },
        }
    }

    /// Puts in all rows and makes them count; returns the revision of that.
    async fn load(
        &self,
        id: ImportId,
        mut import: Import<E::Staging>,
        pace: &mut Pace,
        patience: &impl Fn() -> Patience,
    ) -> WithImport<E::Staging, Result<u64, NotIn>> {
        let mut last = None;
        loop {
            let read = rows_after(import, last).await;
            import = read.import;
            let page = match read.result {
                Ok(page) => page,
                Err(error) => {
                    let result = Err(error.into());
                    return WithImport { import, result };
                }
            };
            let Some(row) = page.last() else {
                break;
            };
            last = Some(row.user.clone());
            // Others may have taken the room meanwhile.
            if let Err(error) = self.has_room(0) {
                let result = Err(NotIn::Failed(error));
                return WithImport { import, result };
            }
            if let Err(fault) = self.load_page(id, page, pace, patience).await {
                let result = Err(fault);
                return WithImport { import, result };
            }
        }
        let counts = self.engine.run_within(patience(), CountImport(id)).await;
        let result = counts.map_err(|error| match error {
            WriteError::Unknown => NotIn::Unknown,
            error => error.into(),
        });
        WithImport { import, result }
    }

    /// Whether so many more rows fit on the disk. Where the system does not say, they
    /// do.
    fn has_room(&self, rows: u64) -> Result<(), ImportError> {
        let Some(free) = self.engine.free_bytes() else {
            return Ok(());
        };
        let needed_mib = RESERVE_MIB + rows.saturating_mul(ROW_TAKES) / MIB;
        let free_mib = free / MIB;
        match free_mib < needed_mib {
            true => Err(ImportError::NoRoom {
                needed_mib,
                free_mib,
            }),
            false => Ok(()),
        }
    }

    async fn load_page(
        &self,
        id: ImportId,
        page: Vec<ImportedRow>,
        pace: &mut Pace,
        patience: &impl Fn() -> Patience,
    ) -> Result<(), NotIn> {
        let page = Arc::new(page);
        let mut done = 0;
        while done < page.len() {
            let load = LoadRows {
                import: id,
                rows: Part {
                    of: page.clone(),
                    range: done..page.len().min(done + pace.0),
                },
            };
            let turn = self.engine.run_within(patience(), Timed(load)).await?;
            match turn.out {
                Loaded::Rows(rows) => {
                    pace.took(rows, turn.began.elapsed());
                    done += rows;
                }
                Loaded::Conflict => return Err(NotIn::Conflict),
            }
        }
        Ok(())
    }
}

/// Compares all rows; returns how many lines are bad.
async fn check<S: Staging>(mut import: Import<S>) -> Result<CheckedImport<S>, ImportError> {
    let checked = tokio::task::spawn_blocking(move || {
        let bad_rows = import.staging.check()?;
        Ok(CheckedImport { import, bad_rows })
    });
    checked.await.map_err(|_| ImportError::Failed)?
}

/// Some of its rows, read aside; the import comes back with them.
async fn rows_after<S: Staging>(import: Import<S>, last: Option<UserId>) -> WithImport<S, RowPage> {
    let read = tokio::task::spawn_blocking(move || {
        let result = import.staging.rows_after(last.as_ref(), PAGE);
        WithImport { import, result }
    });
    match read.await {
        Ok(read) => read,
        Err(error) => match error.try_into_panic() {
            // The thread took the rows along.
            Ok(panic) => std::panic::resume_unwind(panic),
            // The store is ending, and this task with it.
            Err(_) => std::future::pending().await,
        },
    }
}

#[cfg(test)]
mod tests;
