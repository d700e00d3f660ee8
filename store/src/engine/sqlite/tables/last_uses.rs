//! When keys were last used, to the hour. Gateways tell it with their polls for
//! the keys that they know; a look-up for a client is a use by itself. Users see
//! it on their profile, the operator in the list of users.
//!
//! Nobody waits for it. What is heard is kept in memory and written some moments
//! later: one change a second for all keys together, of [`MOST_ROWS`] rows. A key
//! takes one row an hour, so a million active keys are a million rows an hour.
//! Where more comes than that, it is written later, and gateways are told to keep
//! theirs ([`LastUses::room`]). A store that crashes forgets what it had not
//! written; the key's next hour tells it again.
//!
//! It is no change of a key: it has no revision, and no poll wakes for it.

use std::collections::{BTreeMap, HashSet};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rekey_protocol::{Digest, KeyUse, USED_MOST};
use rusqlite::{Connection, OptionalExtension, Row};
use tokio::sync::Notify;

use crate::clock::UnixMillis;
use crate::engine::WriteError;
use crate::engine::rows::LastUse;
use crate::engine::sqlite::writer::Writer;
use crate::metrics::Metrics;
use crate::operations::Kind;

/// How exact it is, in milliseconds.
const HOUR_MS: i64 = 3600 * 1000;
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

/// From `last_used_ms`, and the next column: whether the key is newer than the
/// database's knowledge of uses.
pub fn read(row: &Row<'_>, index: usize) -> rusqlite::Result<LastUse> {
    let last: Option<i64> = row.get(index)?;
    let is_newer: bool = row.get(index + 1)?;
    Ok(match last {
        // The clock may have been ahead when it was written.
        Some(hour) => LastUse::HourFrom(UnixMillis(hour).min(hour_of(UnixMillis::wall()))),
        None if is_newer => LastUse::Never,
        None => LastUse::NotKnown,
    })
}

/// When this key was last used, whether or not it is still good; `None`: no such
/// key.
pub fn of_key(connection: &Connection, digest: &Digest) -> rusqlite::Result<Option<LastUse>> {
    connection
        .prepare_cached(
            "SELECT k.last_used_ms, k.created_ms > m.last_uses_since_ms
             FROM keys k, meta m WHERE k.digest = ?1",
        )?
        .query_row([digest.as_bytes()], |row| read(row, 0))
        .optional()
}

/// Last uses on their way to the database. Cheap to clone.
#[derive(Clone)]
pub struct LastUses(Arc<Shared>);

struct Shared {
    heard: Mutex<Heard>,
    some: Notify,
    writer: Writer,
    metrics: Arc<Metrics>,
}

/// By key, the hour of its last use.
type Batch = BTreeMap<Digest, UnixMillis>;

#[derive(Default)]
struct Heard {
    waiting: Batch,
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

impl LastUses {
    /// Writes down in the background what is heard, for as long as the writer takes
    /// changes. To be called within a runtime.
    pub fn start(writer: Writer, metrics: Arc<Metrics>) -> Self {
        let last_uses = Self(Arc::new(Shared {
            heard: Mutex::default(),
            some: Notify::new(),
            writer,
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
        let rows = batch.clone();
        let change = self.0.writer.change(Kind::Admin, move |transaction, _| {
            record(transaction, UnixMillis::wall(), &rows)
        });
        let written = change.await;
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

impl Shared {
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
    fn take(&mut self, most: usize) -> Batch {
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

    fn note_recorded(&mut self, batch: &Batch) {
        for (digest, hour) in batch {
            if *hour == self.hour && self.recorded.len() < MOST_RECORDED {
                self.recorded.insert(short(digest));
            }
        }
    }

    /// Returns how many there was no room for.
    fn put_back(&mut self, batch: Batch) -> u64 {
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

/// The beginning of the hour.
fn hour_of(at: UnixMillis) -> UnixMillis {
    UnixMillis(at.0 - at.0.rem_euclid(HOUR_MS))
}

/// Of 64 bits: two of a million keys share them once in millions of such stores.
fn short(digest: &Digest) -> u64 {
    let bytes = digest.as_bytes().first_chunk();
    u64::from_be_bytes(bytes.copied().unwrap_or_default())
}

/// At once when something comes, and then once a second for as long as there is
/// more.
async fn write_down(last_uses: LastUses) {
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

/// Moves last uses forwards; one that a wrong clock put behind `now` is replaced.
/// Of a key that is dead, uses until its end count: a gateway may tell them
/// later. Returns how many rows were written.
fn record(transaction: &Connection, now: UnixMillis, batch: &Batch) -> rusqlite::Result<u64> {
    let mut update = transaction.prepare_cached(
        "UPDATE keys SET last_used_ms = min(?2, ifnull(revoked_ms - revoked_ms % ?4, ?2))
         WHERE digest = ?1 AND (last_used_ms IS NULL OR last_used_ms > ?3
             OR last_used_ms < min(?2, ifnull(revoked_ms - revoked_ms % ?4, ?2)))",
    )?;
    let mut written = 0;
    for (digest, hour) in batch {
        let now = hour_of(now).0;
        written += update.execute((digest.as_bytes(), hour.0, now, HOUR_MS))?;
    }
    Ok(u64::try_from(written).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
