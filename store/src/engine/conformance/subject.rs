//! The engines that the suite runs on, each with a time that the tests set.

use rekey_protocol::Incarnation;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use crate::clock::{StoreTime, UnixMillis};
use crate::engine::memory::MemoryData;
use crate::engine::rows::KnownPast;
use crate::engine::serve::{Ownership, ReplayPlace, Serve, Started};
use crate::engine::sqlite::Sqlite;
use crate::engine::sqlite::probing::settings;
use crate::engine::{Listener, ReadTx};
use crate::feed::Committed;
use crate::operations::incarnation::OlderData;
use crate::operations::{Context, Operation, Read};
use crate::rules::rotation::RotationLimit;

/// An engine of which an incarnation has begun.
pub(super) trait Subject {
    /// When it has: a time not before any in its data.
    fn begun(&self) -> UnixMillis;
    /// Carries an operation out, at this moment.
    fn run<O>(&mut self, operation: O, now: StoreTime) -> Result<O::Out, String>
    where
        O: Operation + Send + 'static,
        O::Out: Send + 'static;
    /// Looks, at this moment.
    fn read<R>(&self, read: R, now: StoreTime) -> R::Out
    where
        R: Read + Send + 'static,
        R::Out: Send + 'static;

    /// What the data knows of the past.
    fn known_past(&self) -> KnownPast {
        self.read(ReadPast, StoreTime::both(self.begun()))
    }
}

struct ReadPast;

impl Read for ReadPast {
    type Out = KnownPast;

    fn read<T: ReadTx>(&self, tx: &T, _: &Context) -> Result<KnownPast, T::Error> {
        tx.known_past()
    }
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

    fn run<O: Operation>(&mut self, operation: O, now: StoreTime) -> Result<O::Out, String> {
        let done = self.engine.run_at(&operation, now);
        done.map(|done| done.result)
            .map_err(|error| error.to_string())
    }

    fn read<R: Read>(&self, read: R, now: StoreTime) -> R::Out {
        self.engine.read_at(&read, now).unwrap()
    }
}

/// Runs a test on the engine in memory.
pub(super) fn on_memory(test: impl FnOnce(&mut OnMemory)) {
    test(&mut OnMemory::new());
}

/// Hears of commits, and tells nobody.
#[derive(Clone)]
struct NoFeed;

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
        O: Operation + Send + 'static,
        O::Out: Send + 'static,
    {
        let done = self.runtime.block_on(self.engine.run_at(operation, now));
        done.map_err(|error| error.to_string())
    }

    fn read<R>(&self, read: R, now: StoreTime) -> R::Out
    where
        R: Read + Send + 'static,
        R::Out: Send + 'static,
    {
        let seen = self.runtime.block_on(self.engine.read_at(read, now));
        seen.unwrap()
    }
}

/// Runs a test on the SQLite engine.
pub(super) fn on_sqlite(test: impl FnOnce(&mut OnSqlite)) {
    test(&mut OnSqlite::new());
}
