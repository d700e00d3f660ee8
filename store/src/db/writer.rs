//! The one thread that writes: it takes all changes that wait, makes them in
//! one transaction, each under a savepoint of its own, and answers none before
//! the commit is on disk (PROTOCOL S2). So one fsync serves many rotations.
//!
//! Knows no change itself: a change is a closure over the transaction.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rekey_protocol::Change as Revocation;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::fate;
use super::health::Health;
use super::replays::Replays;
use crate::clock::{Clock, Moment};
use crate::crash;
use crate::metrics::Metrics;

/// Changes that may wait; one more is refused, for nothing was done about it.
const QUEUE: usize = 4096;
/// Revocations of one transaction at most: each change makes one.
const MAX_REVOCATIONS: usize = MAX_BATCH;
/// Changes in one transaction at most, so that the first need not wait for an
/// endless rest.
const MAX_BATCH: usize = 256;
/// How often what nobody can ask for any more is deleted.
const PRUNE_EVERY: Duration = Duration::from_secs(60);

/// Why a change has no result. The store's fault, never the client's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The queue is full: nothing was changed.
    #[error("too many changes are waiting; nothing was changed, try again")]
    Busy,
    /// Shutting down: nothing was changed.
    #[error("the store is shutting down; nothing was changed, try again")]
    Stopping,
    /// There is no room left: nothing was changed.
    #[error(
        "the store's disk is full; nothing was changed; it goes on by itself when there is room"
    )]
    Full,
    /// A statement failed and all was rolled back: nothing was changed.
    #[error("the database refused to write; nothing was changed; the store's log says why")]
    RolledBack,
    /// The commit failed: on disk it may be there or not.
    #[error("the commit failed; whether it is on disk is not known; the store's log says why")]
    Unknown,
}

/// What a change is about: rotations have crash points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// From a gateway.
    Rotation,
    /// From the admin listener.
    Admin,
}

trait Change: Send {
    fn kind(&self) -> Kind;
    fn apply(&mut self, transaction: &Connection, now: Moment) -> rusqlite::Result<()>;
    fn answer(self: Box<Self>, fate: Result<(), WriteError>);
}

struct Pending<F, T> {
    kind: Kind,
    work: Option<F>,
    result: Option<T>,
    reply: oneshot::Sender<Result<T, WriteError>>,
}

impl<F, T> Change for Pending<F, T>
where
    F: FnOnce(&Connection, Moment) -> rusqlite::Result<T> + Send,
    T: Send,
{
    fn kind(&self) -> Kind {
        self.kind
    }

    fn apply(&mut self, transaction: &Connection, now: Moment) -> rusqlite::Result<()> {
        if let Some(work) = self.work.take() {
            self.result = Some(work(transaction, now)?);
        }
        Ok(())
    }

    fn answer(self: Box<Self>, fate: Result<(), WriteError>) {
        let answer = match (fate, self.result) {
            (Ok(()), Some(result)) => Ok(result),
            (Ok(()), None) => Err(WriteError::RolledBack),
            (Err(error), _) => Err(error),
        };
        // Nobody may be waiting any more; the change stands all the same.
        let _ = self.reply.send(answer);
    }
}

/// Told of every transaction that is on disk, before anyone is answered (S2):
/// the revision that it left, and the keys that it revoked.
pub type OnCommit = Box<dyn Fn(u64, Vec<Revocation>) + Send>;

enum Task {
    Change(Box<dyn Change>),
    /// Runs between two transactions, with nobody else writing.
    Alone(Box<dyn FnOnce() + Send>),
    Stop,
}

/// The way to the writing thread. Cheap to clone.
#[derive(Clone)]
pub struct Writer {
    queue: mpsc::Sender<Task>,
}

/// The thread itself.
pub struct WriterThread {
    thread: JoinHandle<()>,
    /// Ends when the thread does.
    ended: Option<oneshot::Receiver<()>>,
}

impl Writer {
    /// Starts the thread on its connection.
    pub fn start(
        connection: Connection,
        clock: Arc<Clock>,
        metrics: Arc<Metrics>,
        replays: Arc<Mutex<Replays>>,
        health: Health,
        (published, on_commit): (u64, OnCommit),
    ) -> std::io::Result<(Self, WriterThread)> {
        let (queue, tasks) = mpsc::channel(QUEUE);
        let (alive, ended) = oneshot::channel();
        let state = State {
            connection,
            clock,
            metrics,
            tasks,
            replays,
            health,
            pruned: None,
            published,
            on_commit,
        };
        let thread = std::thread::Builder::new()
            .name("writer".into())
            .spawn(move || {
                let _alive: oneshot::Sender<()> = alive;
                state.run();
            })?;
        let ended = Some(ended);
        Ok((Self { queue }, WriterThread { thread, ended }))
    }

