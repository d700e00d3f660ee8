//! The engines that the suite runs on, each with a time that the tests set.

use std::fmt::Debug;

use rekey_protocol::Incarnation;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use crate::clock::{StoreTime, UnixMillis};
use crate::engine::Listener;
use crate::engine::keyspace::testing::Keyspace;
use crate::engine::memory::MemoryData;
use crate::engine::rows::KnownPast;
use crate::engine::serve::{Ownership, ReplayPlace, Serve, Started};
use crate::engine::sqlite::Sqlite;
use crate::engine::sqlite::probing::settings;
use crate::engine::tx::PENDING;
use crate::feed::{Committed, Records};
use crate::operations::incarnation::OlderData;
use crate::operations::{Operation, Read};
use crate::rules::rotation::RotationLimit;

/// An engine of which an incarnation has begun.
pub(super) trait Subject {
    /// When it has: a time not before any in its data.
    fn begun(&self) -> UnixMillis;
    /// Carries an operation out, at this moment.
    fn run<O>(&mut self, operation: O, now: StoreTime) -> Result<O::Out, String>
    where
        O: Operation + Send + Sync + 'static,
        O::Out: Debug + Send + 'static;
    /// Looks, at this moment.
    fn read<R>(&self, read: R, now: StoreTime) -> R::Out
    where
        R: Read + Send + Sync + 'static,
        R::Out: Send + 'static;
}

/// An engine whose data one process owns at a time (S10).
pub(super) trait Owner: Subject {
    /// What the data knows of the past.
    fn known_past(&self) -> KnownPast;
    /// Puts a lease on record (S9).
    fn record_lease(&mut self, lease_ms: u32) -> Result<(), String>;
}

/// The engine in memory.
pub(super) struct OnMemory {
    engine: MemoryData,
    begun: UnixMillis,
}

impl OnMemory {
    fn new() -> Self {
        Self::begin(Incarnation([7; 16]), UnixMillis(1_750_000_000_000))
    }

    /// One whose only incarnation has this id and first revision.
    pub(super) fn like(past: &KnownPast) -> Self {
        let [incarnation] = past.reached.incarnations[..] else {
            panic!("not in its first incarnation: {past:?}");
        };
        // The first revision is the wall clock's.
        let wall = i64::try_from(incarnation.first / 1000).unwrap();
        Self::begin(incarnation.id, UnixMillis(wall))
    }

    /// One that has come as far as this key space.
    pub(super) fn beside(keyspace: &OnKeyspace) -> Self {
        let mut memory = Self::begin(KEYSPACE, keyspace.begun);
        memory.go_on_from(keyspace.engine.shelf().revision());
        memory
    }

    /// See [`MemoryData::go_on_from`].
    pub(super) fn go_on_from(&mut self, revision: u64) {
        self.engine.go_on_from(revision);
    }

    fn begin(id: Incarnation, wall: UnixMillis) -> Self {
        let mut engine = MemoryData::new(RotationLimit::HOUR);
        engine.start(id, wall, OlderData::Refused).unwrap();
        Self {
            engine,
            begun: wall,
        }
    }
}

impl Subject for OnMemory {
    fn begun(&self) -> UnixMillis {
        self.begun
    }

    fn run<O>(&mut self, operation: O, now: StoreTime) -> Result<O::Out, String>
    where
        O: Operation,
        O::Out: Debug,
    {
        let done = self.engine.run_at(&operation, now);
        done.map(|done| done.result)
            .map_err(|error| error.to_string())
    }

    fn read<R: Read>(&self, read: R, now: StoreTime) -> R::Out {
        self.engine.read_at(&read, now).unwrap()
    }
}

impl Owner for OnMemory {
    fn known_past(&self) -> KnownPast {
        self.engine.known_past().unwrap()
    }

    fn record_lease(&mut self, lease_ms: u32) -> Result<(), String> {
        let recorded = self.engine.record_lease(lease_ms);
        recorded.map_err(|error| error.to_string())
    }
}

/// Runs a test on the engine in memory.
pub(super) fn on_memory(test: impl FnOnce(&mut OnMemory)) {
    test(&mut OnMemory::new());
}

