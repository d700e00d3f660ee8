//! A change that waits for the writer's turn, and whether it is still wanted then.
//! What nobody waits for any more is not begun: its outcome would reach nobody,
//! and a rotation would take the old key without giving the new one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::clock::StoreTime;
use crate::engine::{Patience, WriteError};
use crate::metrics::Metrics;
use crate::operations::Kind;

/// Waits for its turn.
const WAITING: u8 = 0;
/// The writer has begun it: it ends by itself.
const BEGUN: u8 = 1;
/// Its asker has left before that: it is never begun.
const LEFT: u8 = 2;

/// Of one change: who was first, the writer to begin it or the asker to leave.
#[derive(Debug, Default)]
struct Turn(AtomicU8);

impl Turn {
    fn take(&self, end: u8) -> bool {
        let orders = (Ordering::AcqRel, Ordering::Acquire);
        let taken = self.0.compare_exchange(WAITING, end, orders.0, orders.1);
        taken.is_ok()
    }
}

/// The asker's half of a change; to drop it is to leave.
pub(super) struct Asker {
    turn: Arc<Turn>,
    metrics: Arc<Metrics>,
}

impl Asker {
    /// Leaves. `true`: the change is not begun, and never will be.
    pub(super) fn leave(&self) -> bool {
        let is_first = self.turn.take(LEFT);
        if is_first {
            self.metrics.change_left();
        }
        is_first
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        self.leave();
    }
}

/// What the writer does with a change.
pub(super) trait Change: Send {
    /// What it is about.
    fn kind(&self) -> Kind;
    /// Whether it is to be made: to be asked right before that, once.
    fn begin(&mut self) -> bool;
    /// Makes it.
    fn apply(&mut self, transaction: &Connection, now: StoreTime) -> rusqlite::Result<()>;
    /// Tells the asker what became of the transaction.
    fn answer(self: Box<Self>, fate: Result<(), WriteError>);
}

/// A change as a closure over the transaction.
pub(super) struct Pending<F, T> {
    kind: Kind,
    work: Option<F>,
    result: Option<T>,
    reply: oneshot::Sender<Result<T, WriteError>>,
    turn: Arc<Turn>,
    is_wanted: Option<Arc<dyn Fn() -> bool + Send + Sync>>,
    metrics: Arc<Metrics>,
    has_begun: bool,
}

/// A change that was just asked for.
pub(super) struct NewChange<F, T> {
    /// For the writer.
    pub pending: Pending<F, T>,
    /// For who asked.
    pub asker: Asker,
    /// Where the asker hears of it.
    pub answer: oneshot::Receiver<Result<T, WriteError>>,
}

impl<F, T> NewChange<F, T> {
    /// One that has not begun.
    pub(super) fn new(kind: Kind, patience: &Patience, work: F, metrics: Arc<Metrics>) -> Self {
        let (reply, answer) = oneshot::channel();
        let turn = Arc::new(Turn::default());
        let asker = Asker {
            turn: turn.clone(),
            metrics: metrics.clone(),
        };
        let is_wanted = match patience {
            Patience::While(is_wanted) => Some(is_wanted.clone()),
            Patience::WhileAwaited | Patience::Until(_) => None,
        };
        let pending = Pending {
            kind,
            work: Some(work),
            result: None,
            reply,
            turn,
            is_wanted,
            metrics,
            has_begun: false,
        };
        Self {
            pending,
            asker,
            answer,
        }
    }
}

impl<F, T> Change for Pending<F, T>
where
    F: FnOnce(&Connection, StoreTime) -> rusqlite::Result<T> + Send,
    T: Send,
{
    fn kind(&self) -> Kind {
        self.kind
    }

    fn begin(&mut self) -> bool {
        let is_wanted = self.is_wanted.as_ref().is_none_or(|is_wanted| is_wanted());
        if !is_wanted && self.turn.take(LEFT) {
            self.metrics.change_left();
        }
        self.has_begun = is_wanted && self.turn.take(BEGUN);
        self.has_begun
    }

    fn apply(&mut self, transaction: &Connection, now: StoreTime) -> rusqlite::Result<()> {
        if let Some(work) = self.work.take() {
            self.result = Some(work(transaction, now)?);
        }
        Ok(())
    }

    fn answer(self: Box<Self>, fate: Result<(), WriteError>) {
        let answer = match (fate, self.result) {
            // Whatever became of the others: nothing of this one is anywhere.
            (Ok(()) | Err(WriteError::Unknown), _) if !self.has_begun => Err(WriteError::NotBegun),
            (Ok(()), Some(result)) => Ok(result),
            (Ok(()), None) => Err(WriteError::RolledBack),
            (Err(error), _) => Err(error),
        };
        // Nobody may be waiting any more; the change stands all the same.
        let _ = self.reply.send(answer);
        self.metrics.change_answered();
    }
}
