//! An ordered space of keys and values with one revision for all of it, as etcd has
//! one: what a transaction needs of it, and no more.
//!
//! A transaction looks at one snapshot and sees over it what it has written itself.
//! The revision of its own writes is not known before it is committed: see
//! [`PENDING`].

use crate::engine::Impossible;
pub(crate) use crate::engine::tx::PENDING;

/// A key with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pair {
    /// Its name.
    pub key: Vec<u8>,
    /// What it holds.
    pub found: Found,
}

/// What a key holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// The bytes.
    pub value: Vec<u8>,
    /// The revision that put the key there (etcd: `create_revision`).
    pub made: u64,
    /// The revision that last wrote it (etcd: `mod_revision`).
    pub changed: u64,
}

/// Which keys are wanted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Range {
    /// The first that may be among them.
    pub from: Vec<u8>,
    /// The first after them.
    pub to: Vec<u8>,
    /// In which order.
    pub order: Order,
    /// At most so many.
    pub limit: u32,
    /// Only such as were put there after this revision.
    pub made_after: u64,
}

/// The order of the keys of a [`Range`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Order {
    /// By their names.
    Ascending,
    /// By their names, the last one first.
    Descending,
    /// By the revisions that put them there; those of one revision by their names.
    AsMade,
}

impl Range {
    /// All keys that begin with this.
    pub(crate) fn under(prefix: &[u8]) -> Self {
        Self {
            from: prefix.to_vec(),
            to: after_prefix(prefix),
            order: Order::Ascending,
            limit: u32::MAX,
            made_after: 0,
        }
    }
}

/// The first key after all that begin with this, which is not empty.
pub(crate) fn after_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if let Some(next) = last.checked_add(1) {
            end.push(next);
            return end;
        }
    }
    end
}

/// A space as a transaction sees it. What looks takes `&self`: a space that must be
/// asked for over a network notes in a cell what it lacks, answers with an error, and
/// the operation is applied again when that was fetched.
pub(crate) trait Space {
    /// Why there is no answer.
    type Error: From<Impossible>;

    /// The revision of the snapshot.
    fn revision(&self) -> Result<u64, Self::Error>;
    /// What a key holds.
    fn get(&self, key: &[u8]) -> Result<Option<Found>, Self::Error>;
    /// What several keys hold, in their order: one look for all of them.
    fn get_all(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Found>>, Self::Error>;
    /// The keys of a range.
    fn range(&self, range: &Range) -> Result<Vec<Pair>, Self::Error>;
}

/// A space that may be changed.
pub(crate) trait Change: Space {
    /// Puts a value under a key, whatever is there.
    fn put(&mut self, key: Vec<u8>, value: Vec<u8>);
    /// Takes a key out, if it is there.
    fn delete(&mut self, key: &[u8]);
    /// Takes out all keys that begin with this.
    fn delete_under(&mut self, prefix: &[u8]);
}
