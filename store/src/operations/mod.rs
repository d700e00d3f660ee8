//! What the store does, one value for each operation. They know no engine and no
//! SQL: they speak the words of a transaction ([`Tx`], [`ReadTx`]), and the engine
//! decides where and how often they are applied.
//!
//! What a rotation and a replay decide is still one level below, without a
//! transaction: [`crate::rules::rotation`] and [`crate::rules::replay`].

pub mod audit;
pub mod feed;
pub mod imports;
pub mod incarnation;
pub mod keys;
#[cfg(test)]
pub(crate) mod testing;
pub mod users;
pub mod uses;

use crate::clock::StoreTime;
use crate::engine::look::Look;
use crate::engine::{ReadTx, Tx};
use crate::rules::rotation::RotationLimit;

/// What surrounds an operation, the same for each word that it speaks.
#[derive(Debug, Clone, Copy)]
pub struct Context {
    /// The time of the store now. Each time that an operation is applied, it is
    /// another one.
    pub now: StoreTime,
    /// How long a user waits between two rotations.
    pub interval: RotationLimit,
}

/// A change: all of it, or nothing.
pub trait Operation {
    /// What it answers. A refusal is a part of it.
    type Out;

    /// What it is about, for an engine that treats some apart.
    const KIND: Kind = Kind::Admin;

    /// Carries it out in a transaction.
    ///
    /// An engine may do it again after it has undone what the first time did, so it
    /// changes nothing but through `tx`, and leaves `self` as it is.
    ///
    /// # Errors
    /// The transaction's, handed on as it came.
    fn apply<T: Tx>(&self, tx: &mut T, cx: &Context) -> Result<Self::Out, T::Error>;

    /// Puts the revision of the commit into the result, where it was not known yet
    /// when the operation was applied. An operation overrides this if its result can
    /// hold the revision of its own change.
    fn settle(_out: &mut Self::Out, _revision: u64) {}

    /// What it will surely look at, as far as that is known before: an engine behind a
    /// network fetches it at once. A hint: it may name too much, and too little.
    fn looks_at(&self) -> Vec<Look> {
        Vec::new()
    }
}

/// Something to look at, all of it in one snapshot.
pub trait Read {
    /// What is seen.
    type Out;

    /// Who has to wait if too many look at once.
    const QUEUE: ReadQueue = ReadQueue::Api;

    /// Whether it says one word only, so that it needs no snapshot but that word's.
    const IS_ONE_WORD: bool = false;

    /// Looks. As [`Operation::apply`], it may happen again.
    ///
    /// # Errors
    /// The transaction's, handed on as it came.
    fn read<T: ReadTx>(&self, tx: &T, cx: &Context) -> Result<Self::Out, T::Error>;

    /// As [`Operation::looks_at`].
    fn looks_at(&self) -> Vec<Look> {
        Vec::new()
    }
}

/// What an operation is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A rotation. Tests let the store die at each of its steps.
    Rotation,
    /// Anything else that is short.
    Admin,
    /// Some rows of an import, in a transaction of its own after all that waits. So
    /// others wait for what is under way when they come, and not for the next.
    Import,
    /// As that; takes out rows that nothing refers to any more. SQLite does not look
    /// for what refers to them, because for each user it would have to read all keys.
    Removal,
}

/// Which of the two queues a read waits in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadQueue {
    /// That of the gateways and the operator.
    Api,
    /// That of the dashboard: however many strangers look at it, key checks find a
    /// place.
    Dashboard,
}
