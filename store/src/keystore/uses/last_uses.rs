//! Last uses of keys on their way to the database. Gateways tell them with their
//! polls for the keys that they know; a look-up for a client is a use by itself.
//! Users see it on their profile, the operator in the list of users.
//!
//! Nobody waits for it. What is heard is kept in memory and written some moments
//! later: one change a second for all keys together, of [`MOST_ROWS`] rows. A key
//! takes one row an hour, so a million active keys are a million rows an hour.
//! Where more comes than that, it is written later, and gateways are told to keep
//! theirs ([`LastUses::room`]). A store that crashes forgets what it had not
//! written; the key's next hour tells it again.

use std::collections::HashSet;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rekey_protocol::{Digest, KeyUse, USED_MOST};
use tokio::sync::Notify;

use crate::clock::UnixMillis;
use crate::engine::{Engine, WriteError};
use crate::metrics::Metrics;
use crate::operations::uses::last_uses::{HoursOfUse, RecordLastUses, hour_of};

/// Rows of one change: some milliseconds of the writer, and 1.8 million an hour.
const MOST_ROWS: usize = 500;
/// Uses that wait in memory (I8): some 4 MiB.
const MOST_WAITING: usize = 65_536;
/// Keys that are known to be on record for this hour (I8): some 20 MiB, where so
/// many are used. Others are looked at again, and not written.
const MOST_RECORDED: usize = 1 << 20;
/// Between two times of writing down.
const WRITE_EVERY: Duration = Duration::from_secs(1);
/// For writing down what there is at a stop.
const FINISH: Duration = Duration::from_secs(2);

/// Last uses on their way to the database. Cheap to clone.
pub struct LastUses<E>(Arc<Shared<E>>);

impl<E> Clone for LastUses<E> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

struct Shared<E> {
    heard: Mutex<Heard>,
    some: Notify,
    engine: E,
    metrics: Arc<Metrics>,
}

#[derive(Default)]
struct Heard {
    waiting: HoursOfUse,
    /// The last key that was taken to be written: all get their turn.
    taken: Option<Digest>,
    /// The present hour, and the keys that are on record for it.
    hour: UnixMillis,
    recorded: HashSet<u64>,
}

/// What became of a use that was heard of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heeded {
    Waits,
    /// The hour is on record.
    Known,
    /// There is no room.
    Dropped,
}

impl<E: Engine> LastUses<E> {
    /// Writes down in the background what is heard, for as long as the writer takes
    /// changes. To be called within a runtime.
    pub fn start(engine: E, metrics: Arc<Metrics>) -> Self {
        let last_uses = Self(Arc::new(Shared {
            heard: Mutex::default(),
            some: Notify::new(),
            engine,
            metrics,
        }));
        tokio::spawn(write_down(last_uses.clone()));
        last_uses
    }

    /// Takes what a poll tells that arrived at this moment of the wall clock.
    pub fn told(&self, arrived: UnixMillis, uses: &[KeyUse]) {
        let uses = uses.iter().map(|used| {
            let at = UnixMillis(arrived.0.saturating_sub(used.age_ms.into()));
            (used.digest, at)
        });
        self.hear(arrived, uses);
    }

    /// A gateway has looked this key up for a client, just now.
    pub fn looked_up(&self, digest: Digest) {
        let now = UnixMillis::wall();
        self.hear(now, std::iter::once((digest, now)));
    }

    fn hear(&self, now: UnixMillis, uses: impl Iterator<Item = (Digest, UnixMillis)>) {
        let (mut waits, mut known, mut dropped) = (0, 0, 0);
        {
            let mut heard = self.0.lock();
            for (digest, at) in uses {
                match heard.hear(now, digest, at) {
                    Heeded::Waits => waits += 1,
                    Heeded::Known => known += 1,
                    Heeded::Dropped => dropped += 1,
                }
            }
        }
        self.0.metrics.last_uses("known", known);
        self.0.metrics.last_uses("dropped", dropped);
        if waits > 0 {
            self.0.some.notify_one();
        }
    }

    /// How many uses the next poll of a gateway may tell, if so many poll.
    pub fn room(&self, gateways: usize) -> u32 {
        let room = MOST_WAITING.saturating_sub(self.0.lock().waiting.len());
        let share = (room / gateways.max(1)).min(USED_MOST);
        u32::try_from(share).unwrap_or_default()
    }

