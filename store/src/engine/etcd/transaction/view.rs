//! What one operation sees: a snapshot as far as it was fetched, and over it what the
//! operation has written.
//!
//! The words of a transaction do not wait. Where one looks at something that was not
//! fetched yet, that is noted and the operation ends with [`ViewError::Missing`]. Then
//! what is missing is fetched in the same snapshot, and the operation is applied again
//! from its beginning. It has changed nothing, so nothing is to be undone.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use crate::engine::Impossible;
use crate::engine::etcd::cluster::is_watched;
use crate::engine::keyspace::space::after_prefix;
use crate::engine::keyspace::space::{Change, Found, Order, PENDING, Pair, Range, Space};

/// What is to be fetched.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::engine::etcd) struct Wanted {
    pub keys: BTreeSet<Vec<u8>>,
    pub ranges: BTreeSet<Range>,
}

impl Wanted {
    /// Whether it is nothing.
    pub(in crate::engine::etcd) fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.ranges.is_empty()
    }
}

/// What was fetched of one snapshot.
#[derive(Debug, Clone, Default)]
pub(in crate::engine::etcd) struct Fetched {
    revision: Option<u64>,
    keys: BTreeMap<Vec<u8>, Option<Found>>,
    ranges: BTreeMap<Range, Vec<Pair>>,
}

impl Fetched {
    /// The revision of the snapshot; none: nothing was fetched yet.
    pub(in crate::engine::etcd) fn revision(&self) -> Option<u64> {
        self.revision
    }

    /// It is the snapshot at this revision.
    pub(in crate::engine::etcd) fn at(&mut self, revision: u64) {
        self.revision = Some(revision);
    }

    /// This key was fetched.
    pub(in crate::engine::etcd) fn key(&mut self, key: Vec<u8>, found: Option<Found>) {
        self.keys.insert(key, found);
    }

    /// This range was fetched, in its order.
    pub(in crate::engine::etcd) fn range(&mut self, range: Range, pairs: Vec<Pair>) {
        self.ranges.insert(range, pairs);
    }
}

/// Why a word has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in crate::engine::etcd) enum ViewError {
    /// Something was not fetched yet; it is noted.
    #[error("something was not fetched yet")]
    Missing,
    /// The operation cannot be.
    #[error(transparent)]
    Impossible(#[from] Impossible),
}

/// What was looked at: what must not have changed when the writes are carried out.
#[derive(Debug, Clone, Default)]
pub(in crate::engine::etcd) struct Looked {
    /// Keys, and the revisions that last wrote them; 0: they are not there.
    pub keys: BTreeMap<Vec<u8>, u64>,
    /// Ranges in which nothing may have been written since the snapshot. A key that
    /// was deleted meanwhile is not noticed: no decision of an operation hangs on it.
    pub ranges: BTreeSet<Span>,
}

/// All keys from one up to another, which is not among them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::engine::etcd) struct Span {
    pub from: Vec<u8>,
    pub to: Vec<u8>,
}

/// What is to be written.
#[derive(Debug, Clone, Default)]
pub(in crate::engine::etcd) struct Writes {
    /// Values to be put; none: the key is to be deleted.
    pub keys: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// All that begins with these is to be deleted first.
    pub cleared: BTreeSet<Vec<u8>>,
}

impl Writes {
    /// Whether nothing is to be written.
    pub(in crate::engine::etcd) fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.cleared.is_empty()
    }

    /// Whether every store's watch tells of it.
    pub(in crate::engine::etcd) fn are_watched(&self) -> bool {
        self.keys.keys().any(|key| is_watched(key))
    }
}

/// See the head of this file.
pub(in crate::engine::etcd) struct View<'a> {
    fetched: &'a Fetched,
    wanted: RefCell<Wanted>,
    looked: RefCell<Looked>,
    writes: Writes,
}

/// What is left of a view when its operation has ended.
pub(in crate::engine::etcd) struct Seen {
    pub wanted: Wanted,
    pub looked: Looked,
    pub writes: Writes,
}

impl<'a> View<'a> {
    /// A view of what was fetched, in which nothing is written yet.
    pub(in crate::engine::etcd) fn new(fetched: &'a Fetched) -> Self {
        Self {
            fetched,
            wanted: RefCell::default(),
            looked: RefCell::default(),
            writes: Writes::default(),
        }
    }

    /// What has to be fetched, compared and written.
    pub(in crate::engine::etcd) fn end(self) -> Seen {
        Seen {
            wanted: self.wanted.into_inner(),
            looked: self.looked.into_inner(),
            writes: self.writes,
        }
    }

    fn is_cleared(&self, key: &[u8]) -> bool {
        let mut cleared = self.writes.cleared.iter();
        cleared.any(|prefix| key.starts_with(prefix))
    }

