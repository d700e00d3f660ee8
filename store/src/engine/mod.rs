//! What keeps the store's data, and what the rest of the store may expect of it.
//!
//! Three parts meet here:
//!
//! - An [`Operation`] decides. It knows no engine, speaks the words of [`Tx`], and
//!   may be applied more than once.
//! - A transaction answers the words: [`ReadTx`] those that look, [`Tx`] those that
//!   change. Both are in [`tx`], and what they speak of is in [`rows`].
//! - An [`Engine`] runs operations, keeps their results, and says what became of
//!   them. [`sqlite`] is one; [`chosen`] is the one that the operator chose.
//!
//! # Why the words are not asynchronous
//!
//! SQLite and memory answer at once, and one operation is a few dozen words. An
//! asynchronous word would cost each of them a state machine and give nothing. An
//! engine behind a network has two ways to keep this shape. It can apply operations
//! on a thread that may block, where each word that looks waits for its answer. Or
//! it keeps a mirror of its keys in memory, as a watch tells them, and looks there.
//! Either way it notes what was looked at and at which version, and keeps what was
//! written in a buffer, where later words of the same operation find it. At the end
//! it sends one conditional transaction: write all of this if nothing of that has
//! changed. If something has, it applies the operation again.
//!
//! That is why [`Operation::apply`] takes `&self`, and why an operation must change
//! nothing but through its transaction. What has to happen after the commit belongs
//! to the engine, or to whoever gets the result.
//!
//! # Errors
//!
//! What a client asks for in vain is no error: it is a part of the operation's
//! result. An error of a word is the engine's own ([`ReadTx::Error`]). Only the
//! engine knows whether it means a conflict, and so another try, or a fault. An
//! operation hands it on and never looks into it. The one error that an operation
//! makes itself is [`Impossible`].

pub(crate) mod anchor;
#[cfg(feature = "server")]
pub mod chosen;
#[cfg(test)]
mod conformance;
#[cfg(feature = "etcd")]
pub mod etcd;
pub mod import;
#[cfg(feature = "server")]
#[cfg_attr(
    not(feature = "etcd"),
    allow(dead_code, reason = "only the engine on etcd speaks these words")
)]
pub(crate) mod keyspace;
pub mod look;
pub mod memory;
pub mod record;
pub mod rows;
pub mod serve;
#[cfg(feature = "server")]
pub mod sqlite;
pub(crate) mod staged;
pub mod tx;

use std::sync::Arc;
use std::time::Instant;

use crate::feed::{Committed, Records};
use crate::operations::{Operation, Read};
use crate::rules::answers::RESTORED;

pub use serve::Serve;
pub use tx::{OwnerReadTx, OwnerTx, ReadTx, Tx};

/// The data says what an operation takes to be impossible. The operation is undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Impossible(pub &'static str);

/// What keeps the data. Cheap to clone.
///
/// The [`Records`] of the feed are a part of it: the changes after a revision, and
/// leases that are on record before they are granted (S9).
pub trait Engine: Records + Clone + Send + Sync + 'static {
    /// Carries an operation out, for as long as this patience lasts, and answers
    /// when its outcome is durable (S2).
    ///
    /// All or nothing, and as if it were alone. The feed hears of the commit before
    /// this answers. An error other than [`WriteError::Unknown`] vouches that nothing
    /// was changed. If the future is dropped before the operation has begun, it is
    /// never begun; one that has begun goes on to its end.
    fn run_within<O>(
        &self,
        patience: Patience,
        operation: O,
    ) -> impl Future<Output = Result<O::Out, WriteError>> + Send
    where
        O: Operation + Send + Sync + 'static,
        O::Out: Send + 'static;

    /// As [`Self::run_within`], for as long as the future lives.
    fn run<O>(&self, operation: O) -> impl Future<Output = Result<O::Out, WriteError>> + Send
    where
        O: Operation + Send + Sync + 'static,
        O::Out: Send + 'static,
    {
        self.run_within(Patience::WhileAwaited, operation)
    }

    /// Looks at one snapshot that was begun after this was called and that holds
    /// only what is durable (S1, S2).
    fn read<R>(&self, read: R) -> impl Future<Output = Result<R::Out, ReadError>> + Send
    where
        R: Read + Send + Sync + 'static,
        R::Out: Send + 'static;

    /// Takes no more operations; those that wait are still carried out.
    fn stop(&self) -> impl Future<Output = ()> + Send;
}

/// Learns of every commit, and says whether there may be any.
///
/// An engine calls it and waits for it, because nobody may be answered before the
/// feed knows (S2). A queue between them would let an answer overtake the commit.
pub trait Listener: Send + Sync + 'static {
    /// A transaction is durable. Called in the order of the commits, before anybody
    /// is answered.
    fn committed(&self, committed: Committed);
    /// Whether nothing may be changed, because more was served than the data knows
    /// (S8).
    fn is_restored(&self) -> bool;
}

/// How long an operation is worth beginning. In any case its asker has left when
/// the future that waits for it was dropped.
pub enum Patience {
    /// For as long as the future that waits for it lives.
    WhileAwaited,
    /// Up to this moment. Then its asker is told that nothing was changed.
    Until(Instant),
    /// While this says so. For a task that waits on behalf of others.
    While(Arc<dyn Fn() -> bool + Send + Sync>),
}

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
    /// Nothing may be changed: this database is older than what was served (S8).
    #[error("{}; nothing was changed", RESTORED.message)]
    NotServed,
    /// Nothing may be changed: the database may be another process's (S10).
    #[error(
        "another rekey-store may own the database now, and this one stops; nothing was changed"
    )]
    NotOwner,
    /// Its asker had left, or had no more time, before its turn came: nothing was
    /// changed.
    #[error(
        "the change had to wait for too long and was not begun; nothing was changed, try again"
    )]
    NotBegun,
    /// The commit failed: on disk it may be there or not.
    #[error("the commit failed; whether it is on disk is not known; the store's log says why")]
    Unknown,
}

/// Why the feed's records could not be read or written. The store's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordsError {
    /// Not read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Not written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Why a read has no result. The store's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// All connections were taken for too long.
    #[error("too many requests are waiting; try again")]
    Busy,
    /// This store cannot prove that it knows what other stores have changed (R2).
    #[error(
        "this store has lost touch with etcd or with the other stores; it goes on by itself; ask another one"
    )]
    NotCurrent,
    /// The engine failed, or the read did.
    #[error("the database could not be read; the store's log says why")]
    Failed,
}
