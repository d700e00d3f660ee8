//! The writing thread: takes what waits, commits it, and answers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rekey_protocol::Revocation;
use rusqlite::Connection;
use tokio::sync::mpsc;

use super::pending::Change;
use super::{Parts, Task, fate};
use crate::clock::Clock;
use crate::crash;
use crate::engine::WriteError;
use crate::engine::record::Mark;
use crate::engine::sqlite::anchor::{self, Fold};
use crate::engine::sqlite::health::Health;
use crate::engine::sqlite::keeper::{self, Keeper};
use crate::engine::sqlite::transaction::ReplayFile;
use crate::engine::sqlite::{history, imports, rotations, sessions};
use crate::feed::Committed;
use crate::metrics::Metrics;
use crate::operations::Kind;

/// Revocations of one transaction at most: each change makes one.
const MAX_REVOCATIONS: usize = MAX_BATCH;
/// Changes in one transaction at most, so that the first need not wait for an
/// endless rest.
const MAX_BATCH: usize = 256;
/// Pages of the write-ahead log after which it is folded into the database: what
/// SQLite itself takes.
const LOG_PAGES: u64 = 1000;
/// Rows of what nobody can ask for any more that a transaction deletes at least,
/// if there are any: some hundred microseconds.
const PRUNED_LEAST: usize = 64;
/// As many where nothing else waits: some milliseconds.
const PRUNED_IDLE: usize = 512;
/// How often the records for replays that are over are deleted.
const PRUNE_EVERY: Duration = Duration::from_secs(60);

/// What the writer does after a batch, apart from it.
enum Alone {
    Work(Box<dyn FnOnce() + Send>),
    Change(Box<dyn Change>),
}

/// The state of the thread.
pub(super) struct Thread {
    connection: Connection,
    clock: Arc<Clock>,
    metrics: Arc<Metrics>,
    tasks: mpsc::Receiver<Task>,
    /// What is kept for replays, in its own file.
    kept: ReplayFile,
    /// Told what becomes of each transaction.
    health: Health,
    pruned: Option<Instant>,
    /// Whether there is more to be deleted than the last transaction did.
    is_behind: bool,
    /// The revision up to which revocations were told to the keeper.
    published: u64,
    /// The revision of the last import that the keeper need not be told of.
    imported: u64,
    keeper: Box<dyn Keeper>,
    /// The log's pages when it was last folded into the database.
    folded_at: u64,
}

/// A transaction that is on disk.
struct Durable {
    committed: Committed,
    /// None where it changed nothing.
    mark: Option<Mark>,
}

impl Thread {
    /// Not running yet.
    pub(super) fn new(parts: Parts, tasks: mpsc::Receiver<Task>) -> Self {
        let Parts {
            connection,
            clock,
            metrics,
            kept,
            health,
            published,
            keeper,
        } = parts;
        Self {
            connection,
            clock,
            metrics,
            tasks,
            kept,
            health,
            pruned: None,
            is_behind: false,
            published,
            imported: 0,
            keeper,
            folded_at: 0,
        }
    }

    /// Makes changes until it is told to stop.
    pub(super) fn run(mut self) {
        match imports::latest(&self.connection) {
            Ok(imported) => self.imported = imported,
            Err(error) => tracing::error!(%error, "the last import could not be read"),
        }
        let mut batch = Vec::with_capacity(MAX_BATCH);
        while let Some(task) = self.next_task() {
            let mut next = Some(task);
            let mut alone = None;
            while let Some(task) = next {
                match task {
                    Task::Change(change) => match change.kind() {
                        Kind::Import | Kind::Removal => alone = Some(Alone::Change(change)),
                        Kind::Rotation | Kind::Admin => batch.push(change),
                    },
                    Task::Alone(work) => alone = Some(Alone::Work(work)),
                    Task::Stop => self.tasks.close(),
                }
                let more = alone.is_none() && batch.len() < MAX_BATCH;
                next = more.then(|| self.tasks.try_recv().ok()).flatten();
            }
            if !batch.is_empty() {
                self.commit(&mut batch);
            }
            match alone {
                Some(Alone::Work(work)) => work(),
                Some(Alone::Change(change)) => self.commit_alone(change),
                None => {}
            }
        }
        // So that a copy of the one file is a whole backup after a stop.
        if self.keeper.allows() != Err(WriteError::NotOwner) {
            self.fold(Fold::Empty);
        }
        // Its log is folded by this, too. Others may hold it longer than they write.
        self.kept.records().close();
    }

