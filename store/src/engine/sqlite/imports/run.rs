//! The import as the [`Database`] runs it: one at a time, in changes so short that
//! nobody notices them, and told to the feed. What they do to the tables is
//! [`crate::engine::sqlite::imports`]'s, what is done to the rows before is [`crate::engine::sqlite::import`]'s.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rekey_protocol::{Digest, UserId};
use rusqlite::Connection;
use tokio::sync::OwnedSemaphorePermit;

use crate::clock::Moment;
use crate::engine::Engine;
use crate::engine::rows::{ImportId, ImportedRow, Loaded, Stage};
use crate::engine::sqlite::imports;
use crate::engine::sqlite::imports::staging::{ImportError, RESERVE_MIB, Staging};
use crate::engine::sqlite::{Database, health};
use crate::engine::{Patience, WriteError};
use crate::operations::Kind;
use crate::operations::imports::CountImport;

/// How long a change of an import should take, the commit with it: others wait for
/// it, and then for their own.
const TAKES: Duration = Duration::from_millis(30);
/// Rows that one change may take with it.
const ROWS_LEAST: usize = 16;
const ROWS_MOST: usize = 8192;
/// Rows or keys read at a time.
const PAGE: usize = 8192;
/// Between two tries of what fails in the background: on a full disk.
const RETRY: Duration = Duration::from_secs(5);

/// The one import that is under way.
pub struct Import {
    /// Its rows.
    pub staging: Staging,
    permit: Permit,
}

/// The right to be the one import: held until nothing is left to be done for it.
pub type Permit = Arc<OwnedSemaphorePermit>;

/// What became of an import.
pub enum Imported {
    /// It is in the database.
    Done {
        /// So many rows; 0 after a dry run.
        rows: u64,
        /// The revision of the change; none after a dry run. Until its barrier is
        /// open a gateway may still refuse the keys, for it has heard that they are
        /// unknown.
        revision: Option<u64>,
    },
    /// Nothing was imported, for so many lines are bad.
    Refused(Import, u64),
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

/// Some rows in their order, or why they cannot be read.
type Page = Result<Vec<ImportedRow>, ImportError>;

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

impl Database {
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
    pub fn begin_import(&self, permit: Permit) -> Result<Import, ImportError> {
        Ok(Import {
            staging: Staging::begin(&self.path)?,
            permit,
        })
    }

    /// Checks all rows and, unless one is bad or it is a dry run, puts them in. If
    /// the future is dropped before they count, they never will.
    pub async fn finish_import(
        &self,
        import: Import,
        dry_run: bool,
    ) -> Result<Imported, ImportError> {
        let (import, bad_rows) = check(import).await?;
        match bad_rows {
            0 if dry_run => Ok(Imported::Done {
                rows: 0,
                revision: None,
            }),
            0 => self.put_in(import).await,
            bad_rows => Ok(Imported::Refused(import, bad_rows)),
        }
    }

    /// Puts the rows in, in a task that outlives the one who asked: what has begun
    /// to count is told to the end, and what was given up is taken out.
    async fn put_in(&self, import: Import) -> Result<Imported, ImportError> {
        let asker = Arc::new(());
        let waits = Arc::downgrade(&asker);
        let is_awaited = Arc::new(move || waits.strong_count() > 0);
        let database = self.clone();
        let task = tokio::spawn(async move {
            let patience = || Patience::While(is_awaited.clone());
            database.put_in_while(import, patience).await
        });
        let done = task.await;
        drop(asker);
        done.map_err(|_| WriteError::Unknown)?
    }

    async fn put_in_while(
        &self,
        import: Import,
        patience: impl Fn() -> Patience,
    ) -> Result<Imported, ImportError> {
        self.has_room(import.staging.rows())?;
        let begin = |transaction: &Connection, now: Moment| imports::begin(transaction, now.told);
        let begun = self.writer.change_in(Kind::Admin, patience(), begin).await;
        let (id, mut pace) = (begun?, Pace(ROWS_LEAST));
        let rows = import.staging.rows();
        let (import, loaded) = self.load(id, import, &mut pace, &patience).await;
        let fault = match loaded {
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
                (_, 0) => Err(ImportError::Changed),
                (import, bad_rows) => Ok(Imported::Refused(import, bad_rows)),
            },
        }
    }