    /// What was fetched of a key.
    fn fetched(&self, key: &[u8]) -> Result<Option<&Found>, ViewError> {
        let Some(found) = self.fetched.keys.get(key) else {
            self.wanted.borrow_mut().keys.insert(key.to_vec());
            return Err(ViewError::Missing);
        };
        let changed = found.as_ref().map_or(0, |found| found.changed);
        let mut looked = self.looked.borrow_mut();
        looked.keys.insert(key.to_vec(), changed);
        Ok(found.as_ref())
    }

    /// What this operation has written under a key; none: nothing.
    fn written(&self, key: &[u8]) -> Option<Option<&Vec<u8>>> {
        let written = self.writes.keys.get(key).map(Option::as_ref);
        written.or_else(|| self.is_cleared(key).then_some(None))
    }

    /// When a key was made that this operation writes, if it was there before.
    fn made(&self, key: &[u8]) -> u64 {
        let before = self.fetched.keys.get(key).and_then(Option::as_ref);
        match before {
            Some(before) if !self.is_cleared(key) => before.made,
            _ => PENDING,
        }
    }

    /// The pairs of a range as they are in the snapshot, and how many of them this
    /// operation has taken out.
    fn laid_over(&self, range: &Range, pairs: &[Pair]) -> Vec<Pair> {
        let stays = |pair: &&Pair| self.written(&pair.key).is_none();
        let mut all: Vec<_> = pairs.iter().filter(stays).cloned().collect();
        let span = range.from.clone()..range.to.clone();
        for (key, value) in self.writes.keys.range(span) {
            let Some(value) = value else {
                continue;
            };
            let made = self.made(key);
            if made > range.made_after {
                let found = Found {
                    value: value.clone(),
                    made,
                    changed: PENDING,
                };
                let key = key.clone();
                all.push(Pair { key, found });
            }
        }
        match range.order {
            Order::Ascending => all.sort_by(|a, b| a.key.cmp(&b.key)),
            Order::Descending => all.sort_by(|a, b| b.key.cmp(&a.key)),
            Order::AsMade => {
                all.sort_by(|a, b| (a.found.made, &a.key).cmp(&(b.found.made, &b.key)))
            }
        }
        all.truncate(range.limit as usize);
        all
    }

    /// How many keys of a range this operation has written: so many more are fetched,
    /// because they may take the place of others, or leave it.
    fn touched(&self, range: &Range) -> u32 {
        let span = range.from.clone()..range.to.clone();
        u32::try_from(self.writes.keys.range(span).count()).unwrap_or(u32::MAX)
    }
}

impl Space for View<'_> {
    type Error = ViewError;

    fn revision(&self) -> Result<u64, ViewError> {
        // Whatever is fetched brings the revision along.
        let known = self.fetched.revision();
        known.ok_or_else(|| {
            let mut wanted = self.wanted.borrow_mut();
            wanted.keys.insert(Vec::new());
            ViewError::Missing
        })
    }

    fn get(&self, key: &[u8]) -> Result<Option<Found>, ViewError> {
        match self.written(key) {
            Some(None) => Ok(None),
            Some(Some(value)) => Ok(Some(Found {
                value: value.clone(),
                made: self.made(key),
                changed: PENDING,
            })),
            None => Ok(self.fetched(key)?.cloned()),
        }
    }

    fn get_all(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Found>>, ViewError> {
        let mut all = Vec::with_capacity(keys.len());
        let mut is_missing = false;
        for key in keys {
            match self.get(key) {
                Ok(found) => all.push(found),
                Err(ViewError::Missing) => is_missing = true,
                Err(error) => return Err(error),
            }
        }
        match is_missing {
            true => Err(ViewError::Missing),
            false => Ok(all),
        }
    }

    fn range(&self, range: &Range) -> Result<Vec<Pair>, ViewError> {
        let more = self.touched(range);
        let asked = Range {
            limit: range.limit.saturating_add(more),
            ..range.clone()
        };
        let Some(pairs) = self.fetched.ranges.get(&asked) else {
            self.wanted.borrow_mut().ranges.insert(asked);
            return Err(ViewError::Missing);
        };
        let span = Span {
            from: range.from.clone(),
            to: range.to.clone(),
        };
        self.looked.borrow_mut().ranges.insert(span);
        Ok(self.laid_over(range, pairs))
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
        let span = prefix.to_vec()..after_prefix(prefix);
        let gone: Vec<_> = self
            .writes
            .keys
            .range(span)
            .map(|(key, _)| key.clone())
            .collect();
        for key in gone {
            self.writes.keys.remove(&key);
        }
        self.writes.cleared.insert(prefix.to_vec());
    }
}
