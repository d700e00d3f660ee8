//! The engine around the data in memory: operations take turns, each is begun only if
//! it is still wanted, and the listener hears of it before its asker does.
//!
//! It owns nothing that another process could take, and none of it is there after a
//! restart. So it serves tests, and whoever writes another engine.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rekey_protocol::{Digest, Incarnation};
use tokio::sync::Semaphore;

use super::{MemoryCommit, MemoryData, MemoryStaging};
use crate::clock::Clock;
use crate::engine::import::{ImportError, Importing};
use crate::engine::serve::{EngineSettings, NotReady, Ownership, ReplayPlace, Serve, Started};
use crate::engine::{Engine, Listener, Patience, ReadError, RecordsError, WriteError};
use crate::feed::core::Start;
use crate::feed::{Committed, LaterRevocations, Records};
use crate::metrics::DiskUse;
use crate::operations::feed::ChangesAfter;
use crate::operations::{Context, Operation, Read};

/// An engine that keeps its data in memory. Cheap to clone.
#[derive(Clone)]
pub struct MemoryEngine(Arc<Inner>);

struct Inner {
    data: Mutex<MemoryData>,
    /// One operation at a time, in the order in which they came. It is closed when
    /// the engine is stopped.
    turns: Semaphore,
    clock: Clock,
    listener: Arc<dyn Listener>,
}

impl MemoryEngine {
    /// The data, between two operations.
    pub(super) fn data(&self) -> MutexGuard<'_, MemoryData> {
        self.0.data.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies an operation whose turn it is.
    fn apply<O: Operation>(&self, operation: &O) -> Result<O::Out, WriteError> {
        // S8: a change of an older state is gone when the right one is back.
        if self.0.listener.is_restored() {
            return Err(WriteError::NotServed);
        }
        let now = self.0.clock.now();
        let applied = self.data().run_at(operation, now);
        let MemoryCommit {
            result,
            revision,
            revoked,
            imported,
        } = applied.map_err(|error| {
            tracing::error!(%error, "a change failed and is undone");
            WriteError::RolledBack
        })?;
        // Before the next turn: in the order of the commits.
        self.0.listener.committed(Committed {
            revision,
            revoked,
            imported,
        });
        Ok(result)
    }
}

impl Engine for MemoryEngine {
    async fn run_within<O>(&self, patience: Patience, operation: O) -> Result<O::Out, WriteError>
    where
        O: Operation + Send + Sync + 'static,
        O::Out: Send + 'static,
    {
        let turn = self.0.turns.acquire();
        let turn = match patience {
            Patience::WhileAwaited | Patience::While(_) => turn.await,
            Patience::Until(end) => tokio::time::timeout_at(end.into(), turn)
                .await
                .map_err(|_| WriteError::NotBegun)?,
        };
        let _turn = turn.map_err(|_| WriteError::Stopping)?;
        // From here on nothing waits, so that a future that is dropped has not begun it.
        let is_wanted = match &patience {
            Patience::While(is_wanted) => is_wanted(),
            Patience::WhileAwaited | Patience::Until(_) => true,
        };
        match is_wanted {
            true => self.apply(&operation),
            false => Err(WriteError::NotBegun),
        }
    }

    async fn read<R>(&self, read: R) -> Result<R::Out, ReadError>
    where
        R: Read + Send + Sync + 'static,
        R::Out: Send + 'static,
    {
        let now = self.0.clock.now();
        let seen = self.data().read_at(&read, now);
        seen.map_err(|error| {
            tracing::error!(%error, "a read failed");
            ReadError::Failed
        })
    }

    async fn stop(&self) {
        // Those that wait are before this in the line.
        let last = self.0.turns.acquire().await;
        self.0.turns.close();
        drop(last);
    }
}

impl Records for MemoryEngine {
    type Error = RecordsError;

    async fn changes_after(&self, revision: u64) -> Result<LaterRevocations, RecordsError> {
        Ok(self.read(ChangesAfter(revision)).await?)
    }

    fn grantable(&self) -> Option<u32> {
        Some(rekey_protocol::LEASE_CAP_MS)
    }

    async fn record_lease(&self, lease_ms: u32) -> Result<(), RecordsError> {
        let recorded = self.data().record_lease(lease_ms);
        Ok(recorded.map_err(|_| WriteError::RolledBack)?)
    }
}

impl Serve for MemoryEngine {
    /// Nowhere else than in this process.
    type Location = ();

    async fn start<L: Listener + Clone>(
        settings: EngineSettings<()>,
        listen: impl FnOnce(Start) -> L + Send,
    ) -> anyhow::Result<Started<Self, L>> {
        let mut id = [0; 16];
        getrandom::fill(&mut id)?;
        let mut data = MemoryData::new(settings.interval);
        if matches!(settings.replays, ReplayPlace::Off) {
            data.keep_no_replays();
        }
        let clock = Clock::resume(None);
        let begins = data.start(Incarnation(id), clock.now().told, settings.older_data)?;
        let listener = listen(begins);
        let engine = Self(Arc::new(Inner {
            data: Mutex::new(data),
            turns: Semaphore::new(1),
            clock,
            listener: Arc::new(listener.clone()),
        }));
        let ownership = Ownership {
            ended: Box::pin(std::future::pending()),
            release: Box::pin(std::future::ready(Ok(()))),
        };
        Ok(Started {
            engine,
            ownership,
            listener,
            unfinished_imports: Vec::new(),
        })
    }

    fn context(&self) -> Context {
        let interval = self.data().interval();
        Context {
            now: self.0.clock.now(),
            interval,
        }
    }

    async fn ready(&self) -> Result<(), NotReady> {
        Ok(())
    }

    fn disk_use(&self) -> Option<DiskUse> {
        None
    }

    fn takes_first_use(&self, digest: &Digest) -> bool {
        self.data().kept.takes_first_use(digest)
    }

    fn await_first_use(&self, digest: &Digest) {
        self.data().kept.await_first_use(digest);
    }
}

impl Importing for MemoryEngine {
    type Staging = MemoryStaging;

    fn stage(&self) -> Result<MemoryStaging, ImportError> {
        Ok(MemoryStaging::new(self.clone()))
    }

    fn free_bytes(&self) -> Option<u64> {
        None
    }
}
