//! A transaction in memory. Words that look are in [`looking`], words that change in
//! [`changing`]; whoever makes it keeps or undoes what they did.

mod changing;
mod found;
mod looking;

use std::ops::Deref;

use super::replays::KeptReplays;
use super::tables::Tables;

/// A transaction: over `&Tables` it only looks, over `&mut Tables` it changes.
pub(super) struct MemoryTx<'a, T> {
    tables: T,
    /// None: it only looks.
    kept: Option<&'a mut KeptReplays>,
}

impl<'a> MemoryTx<'a, &'a mut Tables> {
    /// For an operation.
    pub(super) fn new(tables: &'a mut Tables, kept: &'a mut KeptReplays) -> Self {
        Self {
            tables,
            kept: Some(kept),
        }
    }
}

impl<'a> MemoryTx<'a, &'a Tables> {
    /// For a read.
    pub(super) fn reading(tables: &'a Tables) -> Self {
        Self { tables, kept: None }
    }
}

impl<T: Deref<Target = Tables>> MemoryTx<'_, T> {
    fn tables(&self) -> &Tables {
        &self.tables
    }
}
