//! Entries of shared data as typed values, and the only loop that changes one.
//!
//! Names and bytes of shared data are made here alone. A table is an [`Entries`] of
//! one [`Layout`]; it gets its namespace from [`SharedState`](super::SharedState), which
//! hashes the schema of every table that it opens (G10).

use std::borrow::Cow;
use std::fmt::Display;
use std::marker::PhantomData;

use crate::host::env::{Cas, SharedData, SharedDataError};

/// Attempts at one change. Each attempt that is lost to another worker is one that
/// worker has won, so all are lost by chance only.
const ATTEMPTS: usize = 8;

/// Which table a value belongs to, and how it is laid out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Schema {
    /// The table's name, behind the namespace in the name of each entry.
    pub table: &'static str,
    /// Grows with each change of the layout; a part of the namespace (G10).
    pub version: u8,
    /// What becomes of a value that does not decode.
    pub unreadable: Unreadable,
}

/// What becomes of a value that does not decode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// It stays, and the change fails: trust depends on it.
    IsLeftAlone,
    /// It counts as no value, and is written over: nothing but work depends on it.
    IsReplaced,
}

/// A value that an entry of shared data holds.
pub(crate) trait Layout: Sized {
    /// Its table and version.
    const SCHEMA: Schema;

    /// The value as it is written.
    fn encode(&self) -> Vec<u8>;

    /// The value that was written; none if these bytes are none.
    fn decode(value: &[u8]) -> Option<Self>;
}

/// What a change makes of an entry, and its word to the caller of [`Entry::update`].
pub(crate) enum Next<T, W> {
    /// The entry holds this value from now on.
    Write(T, W),
    /// The entry stays as it is.
    Keep(W),
}

/// The entries of one table in one namespace.
pub(crate) struct Entries<T> {
    prefix: String,
    layout: PhantomData<T>,
}

impl<T> Clone for Entries<T> {
    fn clone(&self) -> Self {
        Self {
            prefix: self.prefix.clone(),
            layout: PhantomData,
        }
    }
}

impl<T: Layout> Entries<T> {
    /// The table under this namespace. For [`SharedState`](super::SharedState), which
    /// knows the namespace, and for tests.
    pub(crate) fn under(namespace: &str) -> Self {
        Self {
            prefix: format!("{namespace}{}", T::SCHEMA.table),
            layout: PhantomData,
        }
    }

    /// The one entry of a table that has no others.
    pub(crate) fn only(&self) -> Entry<'_, T> {
        self.entry(Cow::Borrowed(&self.prefix))
    }

    /// The entry at this place of the table.
    pub(crate) fn at(&self, place: impl Display) -> Entry<'_, T> {
        self.entry(Cow::Owned(format!("{}.{place}", self.prefix)))
    }

    fn entry<'a>(&self, name: Cow<'a, str>) -> Entry<'a, T> {
        Entry {
            name,
            layout: PhantomData,
        }
    }
}

/// One entry: a name, and what may be there.
pub(crate) struct Entry<'a, T> {
    name: Cow<'a, str>,
    layout: PhantomData<T>,
}

impl<T: Layout> Entry<'_, T> {
    /// What it holds.
    ///
    /// # Errors
    /// It could not be read, or holds what may not be taken for nothing.
    pub(crate) fn read(&self, shared: &mut dyn SharedData) -> Result<Option<T>, SharedDataError> {
        match shared.get(&self.name)? {
            None => Ok(None),
            Some(held) => understand(&held.value),
        }
    }

    /// Asks `change` what the entry is to hold, given what it holds, writes that by
    /// compare-and-swap, and returns the word of `change`. Asks again from a fresh
    /// read after a lost race (G2).
    ///
    /// # Errors
    /// The entry could not be read or written, or every race was lost: it is as
    /// others have left it.
    pub(crate) fn update<W>(
        &self,
        shared: &mut dyn SharedData,
        mut change: impl FnMut(Option<T>) -> Next<T, W>,
    ) -> Result<W, SharedDataError> {
        for _ in 0..ATTEMPTS {
            let (held, cas) = match shared.get(&self.name)? {
                None => (None, Cas::Absent),
                Some(held) => (understand(&held.value)?, Cas::Version(held.version)),
            };
            let (next, word) = match change(held) {
                Next::Write(next, word) => (next, word),
                Next::Keep(word) => return Ok(word),
            };
            match shared.set(&self.name, &next.encode(), cas) {
                Ok(()) => return Ok(word),
                Err(SharedDataError::CasMismatch) => {}
                Err(error) => return Err(error),
            }
        }
        Err(SharedDataError::CasMismatch)
    }
}

fn understand<T: Layout>(value: &[u8]) -> Result<Option<T>, SharedDataError> {
    match (T::decode(value), T::SCHEMA.unreadable) {
        (Some(value), _) => Ok(Some(value)),
        (None, Unreadable::IsReplaced) => Ok(None),
        (None, Unreadable::IsLeftAlone) => Err(SharedDataError::Unreadable),
    }
}