    /// Makes a change and waits until it is on disk. A refusal by the change
    /// itself is part of `T`; an error of SQLite rolls this change back.
    ///
    /// Dropping the future does not take the change back.
    pub async fn change<T, F>(&self, kind: Kind, work: F) -> Result<T, WriteError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection, Moment) -> rusqlite::Result<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let change = Pending {
            kind,
            work: Some(work),
            result: None,
            reply,
        };
        self.enqueue(Task::Change(Box::new(change)))?;
        // Dropped unanswered: the thread died, wherever it was.
        answer.await.unwrap_or(Err(WriteError::Unknown))
    }

    /// Runs `work` while nobody else writes; it brings its own connection.
    pub async fn alone<T, F>(&self, work: F) -> Result<T, WriteError>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        self.enqueue(Task::Alone(Box::new(move || {
            let _ = reply.send(work());
        })))?;
        answer.await.map_err(|_| WriteError::Unknown)
    }

    /// How many tasks nobody has begun yet.
    #[cfg(test)]
    pub fn waiting(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }

    fn enqueue(&self, task: Task) -> Result<(), WriteError> {
        self.queue.try_send(task).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => WriteError::Busy,
            mpsc::error::TrySendError::Closed(_) => WriteError::Stopping,
        })
    }

    /// Takes no more changes; those in the queue are still made.
    pub async fn stop(&self) {
        let _ = self.queue.send(Task::Stop).await;
    }
}

impl WriterThread {
    /// Returns when the thread has ended, which without [`super::Database::stop`] is a
    /// fault of the store.
    pub async fn ended(&mut self) {
        if let Some(ended) = self.ended.take() {
            let _ = ended.await;
        }
    }

    /// Waits for the thread; whether it ended well.
    pub fn join(self) -> bool {
        self.thread.join().is_ok()
    }
}

struct State {
    connection: Connection,
    clock: Arc<Clock>,
    metrics: Arc<Metrics>,
    tasks: mpsc::Receiver<Task>,
    /// What is kept for replays, in its own file.
    replays: Arc<Mutex<Replays>>,
    /// Told what becomes of each transaction.
    health: Health,
    pruned: Option<Instant>,
    /// The revision up to which revocations were told to `on_commit`.
    published: u64,
    on_commit: OnCommit,
}

impl State {
    fn run(mut self) {
        let mut batch = Vec::with_capacity(MAX_BATCH);
        while let Some(task) = self.tasks.blocking_recv() {
            let mut next = Some(task);
            let mut alone = None;
            while let Some(task) = next {
                match task {
                    Task::Change(change) => batch.push(change),
                    Task::Alone(work) => alone = Some(work),
                    Task::Stop => self.tasks.close(),
                }
                let more = alone.is_none() && batch.len() < MAX_BATCH;
                next = more.then(|| self.tasks.try_recv().ok()).flatten();
            }
            if !batch.is_empty() {
                self.commit(&mut batch);
            }
            if let Some(work) = alone {
                work();
            }
        }
        // So that a copy of the one file is a whole backup after a stop.
        if let Err(error) = self
            .connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        {
            tracing::warn!(%error, "the write-ahead log was not folded into the database");
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
        let fate = self.transaction(batch, point);
        if let Err((fate, error)) = &fate {
            tracing::error!(%error, %fate, "a transaction failed");
            if !self.connection.is_autocommit()
                && let Err(error) = self.connection.execute_batch("ROLLBACK")
            {
                tracing::error!(%error, "rollback failed");
            }
        }
        point("rotate.after_commit");
        let fate = fate.map_err(|(fate, _)| fate);
        let mut revoked = Vec::new();
        let fate = fate.map(|(revision, revocations)| {
            self.published = revision;
            revoked.clone_from(&revocations);
            (self.on_commit)(revision, revocations);
            revision
        });
        self.metrics.committed(size, started.elapsed(), fate.ok());
        self.health.ended(fate.map(drop));
        for change in batch.drain(..) {
            change.answer(fate.map(drop));
        }
        self.clear_up(&revoked);
    }

    /// Deletes what is of no use any more from what is kept for replays: that
    /// cannot be handed out already, for it counts only by what was committed.
    fn clear_up(&mut self, revoked: &[Revocation]) {
        let is_time = self.pruned.is_none_or(|at| at.elapsed() >= PRUNE_EVERY);
        let mut replays = lock(&self.replays);
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

    /// All changes of the batch in one transaction; returns the revision that
    /// it left and what it revoked.
    fn transaction(
        &mut self,
        batch: &mut [Box<dyn Change>],
        point: impl Fn(&'static str),
    ) -> Result<(u64, Vec<Revocation>), (WriteError, rusqlite::Error)> {
        let connection = &self.connection;
        let run = |sql| connection.prepare_cached(sql)?.execute([]).map(drop);
        let undone = |error| (fate::before_commit(&error), error);
        run("BEGIN IMMEDIATE").map_err(undone)?;
        point("rotate.after_begin");
        for change in batch.iter_mut() {
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
        if self.pruned.is_none_or(|at| at.elapsed() >= PRUNE_EVERY) {
            let now = self.clock.sure();
            super::rotate::prune(connection, now).map_err(undone)?;
            super::sessions::prune(connection, now).map_err(undone)?;
        }
        let revision = connection
            .prepare_cached("SELECT revision FROM meta")
            .and_then(|mut select| select.query_row([], |row| row.get(0)))
            .map_err(undone)?;
        let revocations = super::keys::revoked_after(connection, self.published, MAX_REVOCATIONS)
            .map_err(undone)?;
        // X6: on disk before the rotations are that it is of.
        lock(&self.replays).flush().map_err(undone)?;
        point("rotate.before_commit");
        run("COMMIT").map_err(|error| (fate::at_commit(&error), error))?;
        Ok((revision, revocations))
    }
}

pub(super) fn lock(replays: &Mutex<Replays>) -> MutexGuard<'_, Replays> {
    replays.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