/// Hears of commits, and tells nobody.
#[derive(Clone)]
pub(super) struct NoFeed;

impl Listener for NoFeed {
    fn committed(&self, _: Committed) {}

    fn is_restored(&self) -> bool {
        false
    }
}

/// The SQLite engine, on a file, with its writer and its readers.
pub(super) struct OnSqlite {
    engine: Sqlite,
    begun: UnixMillis,
    runtime: Runtime,
    _ownership: Ownership,
    _folder: TempDir,
}

impl OnSqlite {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let memory = folder.path().to_owned();
        let settings = settings(folder.path(), ReplayPlace::Beside { memory });
        let started = runtime.block_on(Sqlite::start(settings, |_| NoFeed));
        let Started {
            engine, ownership, ..
        } = started.unwrap();
        // Not before the first revision, which is of a wall clock.
        let begun = UnixMillis::wall();
        Self {
            engine,
            begun,
            runtime,
            _ownership: ownership,
            _folder: folder,
        }
    }
}

impl Subject for OnSqlite {
    fn begun(&self) -> UnixMillis {
        self.begun
    }

    fn run<O>(&mut self, operation: O, now: StoreTime) -> Result<O::Out, String>
    where
        O: Operation + Send + Sync + 'static,
        O::Out: Debug + Send + 'static,
    {
        let done = self.runtime.block_on(self.engine.run_at(operation, now));
        done.map_err(|error| error.to_string())
    }

    fn read<R>(&self, read: R, now: StoreTime) -> R::Out
    where
        R: Read + Send + Sync + 'static,
        R::Out: Send + 'static,
    {
        let seen = self.runtime.block_on(self.engine.read_at(read, now));
        seen.unwrap()
    }
}

impl Owner for OnSqlite {
    fn known_past(&self) -> KnownPast {
        let past = self.runtime.block_on(self.engine.known_past());
        past.unwrap()
    }

    fn record_lease(&mut self, lease_ms: u32) -> Result<(), String> {
        let recorded = self.runtime.block_on(self.engine.record_lease(lease_ms));
        recorded.map_err(|error| error.to_string())
    }
}

/// Runs a test on the SQLite engine.
pub(super) fn on_sqlite(test: impl FnOnce(&mut OnSqlite)) {
    test(&mut OnSqlite::new());
}

/// The history of the key space.
const KEYSPACE: Incarnation = Incarnation([7; 16]);

/// The engine on an ordered space of keys and values, without its network.
pub(super) struct OnKeyspace {
    pub(super) engine: Keyspace,
    begun: UnixMillis,
}

impl OnKeyspace {
    pub(super) fn new() -> Self {
        let begun = UnixMillis(1_750_000_000_000);
        // As far as the one in memory is when its incarnation begins.
        let first = begun.0.unsigned_abs() * 1000;
        let mut engine = Keyspace::begin(KEYSPACE, first);
        engine.tick(begun);
        Self { engine, begun }
    }

    /// Where it stands when something is about to happen now.
    pub(super) fn revision(&mut self, now: StoreTime) -> u64 {
        self.engine.tick(now.limit);
        self.engine.shelf().revision()
    }
}

impl Subject for OnKeyspace {
    fn begun(&self) -> UnixMillis {
        self.begun
    }

    fn run<O>(&mut self, operation: O, now: StoreTime) -> Result<O::Out, String>
    where
        O: Operation,
        O::Out: Debug,
    {
        let out = self.engine.run(&operation, now)?.out;
        let text = format!("{out:?}");
        assert!(!text.contains(&PENDING.to_string()), "{text}");
        Ok(out)
    }

    fn read<R: Read>(&self, read: R, now: StoreTime) -> R::Out {
        self.engine.read(&read, now).out
    }
}

/// Runs a test on the ordered space.
pub(super) fn on_keyspace(test: impl FnOnce(&mut OnKeyspace)) {
    let mut subject = OnKeyspace::new();
    test(&mut subject);
    subject.engine.check_rows();
}