    /// Puts in all rows and makes them count; returns the revision of that.
    async fn load(
        &self,
        id: ImportId,
        mut import: Import,
        pace: &mut Pace,
        patience: &impl Fn() -> Patience,
    ) -> (Import, Result<u64, NotIn>) {
        let mut last = None;
        loop {
            let page;
            (import, page) = match rows_after(import, last).await {
                (import, Ok(page)) => (import, page),
                (import, Err(error)) => return (import, Err(error.into())),
            };
            let Some(row) = page.last() else {
                break;
            };
            last = Some(row.user.clone());
            // Others may have taken the room meanwhile.
            if let Err(error) = self.has_room(0) {
                return (import, Err(NotIn::Failed(error)));
            }
            if let Err(fault) = self.load_page(id, page, pace, patience).await {
                return (import, Err(fault));
            }
        }
        let counts = self.run_within(patience(), CountImport(id)).await;
        let counts = counts.map_err(|error| match error {
            WriteError::Unknown => NotIn::Unknown,
            error => error.into(),
        });
        (import, counts)
    }

    /// Whether so many more rows fit on the disk. Where the system does not say, they
    /// do.
    fn has_room(&self, rows: u64) -> Result<(), ImportError> {
        let Some(free) = health::free_bytes(&self.path) else {
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
            let (rows, end) = (page.clone(), page.len().min(done + pace.0));
            let load = move |transaction: &Connection, now: Moment| {
                let began = Instant::now();
                let rows = rows.get(done..end).unwrap_or_default();
                Ok((began, imports::load(transaction, id, rows, now.told)?))
            };
            let loaded = self.writer.change_in(Kind::Import, patience(), load);
            let (turn, loaded) = loaded.await?;
            match loaded {
                Loaded::Rows(rows) => {
                    pace.took(rows, turn.elapsed());
                    done += rows;
                }
                Loaded::Conflict => return Err(NotIn::Conflict),
            }
        }
        Ok(())
    }

    /// Tells the audit log of an import that counts, in the order of its users, which
    /// is the quickest. What fails is left to [`Self::finish`].
    async fn tell_staged(&self, id: ImportId, import: Import, pace: Pace) {
        let permit = import.permit.clone();
        if let Err(error) = self.try_tell_staged(id, import, pace).await {
            tracing::warn!(%error, "the audit log hears of an import later");
            tokio::spawn(self.clone().finish(id, permit));
        }
    }

    async fn try_tell_staged(
        &self,
        id: ImportId,
        mut import: Import,
        mut pace: Pace,
    ) -> Result<(), ImportError> {
        let mut last = None;
        loop {
            let page;
            (import, page) = rows_after(import, last).await;
            let page = page?;
            let Some(row) = page.last() else { break };
            last = Some(row.user.clone());
            let keys = page.iter().map(|row| row.digest).collect();
            self.in_steps(Kind::Import, keys, &mut pace, imports::tell)
                .await?;
        }
        let told = move |transaction: &Connection, _: Moment| imports::told(transaction, id);
        Ok(self.writer.change(Kind::Admin, told).await?)
    }