    fn fold(&self, how: Fold) {
        if let Err(error) = self.keeper.fold(&self.connection, how) {
            tracing::warn!(%error, "the write-ahead log was not folded into the database");
        }
    }

    /// Keeps the log short. In this thread, for the anchor's sake: nothing is
    /// committed between its change and the checkpoint.
    fn fold_if_long(&mut self) {
        let pages = anchor::pages_in_log(&self.connection).unwrap_or_default();
        // It has begun from the start.
        if pages < self.folded_at {
            self.folded_at = 0;
        }
        if pages >= self.folded_at + LOG_PAGES {
            self.fold(Fold::Reuse);
            self.folded_at = pages;
        }
    }

    /// The next task. As long as none waits, what nobody can ask for any more is
    /// deleted, by small steps.
    fn next_task(&mut self) -> Option<Task> {
        while self.is_behind {
            match self.tasks.try_recv() {
                Ok(task) => return Some(task),
                Err(mpsc::error::TryRecvError::Disconnected) => return None,
                Err(mpsc::error::TryRecvError::Empty) => self.commit(&mut Vec::new()),
            }
        }
        self.tasks.blocking_recv()
    }

    fn commit_alone(&mut self, change: Box<dyn Change>) {
        let is_removal = change.kind() == Kind::Removal;
        // Without effect within a transaction.
        let foreign_keys = |connection: &Connection, are_on: bool| {
            let set = connection.pragma_update(None, "foreign_keys", are_on);
            if let Err(error) = set {
                tracing::error!(%error, are_on, "foreign keys");
            }
        };
        if is_removal {
            foreign_keys(&self.connection, false);
        }
        self.commit(&mut vec![change]);
        if is_removal {
            foreign_keys(&self.connection, true);
        }
    }

    fn commit(&mut self, batch: &mut Vec<Box<dyn Change>>) {
        let started = Instant::now();
        let size = batch.len();
        let rotations = batch.iter().any(|change| change.kind() == Kind::Rotation);
        let point = |name| {
            if rotations {
                crash::point(name);
            }
        };
        point("rotate.before_begin");
        let done = self.keeper.allows().and_then(|()| {
            let done = self.transaction(batch, point);
            done.map_err(|failed| self.undo(failed))
        });
        // Not again and again while nothing can be written.
        self.is_behind &= done.is_ok();
        point("rotate.after_commit");
        let mut revoked = Vec::new();
        let fate = done.and_then(|done| {
            let revision = done.committed.revision;
            self.published = revision;
            self.imported = done.committed.imported.unwrap_or(self.imported);
            revoked.clone_from(&done.committed.revoked);
            // Gateways may be told while the mark is written; nobody is answered
            // before it is.
            self.keeper.committed(done.committed);
            match done.mark.map(|mark| self.keeper.mark(mark)) {
                Some(Err(error)) => {
                    tracing::error!(%error, "the lock file could not be written");
                    Err(WriteError::Unknown)
                }
                Some(Ok(())) | None => Ok(revision),
            }
        });
        point("rotate.after_mark");
        self.metrics.committed(size, started.elapsed(), fate.ok());
        self.health.ended(fate.map(drop));
        for change in batch.drain(..) {
            change.answer(fate.map(drop));
        }
        self.clear_up(&revoked);
        self.fold_if_long();
    }

