//! A space in memory that counts as etcd does: one revision for each transaction that
//! changes something, and none for others.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::keyspace::MOST_WRITES;
use crate::engine::keyspace::space::{Found, Order, Pair, Range, after_prefix};

/// What is committed.
#[derive(Debug, Clone)]
pub(crate) struct Shelf {
    pairs: BTreeMap<Vec<u8>, Found>,
    revision: u64,
}

/// What a transaction has written.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    /// None: it is taken out.
    pub keys: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// All that begins with these is taken out first.
    pub cleared: BTreeSet<Vec<u8>>,
}

impl Writes {
    /// Whether it was taken out with all that begin alike.
    pub(crate) fn has_cleared(&self, key: &[u8]) -> bool {
        self.cleared.iter().any(|prefix| key.starts_with(prefix))
    }
}

impl Shelf {
    /// An empty one, at this revision.
    pub(crate) fn at(revision: u64) -> Self {
        Self {
            pairs: BTreeMap::new(),
            revision,
        }
    }

    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<&Found> {
        self.pairs.get(key)
    }

    /// All names, and what is under them.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&Vec<u8>, &Found)> {
        self.pairs.iter()
    }

    pub(crate) fn range(&self, range: &Range) -> Vec<Pair> {
        let span = range.from.clone()..range.to.clone();
        let pairs = self.pairs.range(span).map(|(key, found)| Pair {
            key: key.clone(),
            found: found.clone(),
        });
        in_order(pairs.collect(), range)
    }

    /// Carries out what was written. Returns the revision after it.
    pub(crate) fn commit(&mut self, writes: Writes) -> u64 {
        let count = writes.keys.len() + writes.cleared.len();
        assert!(count <= MOST_WRITES, "{count} writes in one transaction");
        let before = self.pairs.len();
        // As etcd refuses it.
        let twice = writes.keys.keys().find(|key| writes.has_cleared(key));
        assert!(twice.is_none(), "{twice:?} is written and cleared");
        self.pairs.retain(|key, _| !writes.has_cleared(key));
        let mut is_changed = self.pairs.len() != before;
        let next = self.revision + 1;
        for (key, value) in writes.keys {
            let Some(value) = value else {
                is_changed |= self.pairs.remove(&key).is_some();
                continue;
            };
            is_changed = true;
            let made = self.pairs.get(&key).map_or(next, |found| found.made);
            let changed = next;
            let found = Found {
                value,
                made,
                changed,
            };
            self.pairs.insert(key, found);
        }
        if is_changed {
            self.revision = next;
        }
        self.revision
    }
}

/// The pairs that a range asks for, of those between its bounds.
pub(crate) fn in_order(mut pairs: Vec<Pair>, range: &Range) -> Vec<Pair> {
    pairs.retain(|pair| pair.found.made > range.made_after);
    match range.order {
        Order::Ascending => pairs.sort_by(|a, b| a.key.cmp(&b.key)),
        Order::Descending => pairs.sort_by(|a, b| b.key.cmp(&a.key)),
        Order::AsMade => {
            pairs.sort_by(|a, b| (a.found.made, &a.key).cmp(&(b.found.made, &b.key)));
        }
    }
    pairs.truncate(range.limit as usize);
    pairs
}

#[test]
fn a_key_is_made_again_after_it_was_deleted() {
    let mut shelf = Shelf::at(7);
    let write = |shelf: &mut Shelf, value: Option<&[u8]>| {
        let mut writes = Writes::default();
        writes.keys.insert(vec![1], value.map(<[u8]>::to_vec));
        shelf.commit(writes)
    };
    let ages = |shelf: &Shelf| shelf.get(&[1]).map(|found| (found.made, found.changed));
    assert_eq!(write(&mut shelf, None), 7, "nothing is changed by it");
    assert_eq!(write(&mut shelf, Some(b"a")), 8);
    assert_eq!(write(&mut shelf, Some(b"a")), 9);
    assert_eq!(ages(&shelf), Some((8, 9)));
    assert_eq!(write(&mut shelf, None), 10);
    assert_eq!(write(&mut shelf, Some(b"b")), 11);
    assert_eq!(ages(&shelf), Some((11, 11)));
    assert_eq!(after_prefix(&[1, 255]), [2]);
}
