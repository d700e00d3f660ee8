//! What a transaction sees of a shelf: as over a network, nothing that was not fetched.
//! What is lacking is noted, and it is applied again when that was fetched.

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::shelf::{Shelf, Writes, in_order};
use crate::engine::Impossible;
use crate::engine::keyspace::space::{Change, Found, PENDING, Pair, Range, Space};

/// What was fetched of a shelf.
#[derive(Debug, Default, Clone)]
pub(crate) struct Fetched {
    pub keys: BTreeSet<Vec<u8>>,
    pub ranges: BTreeSet<Range>,
}

impl Fetched {
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.ranges.is_empty()
    }

    pub(crate) fn add(&mut self, more: Self) {
        self.keys.extend(more.keys);
        self.ranges.extend(more.ranges);
    }
}

/// Why a word has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unseen {
    /// Something was not fetched yet.
    Missing,
    Impossible(Impossible),
}

impl From<Impossible> for Unseen {
    fn from(impossible: Impossible) -> Self {
        Self::Impossible(impossible)
    }
}

/// See the head of this file.
pub(crate) struct View<'a> {
    shelf: &'a Shelf,
    fetched: &'a Fetched,
    lacking: RefCell<Fetched>,
    writes: Writes,
}

/// What is left of a view.
pub(crate) struct Rest {
    pub lacking: Fetched,
    pub writes: Writes,
}

impl<'a> View<'a> {
    pub(crate) fn new(shelf: &'a Shelf, fetched: &'a Fetched) -> Self {
        Self {
            shelf,
            fetched,
            lacking: RefCell::default(),
            writes: Writes::default(),
        }
    }

    pub(crate) fn end(self) -> Rest {
        Rest {
            lacking: self.lacking.into_inner(),
            writes: self.writes,
        }
    }

    fn written(&self, key: &[u8]) -> Option<Option<Found>> {
        if let Some(value) = self.writes.keys.get(key) {
            return Some(value.clone().map(|value| Found {
                value,
                made: self.shelf.get(key).map_or(PENDING, |found| found.made),
                changed: PENDING,
            }));
        }
        self.writes.has_cleared(key).then_some(None)
    }
}

impl Space for View<'_> {
    type Error = Unseen;

    fn revision(&self) -> Result<u64, Unseen> {
        Ok(self.shelf.revision())
    }

    fn get(&self, key: &[u8]) -> Result<Option<Found>, Unseen> {
        if let Some(written) = self.written(key) {
            return Ok(written);
        }
        if !self.fetched.keys.contains(key) {
            self.lacking.borrow_mut().keys.insert(key.to_vec());
            return Err(Unseen::Missing);
        }
        Ok(self.shelf.get(key).cloned())
    }

    fn get_all(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Found>>, Unseen> {
        let all: Vec<_> = keys.iter().map(|key| self.get(key)).collect();
        all.into_iter().collect()
    }

    fn range(&self, range: &Range) -> Result<Vec<Pair>, Unseen> {
        if !self.fetched.ranges.contains(range) {
            self.lacking.borrow_mut().ranges.insert(range.clone());
            return Err(Unseen::Missing);
        }
        let whole = Range {
            limit: u32::MAX,
            ..range.clone()
        };
        let mut pairs = self.shelf.range(&whole);
        pairs.retain(|pair| self.written(&pair.key).is_none());
        let span = range.from.clone()..range.to.clone();
        for (key, _) in self.writes.keys.range(span) {
            if let Some(Some(found)) = self.written(key) {
                let key = key.clone();
                pairs.push(Pair { key, found });
            }
        }
        Ok(in_order(pairs, range))
    }
}

impl Change for View<'_> {
    fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.writes.keys.insert(key, Some(value));
    }

    fn delete(&mut self, key: &[u8]) {
        self.writes.keys.insert(key.to_vec(), None);
    }

    fn delete_under(&mut self, prefix: &[u8]) {
        self.writes.keys.retain(|key, _| !key.starts_with(prefix));
        self.writes.cleared.insert(prefix.to_vec());
    }
}
