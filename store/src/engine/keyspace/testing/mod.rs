//! The engine on an ordered space, in memory, for tests: as the one on etcd, without a
//! network, and alone.

pub(crate) mod shelf;
mod view;

use rekey_protocol::{Digest, Incarnation};

use self::shelf::Shelf;
use self::view::{Fetched, Rest, Unseen, View};
use super::names::{self, Unique};
use super::rows::{self, HistoryId};
use super::space::PENDING;
use super::{KeyspaceTx, Wrap};
use crate::clock::{StoreTime, UnixMillis};
use crate::engine::look::Look;
use crate::operations::{Context, Operation, Read};
use crate::rules::rotation::RotationLimit;

/// Between two ticks.
const TICK_EVERY: i64 = 600_000;

/// Keeps records as they are, so that a test sees them.
pub(crate) struct Plain;

impl Wrap for Plain {
    fn seal(&self, _: &Digest, content: &[u8]) -> Option<Vec<u8>> {
        Some(content.to_vec())
    }

    fn open(&self, _: &Digest, wrapped: &[u8]) -> Option<Vec<u8>> {
        Some(wrapped.to_vec())
    }
}

/// The engine.
pub(crate) struct Keyspace {
    shelf: Shelf,
    transactions: u64,
    ticked: Option<UnixMillis>,
}

/// What came of an operation or a read, and how often it had to be fetched for.
pub(crate) struct Ran<T> {
    pub out: T,
    pub rounds: u32,
}

impl Keyspace {
    /// A history that begins at this revision.
    pub(crate) fn begin(incarnation: Incarnation, revision: u64) -> Self {
        let mut shelf = Shelf::at(revision - 1);
        let mut writes = shelf::Writes::default();
        let history = rows::write(&HistoryId { incarnation }).unwrap();
        writes.keys.insert(names::history(), Some(history));
        shelf.commit(writes);
        Self {
            shelf,
            transactions: 0,
            ticked: None,
        }
    }

    pub(crate) fn shelf(&self) -> &Shelf {
        &self.shelf
    }

    fn context(now: StoreTime) -> Context {
        Context {
            now,
            interval: RotationLimit::HOUR,
        }
    }

    fn unique(&mut self) -> Unique {
        self.transactions += 1;
        // No order of theirs is to be one of the rows.
        let number = self.transactions.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut unique = Unique::default();
        unique[..8].copy_from_slice(&number.to_be_bytes());
        unique
    }

    /// Ticks if it is time.
    pub(crate) fn tick(&mut self, now: UnixMillis) {
        if self.ticked.is_some_and(|at| now.0 - at.0 < TICK_EVERY) {
            return;
        }
        self.ticked = Some(now);
        let unique = self.unique();
        let mut fetched = Fetched::default();
        fetched.keys.insert(names::tick());
        let mut tx = KeyspaceTx::new(View::new(&self.shelf, &fetched), unique, None);
        tx.tick(now).unwrap();
        let writes = tx.into_space().end().writes;
        self.shelf.commit(writes);
    }

    pub(crate) fn run<O: Operation>(
        &mut self,
        operation: &O,
        now: StoreTime,
    ) -> Result<Ran<O::Out>, String> {
        self.tick(now.limit);
        let mut fetched = ahead(&operation.looks_at());
        let mut rounds = u32::from(!fetched.is_empty());
        loop {
            let unique = self.unique();
            let mut tx = KeyspaceTx::new(View::new(&self.shelf, &fetched), unique, Some(&Plain));
            let out = operation.apply(&mut tx, &Self::context(now));
            let Rest { lacking, writes } = tx.into_space().end();
            match out {
                Ok(mut out) => {
                    let revision = self.shelf.commit(writes);
                    O::settle(&mut out, revision);
                    return Ok(Ran { out, rounds });
                }
                Err(Unseen::Impossible(error)) => return Err(error.to_string()),
                Err(Unseen::Missing) => fetched.add(lacking),
            }
            rounds += 1;
        }
    }

    pub(crate) fn read<R: Read>(&self, read: &R, now: StoreTime) -> Ran<R::Out> {
        let mut fetched = ahead(&read.looks_at());
        let mut rounds = u32::from(!fetched.is_empty());
        loop {
            let tx = KeyspaceTx::reading(View::new(&self.shelf, &fetched));
            let out = read.read(&tx, &Self::context(now));
            match out {
                Ok(out) => return Ran { out, rounds },
                Err(Unseen::Impossible(error)) => panic!("{error}"),
                Err(Unseen::Missing) => {
                    let lacking = tx.into_space().end().lacking;
                    fetched.add(lacking);
                }
            }
            rounds += 1;
        }
    }

    /// No row may hold a revision that was not known when it was written.
    pub(crate) fn check_rows(&self) {
        for (key, found) in self.shelf.pairs() {
            let value = String::from_utf8_lossy(&found.value);
            assert!(!value.contains(&PENDING.to_string()), "{key:?}: {value}");
        }
    }
}

fn ahead(looks: &[Look]) -> Fetched {
    let mut fetched = Fetched::default();
    fetched.keys.extend(looks.iter().flat_map(names::of_look));
    fetched
}
