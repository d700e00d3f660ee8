//! The engine on etcd as a subject of the suite: one etcd for all tests of the process,
//! and a prefix for each.

use std::fmt::Debug;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rekey_testbed::etcd;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use super::subject::{NoFeed, Subject};
use crate::clock::{StoreTime, UnixMillis};
use crate::engine::etcd::{Access, Etcd, Location};
use crate::engine::serve::{EngineSettings, Ownership, ReplayPlace, Serve, Started};
use crate::engine::tx::PENDING;
use crate::metrics::Metrics;
use crate::operations::incarnation::OlderData;
use crate::operations::{Operation, Read};
use crate::rules::rotation::RotationLimit;

/// The one etcd, as long as any test needs it.
pub(super) struct SharedEtcd {
    etcd: etcd::Etcd,
    _folder: TempDir,
}

static SHARED: Mutex<Weak<SharedEtcd>> = Mutex::new(Weak::new());
static PREFIXES: AtomicU32 = AtomicU32::new(0);

impl SharedEtcd {
    fn get() -> Arc<Self> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = shared.upgrade() {
            return running;
        }
        let folder = tempfile::tempdir().unwrap();
        let started = Arc::new(Self {
            etcd: etcd::Etcd::start(folder.path(), 1).unwrap(),
            _folder: folder,
        });
        *shared = Arc::downgrade(&started);
        started
    }

    /// A place that no other test has.
    pub(super) fn settings(&self) -> EngineSettings<Location> {
        let number = PREFIXES.fetch_add(1, Ordering::Relaxed);
        let address = format!("{}/test{number}", self.etcd.address());
        EngineSettings {
            place: Location {
                address: address.parse().unwrap(),
                access: Access {
                    wrapping: vec![[7; 32].into()],
                    ..Access::default()
                },
            },
            older_data: OlderData::Refused,
            replays: ReplayPlace::Beside {
                memory: "/nowhere".into(),
            },
            interval: RotationLimit::HOUR,
            metrics: Arc::new(Metrics::new()),
        }
    }
}

/// The engine on etcd.
pub(super) struct OnEtcd {
    engine: Etcd,
    begun: UnixMillis,
    /// The last tick: here the time on record is that of every operation.
    ticked: UnixMillis,
    runtime: Runtime,
    _ownership: Ownership,
    _shared: Arc<SharedEtcd>,
}

impl OnEtcd {
    fn new() -> Self {
        let shared = SharedEtcd::get();
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let started = runtime.block_on(Etcd::start(shared.settings(), |_| NoFeed));
        let Started {
            engine, ownership, ..
        } = started.unwrap();
        Self {
            engine,
            begun: UnixMillis::wall(),
            ticked: UnixMillis(0),
            runtime,
            _ownership: ownership,
            _shared: shared,
        }
    }
}

impl Subject for OnEtcd {
    fn begun(&self) -> UnixMillis {
        self.begun
    }

    fn run<O>(&mut self, operation: O, now: StoreTime) -> Result<O::Out, String>
    where
        O: Operation + Send + Sync + 'static,
        O::Out: Debug + Send + 'static,
    {
        if self.ticked < now.limit {
            self.ticked = now.limit;
            self.runtime.block_on(self.engine.tick_at(now)).unwrap();
        }
        let done = self.runtime.block_on(self.engine.run_at(operation, now));
        let out = done.map_err(|error| error.to_string())?;
        let text = format!("{out:?}");
        assert!(!text.contains(&PENDING.to_string()), "{text}");
        Ok(out)
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

/// Runs a test on etcd.
pub(super) fn on_etcd(test: impl FnOnce(&mut OnEtcd)) {
    test(&mut OnEtcd::new());
}
