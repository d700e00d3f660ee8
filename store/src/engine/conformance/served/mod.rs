//! Engines as the server starts them: with their own clock, many askers at a time, and
//! a listener that remembers what it was told.

mod listening;
mod patience;
mod staging;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tempfile::TempDir;
use tokio::sync::mpsc;

use super::{bench, on_every_server};
use crate::engine::import::Importing;
use crate::engine::memory::MemoryEngine;
use crate::engine::serve::{EngineSettings, Ownership, ReplayPlace, Serve};
use crate::engine::sqlite::Sqlite;
use crate::engine::{Engine, Listener, Tx};
use crate::feed::Committed;
use crate::metrics::Metrics;
use crate::operations::incarnation::OlderData;
use crate::operations::keys::ShowKey;
use crate::operations::{Context, Operation};
use crate::rules::rotation::RotationLimit;
use bench::{digest, new_user};

/// What every engine of the server is.
pub(super) trait Served: Serve + Importing {}

impl<E: Serve + Importing> Served for E {}

/// An engine that serves.
pub(super) struct ServedEngine<E> {
    pub engine: E,
    pub overheard: Overheard,
    _ownership: Ownership,
    _folder: TempDir,
}

/// The listener of a test.
#[derive(Clone, Default)]
pub(super) struct Overheard(Arc<Remembered>);

#[derive(Default)]
struct Remembered {
    commits: Mutex<Vec<Committed>>,
    is_restored: AtomicBool,
    /// What the listener waits for before it returns.
    stall: Mutex<Option<Stall>>,
}

struct Stall {
    called: mpsc::UnboundedSender<()>,
    go: std::sync::mpsc::Receiver<()>,
}

impl Overheard {
    /// What it was told so far.
    pub(super) fn commits(&self) -> Vec<Committed> {
        lock(&self.0.commits).clone()
    }

    /// The next call says that it came, and then returns no sooner than told.
    pub(super) fn stall(&self) -> Gate {
        let (called, begun) = mpsc::unbounded_channel();
        let (release, go) = std::sync::mpsc::channel();
        *lock(&self.0.stall) = Some(Stall { called, go });
        Gate { begun, release }
    }

    /// From now on more was served than the data knows (S8).
    pub(super) fn find_restored(&self) {
        self.0.is_restored.store(true, Ordering::SeqCst);
    }
}

impl Listener for Overheard {
    fn committed(&self, committed: Committed) {
        let stall = lock(&self.0.stall).take();
        if let Some(stall) = stall {
            let _ = stall.called.send(());
            let _ = stall.go.recv();
        }
        lock(&self.0.commits).push(committed);
    }

    fn is_restored(&self) -> bool {
        self.0.is_restored.load(Ordering::SeqCst)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Something that has begun and waits for the test.
pub(super) struct Gate {
    begun: mpsc::UnboundedReceiver<()>,
    release: std::sync::mpsc::Sender<()>,
}

impl Gate {
    /// Until it has begun.
    pub(super) async fn begun(&mut self) {
        self.begun.recv().await.unwrap();
    }

    /// Lets it go on.
    pub(super) fn release(self) {
        drop(self.release);
    }
}

/// Adds a user, but waits for the test before it does. All others wait behind it.
pub(super) struct SlowAdd {
    name: &'static str,
    key: u8,
    begun: mpsc::UnboundedSender<()>,
    go: Mutex<std::sync::mpsc::Receiver<()>>,
}

impl SlowAdd {
    pub(super) fn add(name: &'static str, key: u8) -> (Self, Gate) {
        let (begins, begun) = mpsc::unbounded_channel();
        let (release, go) = std::sync::mpsc::channel();
        let slow = Self {
            name,
            key,
            begun: begins,
            go: Mutex::new(go),
        };
        (slow, Gate { begun, release })
    }
}

impl Operation for SlowAdd {
    type Out = ();

    fn apply<T: Tx>(&self, tx: &mut T, cx: &Context) -> Result<(), T::Error> {
        let _ = self.begun.send(());
        let _ = lock(&self.go).recv();
        let added = new_user(self.name, self.key).apply(tx, cx)?;
        added.unwrap();
        Ok(())
    }
}

/// Whether there is this key.
pub(super) async fn is_there(engine: &impl Engine, key: u8) -> bool {
    engine.read(ShowKey(digest(key))).await.unwrap().is_some()
}

async fn start<E: Served>(place: impl FnOnce(&Path) -> E::Location) -> ServedEngine<E> {
    let folder = tempfile::tempdir().unwrap();
    let settings = EngineSettings {
        place: place(folder.path()),
        older_data: OlderData::Refused,
        replays: ReplayPlace::Beside {
            memory: folder.path().to_owned(),
        },
        interval: RotationLimit::HOUR,
        metrics: Arc::new(Metrics::new()),
    };
    let started = E::start(settings, |_| Overheard::default()).await.unwrap();
    ServedEngine {
        engine: started.engine,
        overheard: started.listener,
        _ownership: started.ownership,
        _folder: folder,
    }
}

/// The SQLite engine.
pub(super) async fn on_sqlite() -> ServedEngine<Sqlite> {
    start(|folder| folder.join("rekey.db")).await
}

/// The engine in memory.
pub(super) async fn on_memory() -> ServedEngine<MemoryEngine> {
    start(|_| ()).await
}
