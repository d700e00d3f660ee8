//! A table in memory: an ordered map that remembers what the operation under way
//! has replaced.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::collections::btree_map::Range;
use std::ops::RangeBounds;

/// Whatever an operation may change.
pub(super) trait Undo {
    /// The changes are kept; whether there were any.
    fn keep(&mut self) -> bool;
    /// The changes are taken back.
    fn undo(&mut self);
}

/// Rows by their keys.
#[derive(Debug, Clone)]
pub(super) struct Table<K, V> {
    rows: BTreeMap<K, V>,
    /// What was there before each change, in the order of the changes.
    before: Vec<(K, Option<V>)>,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self {
            rows: BTreeMap::new(),
            before: Vec::new(),
        }
    }
}

impl<K: Ord + Clone, V: Clone> Table<K, V> {
    pub(super) fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.rows.get(key)
    }

    pub(super) fn has<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.rows.contains_key(key)
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.rows.iter()
    }

    pub(super) fn range(&self, keys: impl RangeBounds<K>) -> Range<'_, K, V> {
        self.rows.range(keys)
    }

    pub(super) fn last(&self) -> Option<(&K, &V)> {
        self.rows.last_key_value()
    }

    /// Adds a row, or replaces it.
    pub(super) fn put(&mut self, key: K, row: V) {
        let before = self.rows.insert(key.clone(), row);
        self.before.push((key, before));
    }

    /// Adds a row unless there is one; whether it did.
    pub(super) fn add(&mut self, key: K, row: V) -> bool {
        let is_new = !self.has(&key);
        if is_new {
            self.put(key, row);
        }
        is_new
    }

    /// Changes a row, if there is one; whether there is.
    pub(super) fn change(&mut self, key: &K, change: impl FnOnce(&mut V)) -> bool {
        let Some(row) = self.rows.get_mut(key) else {
            return false;
        };
        self.before.push((key.clone(), Some(row.clone())));
        change(row);
        true
    }

    /// Takes a row out; whether there was one.
    pub(super) fn remove(&mut self, key: &K) -> bool {
        let Some(row) = self.rows.remove(key) else {
            return false;
        };
        self.before.push((key.clone(), Some(row)));
        true
    }

    /// Takes all rows out that are chosen.
    pub(super) fn remove_where(&mut self, is_chosen: impl Fn(&K, &V) -> bool) {
        let chosen = self.iter().filter(|(key, row)| is_chosen(key, row));
        let chosen: Vec<_> = chosen.map(|(key, _)| key.clone()).collect();
        for key in chosen {
            self.remove(&key);
        }
    }

    /// Changes all rows that are chosen.
    pub(super) fn change_where(
        &mut self,
        is_chosen: impl Fn(&K, &V) -> bool,
        change: impl Fn(&mut V),
    ) {
        let chosen = self.iter().filter(|(key, row)| is_chosen(key, row));
        let chosen: Vec<_> = chosen.map(|(key, _)| key.clone()).collect();
        for key in chosen {
            self.change(&key, &change);
        }
    }
}

impl<K: Ord, V> Undo for Table<K, V> {
    fn keep(&mut self) -> bool {
        let is_changed = !self.before.is_empty();
        self.before.clear();
        is_changed
    }

    fn undo(&mut self) {
        while let Some((key, before)) = self.before.pop() {
            match before {
                Some(row) => drop(self.rows.insert(key, row)),
                None => drop(self.rows.remove(&key)),
            }
        }
    }
}

/// The one row of a table.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Single<T> {
    row: T,
    before: Option<T>,
}

impl<T: Copy> Single<T> {
    pub(super) fn get(&self) -> T {
        self.row
    }

    pub(super) fn change(&mut self, change: impl FnOnce(&mut T)) {
        self.before.get_or_insert(self.row);
        change(&mut self.row);
    }
}

impl<T> Undo for Single<T> {
    fn keep(&mut self) -> bool {
        self.before.take().is_some()
    }

    fn undo(&mut self) {
        if let Some(before) = self.before.take() {
            self.row = before;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_undone_is_as_it_was() {
        let mut table = Table::default();
        for key in 0..4 {
            table.put(key, "old");
        }
        assert!(table.keep());
        assert!(!table.keep());
        assert!(table.remove(&1));
        table.put(1, "again");
        assert!(table.change(&1, |row| *row = "new"));
        assert!(table.remove(&2));
        assert!(table.add(9, "new") && !table.add(9, "newer"));
        assert!(!table.change(&7, |_| {}) && !table.remove(&7));
        table.undo();
        let rows: Vec<_> = table.iter().map(|(key, row)| (*key, *row)).collect();
        assert_eq!(rows, [(0, "old"), (1, "old"), (2, "old"), (3, "old")]);
        assert!(!table.keep());
    }
}