    fn undo(&self, Failed { fate, cause }: Failed) -> WriteError {
        match cause {
            Some(error) => tracing::error!(%error, %fate, "a transaction failed"),
            None => tracing::error!(%fate, "a transaction was not committed"),
        }
        if !self.connection.is_autocommit()
            && let Err(error) = self.connection.execute_batch("ROLLBACK")
        {
            tracing::error!(%error, "rollback failed");
        }
        fate
    }

    /// Deletes what is of no use any more from what is kept for replays: that
    /// cannot be handed out already, for it counts only by what was committed.
    fn clear_up(&mut self, revoked: &[Revocation]) {
        let is_time = self.pruned.is_none_or(|at| at.elapsed() >= PRUNE_EVERY);
        let mut replays = self.kept.records();
        let cleared = match is_time {
            true => replays
                .forget(revoked)
                .and_then(|()| replays.prune(self.clock.sure().limit)),
            false => replays.forget(revoked).and_then(|()| replays.flush()),
        };
        if let Err(error) = cleared {
            tracing::warn!(%error, "what was kept for replays could not be cleared up");
        }
        if is_time {
            self.pruned = Some(Instant::now());
        }
    }

    /// All changes of the batch in one transaction; returns what that left.
    fn transaction(
        &mut self,
        batch: &mut [Box<dyn Change>],
        point: impl Fn(&'static str),
    ) -> Result<Durable, Failed> {
        let connection = &self.connection;
        let changes_before = connection.total_changes();
        let run = |sql| connection.prepare_cached(sql)?.execute([]).map(drop);
        let undone = |error| Failed {
            fate: fate::before_commit(&error),
            cause: Some(error),
        };
        run("BEGIN IMMEDIATE").map_err(undone)?;
        point("rotate.after_begin");
        for change in batch.iter_mut() {
            // Right before it, and not when it was taken from the queue: the ones
            // before it in this batch took their time.
            if !change.begin() {
                continue;
            }
            run("SAVEPOINT one").map_err(undone)?;
            if let Err(error) = change.apply(connection, self.clock.now()) {
                tracing::error!(%error, "a change failed and is rolled back");
                // A full disk ends the whole transaction.
                if connection.is_autocommit() {
                    return Err(undone(error));
                }
                run("ROLLBACK TO one").map_err(undone)?;
            }
            run("RELEASE one").map_err(undone)?;
        }
        // More than one batch adds, so they do not pile up however fast they are made.
        let now = self.clock.sure();
        let limit = match batch.len() {
            0 => PRUNED_IDLE,
            some => PRUNED_LEAST.max(2 * some),
        };
        let deleted = [
            rotations::prune(connection, now, limit).map_err(undone)?,
            sessions::prune(connection, now, limit).map_err(undone)?,
        ];
        self.is_behind = deleted.contains(&limit);
        let is_changed = connection.total_changes() != changes_before;
        let mark = match is_changed {
            true => Some(keeper::count_commit(connection).map_err(undone)?),
            false => None,
        };
        let revision = match mark {
            Some(mark) => mark.revision,
            None => keeper::mark(connection).map_err(undone)?.revision,
        };
        let revoked =
            history::revoked_after(connection, self.published, MAX_REVOCATIONS).map_err(undone)?;
        let imported = imports::latest(connection).map_err(undone)?;
        // X6: on disk before the rotations are that it is of.
        self.kept.records().flush().map_err(undone)?;
        let owned = self.keeper.owns(connection).map_err(undone)?;
        owned.map_err(|fate| Failed { fate, cause: None })?;
        point("rotate.before_commit");
        run("COMMIT").map_err(|error| Failed {
            fate: fate::at_commit(&error),
            cause: Some(error),
        })?;
        let committed = Committed {
            revision,
            revoked,
            imported: (imported > self.imported).then_some(imported),
        };
        Ok(Durable { committed, mark })
    }
}

/// A transaction that was not committed, or not surely.
struct Failed {
    fate: WriteError,
    /// SQLite's word, where it was SQLite.
    cause: Option<rusqlite::Error>,
}
