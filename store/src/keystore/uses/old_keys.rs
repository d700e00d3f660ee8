//! Uses of old keys on their way from the polls to the database.
//!
//! No poll waits for it. What polls tell is added up in memory and written down
//! some moments later, all of it in one change, so a store that crashes in
//! between forgets a second's worth. It is an estimate for people: a poll whose
//! answer gets lost tells twice.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rekey_protocol::{Digest, RefusedUse};
use tokio::sync::Notify;

use crate::engine::{Engine, WriteError};
use crate::metrics::Metrics;
use crate::operations::uses::old_keys::RecordOldKeyUses;

/// Keys that counts are held of in memory (I8): more than are used within the
/// moments that they stay there, unless gateways make them up.
const MOST_KEYS: usize = 8192;
/// Between two times of writing down.
const WRITE_EVERY: Duration = Duration::from_secs(1);

/// Counts on their way from the polls to the database. Cheap to clone.
pub struct OldKeys<E>(Arc<Shared<E>>);

impl<E> Clone for OldKeys<E> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

struct Shared<E> {
    counts: Mutex<BTreeMap<Digest, u64>>,
    some: Notify,
    engine: E,
    metrics: Arc<Metrics>,
}

impl<E: Engine> OldKeys<E> {
    /// Writes down in the background what [`Self::used`] takes, for as long as the
    /// engine takes changes. To be called within a runtime.
    pub fn start(engine: E, metrics: Arc<Metrics>) -> Self {
        let old_keys = Self(Arc::new(Shared {
            counts: Mutex::default(),
            some: Notify::new(),
            engine,
            metrics,
        }));
        tokio::spawn(write_down(old_keys.clone()));
        old_keys
    }

    /// Takes what a poll tells. Waits for nothing.
    pub fn used(&self, refused: &[RefusedUse]) {
        if refused.is_empty() {
            return;
        }
        let mut dropped = 0;
        {
            let mut counts = self.0.lock();
            for used in refused {
                let has_room = counts.len() < MOST_KEYS;
                match counts.get_mut(&used.digest) {
                    Some(count) => *count += u64::from(used.count),
                    None if has_room => {
                        counts.insert(used.digest, used.count.into());
                    }
                    None => dropped += u64::from(used.count),
                }
            }
        }
        self.0.metrics.old_keys_used("dropped", dropped);
        self.0.some.notify_one();
    }

    /// Writes down what there is, for the end.
    pub async fn finish(&self) {
        if let Err(error) = self.flush().await {
            tracing::warn!(%error, "uses of revoked keys were not written down");
        }
    }

    /// Writes down what there is.
    ///
    /// # Errors
    /// It could not be, and waits for the next time.
    async fn flush(&self) -> Result<(), WriteError> {
        let counts = std::mem::take(&mut *self.0.lock());
        if counts.is_empty() {
            return Ok(());
        }
        let batch = counts.clone();
        match self.0.engine.run(RecordOldKeyUses(batch)).await {
            Ok(recorded) => {
                let all: u64 = counts.values().sum();
                self.0.metrics.old_keys_used("recorded", recorded);
                self.0.metrics.old_keys_used("unknown", all - recorded);
                Ok(())
            }
            // Whether they are on disk is not known: twice is worse than a gap.
            Err(WriteError::Unknown) => Err(WriteError::Unknown),
            Err(error) => {
                let mut held = self.0.lock();
                let mut dropped = 0;
                for (digest, count) in counts {
                    let has_room = held.len() < MOST_KEYS;
                    match held.get_mut(&digest) {
                        Some(held) => *held += count,
                        None if has_room => drop(held.insert(digest, count)),
                        None => dropped += count,
                    }
                }
                drop(held);
                self.0.metrics.old_keys_used("dropped", dropped);
                Err(error)
            }
        }
    }
}

impl<E> Shared<E> {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Digest, u64>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// At once when something comes, and then what has come meanwhile.
async fn write_down<E: Engine>(old_keys: OldKeys<E>) {
    loop {
        old_keys.0.some.notified().await;
        match old_keys.flush().await {
            Ok(()) => {}
            Err(WriteError::Stopping) => return,
            Err(error) => {
                tracing::warn!(%error, "uses of revoked keys were not written down");
                old_keys.0.some.notify_one();
            }
        }
        tokio::time::sleep(WRITE_EVERY).await;
    }
}
