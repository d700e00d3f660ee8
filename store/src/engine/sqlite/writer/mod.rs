//! The one thread that writes: it takes all changes that wait, makes them in
//! one transaction, each under a savepoint of its own, and answers none before
//! the commit is on disk (S2). So one fsync serves many rotations.
//!
//! Knows no change itself: a change is a closure over the transaction.

pub(super) mod fate;
mod pending;
mod thread;

use std::sync::Arc;
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use self::pending::{Change, NewChange};
use self::thread::Thread;
use crate::clock::{Clock, StoreTime};
use crate::engine::serve::EngineEnd;
use crate::engine::sqlite::health::Health;
use crate::engine::sqlite::keeper::Keeper;
use crate::engine::sqlite::transaction::ReplayFile;
use crate::engine::{Patience, WriteError};
use crate::metrics::Metrics;
use crate::operations::Kind;

/// Changes that may wait; one more is refused, for nothing was done about it.
const QUEUE: usize = 4096;

enum Task {
    Change(Box<dyn Change>),
    /// Runs between two transactions, with nobody else writing.
    Alone(Box<dyn FnOnce() + Send>),
    Stop,
}

/// The way to the writing thread. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Writer {
    queue: mpsc::Sender<Task>,
    metrics: Arc<Metrics>,
}

/// What the thread works with.
pub(super) struct Parts {
    /// The one connection that writes.
    pub connection: Connection,
    /// What time it is.
    pub clock: Arc<Clock>,
    /// Told how long commits take.
    pub metrics: Arc<Metrics>,
    /// What is kept for replays, in its own file.
    pub kept: ReplayFile,
    /// Told what becomes of each transaction.
    pub health: Health,
    /// The revision up to which revocations were told to the keeper.
    pub published: u64,
    /// What stands around every transaction.
    pub keeper: Box<dyn Keeper>,
}

/// A writer that was started.
pub(super) struct StartedWriter {
    /// The way to it.
    pub writer: Writer,
    /// What is waited for at the end.
    pub thread: WriterThread,
}

/// The thread itself.
pub(super) struct WriterThread {
    thread: JoinHandle<()>,
    /// Ends when the thread does.
    ended: Option<oneshot::Receiver<()>>,
}

impl Writer {
    /// Starts the thread on its connection.
    pub(super) fn start(parts: Parts) -> std::io::Result<StartedWriter> {
        let (queue, tasks) = mpsc::channel(QUEUE);
        let (alive, ended) = oneshot::channel();
        let metrics = parts.metrics.clone();
        let state = Thread::new(parts, tasks);
        let thread = std::thread::Builder::new()
            .name("writer".into())
            .spawn(move || {
                let _alive: oneshot::Sender<()> = alive;
                state.run();
            })?;
        let ended = Some(ended);
        Ok(StartedWriter {
            writer: Self { queue, metrics },
            thread: WriterThread { thread, ended },
        })
    }

    /// Makes a change and waits until it is on disk. A refusal by the change
    /// itself is part of `T`; an error of SQLite rolls this change back.
    ///
    /// If the future is dropped before the change's turn comes, it is not begun. A
    /// change that has begun is not taken back by it.
    pub(super) async fn change<T, F>(&self, kind: Kind, work: F) -> Result<T, WriteError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection, StoreTime) -> rusqlite::Result<T> + Send + 'static,
    {
        self.change_in(kind, Patience::WhileAwaited, work).await
    }

    /// As [`Self::change`], for as long as this patience lasts.
    pub(super) async fn change_in<T, F>(
        &self,
        kind: Kind,
        patience: Patience,
        work: F,
    ) -> Result<T, WriteError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection, StoreTime) -> rusqlite::Result<T> + Send + 'static,
    {
        let metrics = self.metrics.clone();
        let NewChange {
            pending,
            asker,
            mut answer,
        } = NewChange::new(kind, &patience, work, metrics);
        self.enqueue(Task::Change(Box::new(pending)))?;
        self.metrics.change_waits();
        if let Patience::Until(end) = patience {
            tokio::select! {
                biased;
                // Dropped unanswered: the thread died, wherever it was.
                answer = &mut answer => return answer.unwrap_or(Err(WriteError::Unknown)),
                () = tokio::time::sleep_until(end.into()) => {}
            }
            if asker.leave() {
                return Err(WriteError::NotBegun);
            }
        }
        answer.await.unwrap_or(Err(WriteError::Unknown))
    }

    /// Runs `work` while nobody else writes; it brings its own connection.
    pub(crate) async fn alone<T, F>(&self, work: F) -> Result<T, WriteError>
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

    /// Returns when so many tasks wait that nobody has begun yet.
    #[cfg(test)]
    pub(crate) async fn await_waiting(&self, count: usize) {
        while self.queue.max_capacity() - self.queue.capacity() < count {
            tokio::task::yield_now().await;
        }
    }

    fn enqueue(&self, task: Task) -> Result<(), WriteError> {
        self.queue.try_send(task).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => WriteError::Busy,
            mpsc::error::TrySendError::Closed(_) => WriteError::Stopping,
        })
    }

    /// Takes no more changes; those in the queue are still made.
    pub(super) async fn stop(&self) {
        let _ = self.queue.send(Task::Stop).await;
    }
}

impl WriterThread {
    /// Ends when the thread has, which without [`crate::engine::Engine::stop`] is a
    /// fault of the store. To be taken once.
    pub(super) fn take_ended(&mut self) -> impl Future<Output = ()> + use<> {
        let ended = self.ended.take();
        async move {
            if let Some(ended) = ended {
                let _ = ended.await;
            }
        }
    }

    /// Waits for the thread. Blocks.
    pub(super) fn join(self) -> Result<(), EngineEnd> {
        self.thread.join().map_err(|_| EngineEnd::Failed)
    }
}

#[cfg(test)]
mod tests;