    /// Does with all the items what `step` does with as many as it has time for.
    async fn in_steps<T: Send + Sync + 'static>(
        &self,
        kind: Kind,
        items: Vec<T>,
        pace: &mut Pace,
        step: impl Fn(&Connection, &[T]) -> rusqlite::Result<usize> + Clone + Send + 'static,
    ) -> Result<(), WriteError> {
        let items = Arc::new(items);
        let mut done = 0;
        while done < items.len() {
            let (some, end) = (items.clone(), items.len().min(done + pace.0));
            let step = step.clone();
            let change = move |transaction: &Connection, _: Moment| {
                let began = Instant::now();
                let some = some.get(done..end).unwrap_or_default();
                Ok((began, step(transaction, some)?))
            };
            let (began, made) = self.writer.change(kind, change).await?;
            pace.took(made, began.elapsed());
            done += made;
        }
        Ok(())
    }

    /// Brings to an end what an import has left: takes out the rows of one that
    /// does not count, tells the audit log of one that does. Returns its revision if
    /// it does. Ends early only with the store.
    pub async fn finish(self, id: ImportId, _permit: Permit) -> Option<u64> {
        loop {
            let stage = self
                .readers
                .read(move |connection| imports::stage(connection, id));
            let (revision, left) = match stage.await {
                Ok(Stage::Over) => return None,
                Ok(Stage::Staged) => (None, self.remove(id).await),
                Ok(Stage::Counts(revision)) => (Some(revision), self.tell_all(id).await),
                Err(error) => (None, Err(error.into())),
            };
            match left {
                Ok(()) => return revision,
                Err(ImportError::Write(WriteError::Stopping)) => return revision,
                Err(error) => {
                    tracing::warn!(%error, "an import cannot be brought to an end yet");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    async fn tell_all(&self, id: ImportId) -> Result<(), ImportError> {
        self.each_key(id, Kind::Import, imports::tell).await?;
        let told = move |transaction: &Connection, _: Moment| imports::told(transaction, id);
        Ok(self.writer.change(Kind::Admin, told).await?)
    }

    async fn remove(&self, id: ImportId) -> Result<(), ImportError> {
        let keys = move |transaction: &Connection, keys: &[Digest]| {
            imports::remove_keys(transaction, id, keys)
        };
        self.each_key(id, Kind::Removal, keys).await?;
        let (mut last, mut pace) = (None, Pace(ROWS_LEAST));
        loop {
            let after = last;
            let page = self
                .readers
                .read(move |connection| imports::users_after(connection, id, after.as_ref(), PAGE));
            let page = page.await?;
            let Some(user) = page.last() else { break };
            last = Some(user.clone());
            let remove = move |transaction: &Connection, users: &[UserId]| {
                imports::remove_users(transaction, id, users)
            };
            self.in_steps(Kind::Removal, page, &mut pace, remove)
                .await?;
        }
        let forget = move |transaction: &Connection, _: Moment| imports::forget(transaction, id);
        self.writer.change(Kind::Admin, forget).await?;
        tracing::info!("the rows of an import that was given up are removed");
        Ok(())
    }

    /// Does `step` with all keys of an import, in their order.
    async fn each_key(
        &self,
        id: ImportId,
        kind: Kind,
        step: impl Fn(&Connection, &[Digest]) -> rusqlite::Result<usize> + Clone + Send + 'static,
    ) -> Result<(), ImportError> {
        let (mut last, mut pace) = (None, Pace(ROWS_LEAST));
        loop {
            let page = self
                .readers
                .read(move |connection| imports::keys_after(connection, id, last.as_ref(), PAGE));
            let page = page.await?;
            let Some(digest) = page.last() else {
                return Ok(());
            };
            last = Some(*digest);
            self.in_steps(kind, page, &mut pace, step.clone()).await?;
        }
    }
}

async fn check(mut import: Import) -> Result<(Import, u64), ImportError> {
    let checked = tokio::task::spawn_blocking(move || {
        let bad = import.staging.check();
        (import, bad)
    });
    let (import, bad_rows) = checked.await.map_err(|_| ImportError::Failed)?;
    Ok((import, bad_rows?))
}

/// Some of its rows, read aside; the import comes back with them.
async fn rows_after(import: Import, last: Option<UserId>) -> (Import, Page) {
    let read = tokio::task::spawn_blocking(move || {
        let page = import.staging.rows_after(last.as_ref(), PAGE);
        (import, page)
    });
    match read.await {
        Ok((import, page)) => (import, page.map_err(ImportError::from)),
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
