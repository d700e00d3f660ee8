//! The key store, on whatever engine: the feed, the uses that wait to be written down,
//! and the one import. What it is asked for by name is an operation, which callers hand
//! to the [`KeyStore::engine`] themselves.

pub mod import;
pub mod issue;
pub mod uses;

use std::sync::Arc;

use rekey_protocol::{Digest, ResolvedState};
use tokio::sync::Semaphore;

use crate::clock::StoreTime;
use crate::engine::ReadError;
use crate::engine::chosen::ChosenEngine;
use crate::engine::import::Importing;
use crate::engine::serve::{EngineSettings, NotReady, Ownership, Serve, Started};
use crate::feed::Feed;
use crate::operations::keys::replays::NoteFirstUse;
use crate::operations::keys::{Resolve, Resolved, ResolvedAt, Unknown};
use crate::rules::rotation::RotationLimit;

use uses::{LastUses, OldKeys};

/// The key store of the server.
pub type Store = KeyStore<ChosenEngine>;

/// A key store that serves. Cheap to clone.
#[derive(Clone)]
pub struct KeyStore<E> {
    engine: E,
    feed: Feed,
    imports: Arc<Semaphore>,
    old_keys: OldKeys<E>,
    last_uses: LastUses<E>,
}

/// A key store that was started.
pub struct Running<E> {
    /// The key store.
    pub store: KeyStore<E>,
    /// What must outlive it.
    pub ownership: Ownership,
}

impl<E: Serve + Importing> KeyStore<E> {
    /// Starts the engine and what stands on it. An error is for the operator.
    pub async fn start(settings: EngineSettings<E::Location>) -> anyhow::Result<Running<E>> {
        let metrics = settings.metrics.clone();
        let listen = |start| Feed::new(start, metrics.clone());
        let Started {
            engine,
            ownership,
            listener,
            unfinished_imports,
        } = E::start(settings, listen).await?;
        let store = Self {
            old_keys: OldKeys::start(engine.clone(), metrics.clone()),
            last_uses: LastUses::start(engine.clone(), metrics),
            engine,
            feed: listener,
            imports: Arc::new(Semaphore::new(1)),
        };
        if let (false, Ok(permit)) = (unfinished_imports.is_empty(), store.import_permit()) {
            for import in unfinished_imports {
                tokio::spawn(store.clone().finish(import, permit.clone()));
            }
        }
        tokio::spawn(store.clone().tell_others());
        Ok(Running { store, ownership })
    }
}

impl<E: Serve> KeyStore<E> {
    /// What keeps the data: it runs operations.
    pub fn engine(&self) -> &E {
        &self.engine
    }

    /// The change feed.
    pub fn feed(&self) -> &Feed {
        &self.feed
    }

    /// Waits until no gateway can accept what was revoked up to this revision: those of
    /// this store (S7), and those of all others (R4).
    pub async fn barrier(&self, revision: u64) {
        let others = self.engine.others_reached(revision);
        tokio::join!(self.feed.barrier(revision), others);
    }

    /// Tells the other stores how far the gateways of this one are (R1), for ever.
    async fn tell_others(self) {
        let mut told = 0;
        loop {
            told = self.engine.next_to_tell(told).await;
            self.feed.reached(told).await;
            self.engine.tell_reached(told);
        }
    }

    /// Uses of replaced and revoked keys.
    pub fn old_keys(&self) -> &OldKeys<E> {
        &self.old_keys
    }

    /// Last uses of keys.
    pub fn last_uses(&self) -> &LastUses<E> {
        &self.last_uses
    }

    /// How long a user waits between two rotations.
    pub fn interval(&self) -> RotationLimit {
        self.engine.context().interval
    }

    /// The time now, by both clocks.
    pub fn moment(&self) -> StoreTime {
        self.engine.context().now
    }

    /// Who is behind this digest? [`Unknown`]: never issued or imported.
    ///
    /// Gateways ask it for their clients only (G12), so it is a use of the key; the
    /// first one of a new key is noted for its rotation, too.
    pub async fn resolve(&self, digest: Digest) -> Result<Result<ResolvedAt, Unknown>, ReadError> {
        let found = self.engine.read(Resolve(digest)).await?;
        let is_active = |key: &Resolved| key.state == ResolvedState::Active;
        if found.as_ref().is_ok_and(is_active) {
            self.last_uses.looked_up(digest);
            if self.engine.takes_first_use(&digest) {
                self.note_use(digest);
            }
        }
        let context = self.engine.context();
        Ok(found.map(|key| key.at(context.now.limit, context.interval)))
    }

    /// X4: the client has its new key. Off the way of who asked.
    fn note_use(&self, digest: Digest) {
        let engine = self.engine.clone();
        tokio::spawn(async move {
            if let Err(error) = engine.run(NoteFirstUse(digest)).await {
                tracing::warn!(%error, "the use of a new key was not noted");
                engine.await_first_use(&digest);
            }
        });
    }

    /// Whether keys can be resolved and a rotation can commit.
    pub async fn ready(&self) -> Result<(), NotReady> {
        if self.feed.is_restored() {
            return Err(NotReady::Restored);
        }
        self.engine.ready().await
    }

    /// Writes down what waits, and takes no more changes.
    pub async fn stop(&self) {
        self.old_keys.finish().await;
        self.last_uses.finish().await;
        self.engine.stop().await;
    }
}
