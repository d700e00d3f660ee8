//! The words of a transaction over an ordered space of keys and values, which has one
//! revision for all of it.
//!
//! What is written here knows of the space what [`space`] says, and nothing of
//! networks. Which names there are is in [`names`], what they hold in [`rows`]. Each
//! word is in the file of its subject, in [`words`].
//!
//! # What a look costs
//!
//! A space behind a network fetches what an operation looks at in rounds: all names
//! that are known before in the first one ([`names::of_look`]), and then those that
//! depend on what was found. So the rows that a gateway waits for hold some facts
//! twice. An active key's row has the id of its user and the time of the last
//! rotation: to resolve the key is one look, and to rotate it one round.
//!
//! # How a name is taken out
//!
//! A removed user's name must go out of all keys, answers and rows of the audit log,
//! and one transaction takes 128 writes. So rows that are many call a user by an
//! [`names::Alias`], which one row maps to the id: a pseudonym is given by one write.
//!
//! - In bytes: 16 digits in each of those rows, which is less than the 22 characters
//!   of an id as it is mostly made, and one row of about 110 bytes for each user.
//! - In looks: one more round where rows of several users are shown, all aliases at
//!   once. The pages of one user need none. A revoked key is resolved in two rounds.
//!
//! # What one transaction writes
//!
//! An event takes two writes, the row and its place in the user's index. A rotation
//! takes ten, and four more where an import owes the log a row. Words that say how many
//! rows they have done stop at [`MOST_WRITES`]. The uses of keys come in maps of a size
//! that the caller chooses: a last use takes one write and two looks, the uses of an
//! old key three of each.
//!
//! # Revisions
//!
//! Every transaction that changes something has a revision, and none has two. So
//! [`crate::engine::Tx::next_revision`] says [`space::PENDING`], rows leave out the
//! revision that is their own, and head, keys and events that this very transaction
//! has written show it as pending. That decides nothing: no operation compares a
//! revision of what it has just written.

pub(crate) mod names;
pub(crate) mod rows;
pub(crate) mod space;
#[cfg(test)]
pub(super) mod testing;
mod words;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use rekey_protocol::{Digest, UserId};

use self::names::{Alias, Unique};
use self::rows::Row;
use self::space::{Change, Space};
use crate::clock::UnixMillis;

/// Writes of one transaction. etcd takes 128 operations, and compares as many; the engine
/// adds a few of each.
pub(crate) const MOST_WRITES: usize = 120;

/// Encrypts what is kept for replays, because a backup of the space must not hold it
/// in the clear (X6).
pub(crate) trait Wrap {
    /// Bound to the digest of the new key. None: it cannot be kept now.
    fn seal(&self, new_digest: &Digest, content: &[u8]) -> Option<Vec<u8>>;
    /// None: its key has gone, which makes the record as good as gone itself.
    fn open(&self, new_digest: &Digest, wrapped: &[u8]) -> Option<Vec<u8>>;
}

/// A transaction over a space.
pub(crate) struct KeyspaceTx<'a, S> {
    space: S,
    wrap: Option<&'a dyn Wrap>,
    unique: Unique,
    /// Rows that it has added to the audit log.
    events: u8,
    /// Whether it was counted as a change.
    is_counted: bool,
    /// Keys that it has revoked.
    revoked: BTreeSet<Digest>,
    /// What rows have told of users: what is known need not be looked up again.
    people: RefCell<BTreeMap<UserId, Person>>,
}

/// What is known of a user.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Person {
    alias: Alias,
    /// By the limit's clock.
    last_rotated: Option<UnixMillis>,
}

/// A row, and the revisions that made and last wrote it.
#[derive(Debug, Clone)]
pub(crate) struct Held<R> {
    row: R,
    made: u64,
    changed: u64,
}

impl<'a, S> KeyspaceTx<'a, S> {
    /// For a read.
    pub(crate) fn reading(space: S) -> Self {
        Self {
            space,
            wrap: None,
            unique: Unique::default(),
            events: 0,
            is_counted: false,
            revoked: BTreeSet::new(),
            people: RefCell::default(),
        }
    }

    /// For an operation. `unique` is no other transaction's. Without a `wrap` nothing
    /// is kept for replays.
    pub(crate) fn new(space: S, unique: Unique, wrap: Option<&'a dyn Wrap>) -> Self {
        Self {
            wrap,
            unique,
            ..Self::reading(space)
        }
    }

    /// The space, with what was written.
    pub(crate) fn into_space(self) -> S {
        self.space
    }
}

impl<S: Space> KeyspaceTx<'_, S> {
    fn get<R: Row>(&self, name: &[u8]) -> Result<Option<Held<R>>, S::Error> {
        let Some(found) = self.space.get(name)? else {
            return Ok(None);
        };
        let row = rows::read(&found)?;
        let (made, changed) = (found.made, found.changed);
        Ok(Some(Held { row, made, changed }))
    }

    fn is_there(&self, name: &[u8]) -> Result<bool, S::Error> {
        Ok(self.space.get(name)?.is_some())
    }

    /// Has all of these fetched at once. What they hold is got by the words after.
    fn look_ahead(&self, names: &[Vec<u8>]) -> Result<(), S::Error> {
        self.space.get_all(names).map(drop)
    }
}

impl<S: Change> KeyspaceTx<'_, S> {
    fn put<R: Row>(&mut self, name: Vec<u8>, row: &R) -> Result<(), S::Error> {
        let value = rows::write(row)?;
        self.space.put(name, value);
        Ok(())
    }
}
