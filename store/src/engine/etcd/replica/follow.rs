//! Follows what all stores change, in the order of the revisions: tombstones for the
//! feed, the lines of all stores, imports (R2, R4, R7).
//!
//! A watch that says nothing may be up to date, or at a member that is cut off. Only the
//! own beats tell: they are under the watched prefix, so one that comes back proves that
//! everything before it has come, too. Where a beat was committed and does not come back,
//! the watch is opened again at another member, after the last revision that was told.

use std::time::Duration;

use etcd_client::{Event, EventType, WatchOptions, WatchResponse, WatchStream};
use rekey_protocol::{Digest, Revocation};

use crate::engine::Listener;
use crate::engine::etcd::replica::{Lost, Replica};
use crate::engine::etcd::rows::{GONE, HISTORY, IMPORTS, LINES, LineRow, line_of};
use crate::feed::Committed;
use crate::replicas::Line;

/// How long after a beat was committed it may be missing on the watch, in milliseconds.
const LATE_MS: u64 = 1_500;
/// Between two looks at that.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Between two tries to open a watch.
const BREATHE: Duration = Duration::from_millis(100);

/// Follows from the revision after `position`, as long as this store serves.
pub(in crate::engine::etcd) async fn follow<L: Listener>(
    replica: Replica,
    listener: L,
    position: u64,
) {
    let mut position = position;
    let mut member = 0;
    while replica.lost_now().is_none() {
        let members = replica.cluster().members();
        let Some(chosen) = members.get(member % members.len().max(1)) else {
            return;
        };
        let span = replica.cluster().watched();
        let from = i64::try_from(position.saturating_add(1)).unwrap_or(i64::MAX);
        let options = WatchOptions::new()
            .with_range(span.to)
            .with_start_revision(from);
        match chosen.watch(span.from, options).await {
            Ok(stream) => {
                let end = told(&replica, &listener, stream, &mut position).await;
                tracing::debug!(member = chosen.url(), ?end, "a watch has ended");
                if end == End::Compacted {
                    // What was missed cannot be told any more.
                    return replica.lose(Lost::Line);
                }
            }
            Err(error) => tracing::debug!(%error, member = chosen.url(), "no watch"),
        }
        member += 1;
        tokio::time::sleep(BREATHE).await;
    }
}

/// Why a watch has ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// The member or the connection is gone, or it refuses.
    Broken,
    /// A beat that was committed has not come back.
    Late,
    /// What is to come next is not kept any more.
    Compacted,
    /// This store serves no more.
    Lost,
}

async fn told<L: Listener>(
    replica: &Replica,
    listener: &L,
    mut stream: WatchStream,
    position: &mut u64,
) -> End {
    let mut looks = tokio::time::interval(LOOK_EVERY);
    let opened = replica.now();
    loop {
        tokio::select! {
            message = stream.message() => {
                let Ok(Some(message)) = message else {
                    return End::Broken;
                };
                if message.compact_revision() > 0 {
                    return End::Compacted;
                }
                if message.canceled() {
                    return End::Broken;
                }
                take(replica, listener, &message, position);
            }
            _ = looks.tick() => {
                if replica.lost_now().is_some() {
                    return End::Lost;
                }
                let now = replica.now();
                let answered = replica.last_answered();
                let is_late = answered.is_some_and(|beat| {
                    beat.revision > *position && now > beat.at.max(opened) + LATE_MS
                });
                if is_late {
                    return End::Late;
                }
            }
        }
    }
}

/// Takes the events of a message, which are whole revisions in their order.
fn take<L: Listener>(replica: &Replica, listener: &L, message: &WatchResponse, position: &mut u64) {
    let mut events = message.events().iter().peekable();
    while let Some(event) = events.peek() {
        let revision = revision_of(event);
        let mut change = Change::default();
        while let Some(event) = events.next_if(|event| revision_of(event) == revision) {
            change.take(replica, event);
        }
        // Once: a watch that was opened again begins after what was told.
        if revision <= *position {
            continue;
        }
        // The feed knows before the position moves, because answers wait for that (S2).
        if !change.revoked.is_empty() || change.imported.is_some() {
            listener.committed(Committed {
                revision,
                revoked: change.revoked,
                imported: change.imported,
            });
            replica.told_feed(revision);
        }
        *position = revision;
        replica.watched(revision);
    }
}

/// What one transaction has changed, as far as the feed and the lines need it.
#[derive(Default)]
struct Change {
    revoked: Vec<Revocation>,
    imported: Option<u64>,
}

impl Change {
    fn take(&mut self, replica: &Replica, event: &Event) {
        let Some(kv) = event.kv() else {
            return;
        };
        let Some(key) = replica.cluster().key(kv.key()) else {
            return;
        };
        let is_put = event.event_type() == EventType::Put;
        let revision = revision_of(event);
        match key.first() {
            Some(&GONE) if is_put => {
                let digest = key.get(1..).and_then(|digest| digest.try_into().ok());
                if let Some(digest) = digest {
                    self.revoked.push(Revocation {
                        digest: Digest::from_bytes(digest),
                        revision,
                        replayable: gone_is_replayable(kv.value()),
                    });
                }
            }
            Some(&LINES) => line_changed(replica, key, is_put.then_some(kv)),
            Some(&IMPORTS) if is_put => self.imported = Some(revision),
            _ if key == HISTORY => replica.lose(Lost::Restored),
            _ => {}
        }
    }
}

fn line_changed(replica: &Replica, key: &[u8], written: Option<&etcd_client::KeyValue>) {
    let Some(id) = line_of(key) else {
        return;
    };
    let now = replica.now();
    let row = written.and_then(|kv| {
        let row: LineRow = serde_json::from_slice(kv.value()).ok()?;
        Some((kv, row))
    });
    let Some((kv, row)) = row else {
        replica.lock().lines.deleted(id);
        if id == replica.id() {
            replica.lose(Lost::Line);
        }
        return;
    };
    let line = Line {
        made: u64::try_from(kv.create_revision()).unwrap_or_default(),
        changed: u64::try_from(kv.mod_revision()).unwrap_or_default(),
        reached: row.reached,
        ttl_ms: row.ttl_ms,
    };
    let mut state = replica.lock();
    state.lines.written(id, line, now);
    if id == replica.id() {
        state.fence.seen(row.beat);
    }
}

fn revision_of(event: &Event) -> u64 {
    let revision = event.kv().map_or(0, |kv| kv.mod_revision());
    u64::try_from(revision).unwrap_or_default()
}

/// Whether the rotation that ended this key can be answered again.
fn gone_is_replayable(value: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Gone {
        #[serde(default)]
        replay_until: Option<i64>,
    }
    serde_json::from_slice::<Gone>(value).is_ok_and(|gone| gone.replay_until.is_some())
}