    /// Writes down what there is, for the end: for two seconds at most, because a
    /// stop cannot wait for what the next hour tells again.
    pub async fn finish(&self) {
        let all = async {
            while self.flush().await? {}
            Ok::<_, WriteError>(())
        };
        match tokio::time::timeout(FINISH, all).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "last uses of keys were not written down"),
            Err(_) => tracing::warn!("not all last uses of keys were written down in time"),
        }
    }

    /// Writes down as much as one change takes. Returns whether more waits.
    async fn flush(&self) -> Result<bool, WriteError> {
        let batch = self.0.lock().take(MOST_ROWS);
        if batch.is_empty() {
            return Ok(false);
        }
        let record = RecordLastUses {
            uses: batch.clone(),
            now: UnixMillis::wall(),
        };
        let written = self.0.engine.run(record).await;
        let mut heard = self.0.lock();
        match written {
            Ok(written) => {
                heard.note_recorded(&batch);
                let more = !heard.waiting.is_empty();
                drop(heard);
                self.0.metrics.last_uses("recorded", written);
                Ok(more)
            }
            // Perhaps it is on disk; to write it again changes nothing.
            Err(error) => {
                let dropped = heard.put_back(batch);
                drop(heard);
                self.0.metrics.last_uses("dropped", dropped);
                Err(error)
            }
        }
    }
}

impl<E> Shared<E> {
    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Heard {
    fn hear(&mut self, now: UnixMillis, digest: Digest, at: UnixMillis) -> Heeded {
        if self.hour != hour_of(now) {
            self.hour = hour_of(now);
            self.recorded.clear();
        }
        // What is on record for this hour is so for every earlier one.
        if self.recorded.contains(&short(&digest)) {
            return Heeded::Known;
        }
        // Never later than now.
        let hour = hour_of(at).min(self.hour);
        let has_room = self.waiting.len() < MOST_WAITING;
        match self.waiting.get_mut(&digest) {
            Some(known) => *known = hour.max(*known),
            None if has_room => drop(self.waiting.insert(digest, hour)),
            None => return Heeded::Dropped,
        }
        Heeded::Waits
    }

    /// At most so many, from where the last ones ended. In the order of the table,
    /// so that neighbours share a page.
    fn take(&mut self, most: usize) -> HoursOfUse {
        let from = self.taken.map_or(Unbounded, Excluded);
        let behind = self.waiting.range((from, Unbounded));
        let taken: Vec<_> = behind
            .chain(self.waiting.iter())
            .take(most.min(self.waiting.len()))
            .map(|(digest, hour)| (*digest, *hour))
            .collect();
        self.taken = taken.last().map(|(digest, _)| *digest);
        for (digest, _) in &taken {
            self.waiting.remove(digest);
        }
        taken.into_iter().collect()
    }

    fn note_recorded(&mut self, batch: &HoursOfUse) {
        for (digest, hour) in batch {
            if *hour == self.hour && self.recorded.len() < MOST_RECORDED {
                self.recorded.insert(short(digest));
            }
        }
    }

    /// Returns how many there was no room for.
    fn put_back(&mut self, batch: HoursOfUse) -> u64 {
        let mut dropped = 0;
        for (digest, hour) in batch {
            let has_room = self.waiting.len() < MOST_WAITING;
            match self.waiting.get_mut(&digest) {
                Some(newer) => *newer = hour.max(*newer),
                None if has_room => drop(self.waiting.insert(digest, hour)),
                None => dropped += 1,
            }
        }
        dropped
    }
}

/// Of 64 bits: two of a million keys share them once in millions of such stores.
fn short(digest: &Digest) -> u64 {
    let bytes = digest.as_bytes().first_chunk();
    u64::from_be_bytes(bytes.copied().unwrap_or_default())
}

/// At once when something comes, and then once a second for as long as there is
/// more.
async fn write_down<E: Engine>(last_uses: LastUses<E>) {
    loop {
        last_uses.0.some.notified().await;
        match last_uses.flush().await {
            Ok(false) => {}
            Ok(true) => last_uses.0.some.notify_one(),
            Err(WriteError::Stopping) => return,
            Err(error) => {
                tracing::warn!(%error, "last uses of keys were not written down");
                last_uses.0.some.notify_one();
            }
        }
        tokio::time::sleep(WRITE_EVERY).await;
    }
}

#[cfg(test)]
mod tests;
