//! The change feed and the barrier: tells gateways what was revoked, and holds
//! every 200 until none of them can accept the old key (PROTOCOL S3 to S9).
//!
//! The decisions are in [`leases`] and [`history`]; this file gives them a
//! clock, a lock, and tasks that wait. It knows no HTTP and no SQL.

pub mod history;
pub mod leases;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rekey_protocol::{
    Change, FeedRequest, FeedResponse, Head, LEASE_CAP_MS, LEASE_LEAST_MS, poll_hold_ms,
};
use tokio::sync::watch;

use crate::metrics::Metrics;
use history::{History, Page};
use leases::Leases;

/// How often gateways that are gone are forgotten.
const PRUNE_EVERY: Duration = Duration::from_secs(30);

/// The feed. Cheap to clone.
#[derive(Clone)]
pub struct Feed(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// The head's revision, for polls that wait.
    head: watch::Sender<u64>,
    /// The fleet's floor, for rotations that wait.
    floor: watch::Sender<u64>,
    started: Instant,
    metrics: Arc<Metrics>,
}

struct State {
    leases: Leases,
    history: History,
    /// The longest lease that is on record (S9).
    longest_lease_ms: u32,
    accepted_before: u64,
    /// Whether this is an older backup than the fleet knows, and nobody said
    /// that this is meant.
    restored: bool,
    pruned: Instant,
}

/// What the database knew at the start.
pub struct Start {
    /// The history's lives and its head.
    pub history: History,
    /// The longest lease that an earlier life may have granted.
    pub longest_lease_ms: u32,
    /// Unknown cursors below it are of a history whose loss was accepted.
    pub accepted_before: u64,
}

/// Where the changes of long ago and the leases of an earlier life are kept.
pub trait Records: Sync {
    /// Why it failed.
    type Error;
    /// One more than a page of the revocations after a revision, in their
    /// order, and the head, from one snapshot.
    fn changes_after(
        &self,
        revision: u64,
    ) -> impl Future<Output = Result<(Vec<Change>, Head), Self::Error>> + Send;
    /// Puts a longer lease on record, durably.
    fn record_lease(&self, lease_ms: u32) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// Why a poll was refused: the gateway's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("lease_ms takes {LEASE_LEAST_MS} to {LEASE_CAP_MS}")]
pub struct BadLease;

/// Why a poll was not answered.
#[derive(Debug)]
pub enum PollError<E> {
    /// It asks for too much.
    BadLease(BadLease),
    /// Its cursor is of a history that this database does not remember (S8).
    Restored,
    /// The database failed.
    Records(E),
}

impl Feed {
    /// A feed that begins now. To be made within a runtime.
    pub fn new(start: Start, metrics: Arc<Metrics>) -> Self {
        let leases = Leases::new(0, start.longest_lease_ms);
        let head = start.history.head().revision;
        let shared = Shared {
            state: Mutex::new(State {
                leases,
                history: start.history,
                longest_lease_ms: start.longest_lease_ms,
                accepted_before: start.accepted_before,
                restored: false,
                pruned: Instant::now(),
            }),
            head: watch::Sender::new(head),
            floor: watch::Sender::new(0),
            started: Instant::now(),
            metrics,
        };
        Self(Arc::new(shared))
    }

    /// A transaction is on disk (S2). To be called before anyone is told.
    pub fn committed(&self, revision: u64, changes: Vec<Change>) {
        self.0.lock().history.committed(revision, changes);
        self.0.head.send_if_modified(|head| {
            let newer = *head < revision;
            *head = revision.max(*head);
            newer
        });
    }

    /// Whether a gateway has acknowledged what this database does not remember:
    /// then it is an older backup, or another store's, and serves nothing until
    /// the operator says that this is meant (S8).
    pub fn is_restored(&self) -> bool {
        self.0.lock().restored
    }

    /// Waits until no gateway can accept what was revoked up to `revision`
    /// (S7). It takes as long as the longest lease under way with its margin,
    /// at most.
    pub async fn barrier(&self, revision: u64) {
        let began = Instant::now();
        let mut floors = self.0.floor.subscribe();
        loop {
            let floor = self.0.floor_now();
            if floor.revision >= revision {
                break;
            }
            let recheck = floor.recheck_at.unwrap_or_default();
            let recheck = self.0.started + Duration::from_millis(recheck);
            tokio::select! {
                _ = floors.wait_for(|floor| *floor >= revision) => {}
                () = tokio::time::sleep_until(recheck.into()) => {}
            }
        }
        self.0.metrics.barrier(began.elapsed());
    }

    /// Answers a poll, at once or when there is something to tell.
    pub async fn poll<R: Records>(
        &self,
        request: &FeedRequest,
        records: &R,
    ) -> Result<FeedResponse, PollError<R::Error>> {
        let lease_ms = request.lease_ms;
        if !(LEASE_LEAST_MS..=LEASE_CAP_MS).contains(&lease_ms) {
            return Err(PollError::BadLease(BadLease));
        }
        // S9: on record before it is granted.
        if self.0.lock().longest_lease_ms < lease_ms {
            records
                .record_lease(lease_ms)
                .await
                .map_err(PollError::Records)?;
            let mut state = self.0.lock();
            state.longest_lease_ms = state.longest_lease_ms.max(lease_ms);
        }
        let mut heads = self.0.head.subscribe();
        // S3: registered first; all that the answer says is read after.
        let (registered, cursor) = {
            let mut state = self.0.lock();
            let cursor = request.cursor.filter(|cursor| state.history.knows(*cursor));
            let lost = request.cursor.filter(|_| cursor.is_none());
            if lost.is_some_and(|lost| lost.revision >= state.accepted_before) {
                state.restored = true;
            }
            if state.restored {
                return Err(PollError::Restored);
            }
            let now = self.0.now();
            let acked = cursor.map(|cursor| cursor.revision);
            (
                state.leases.register(now, request.gateway, lease_ms, acked),
                cursor,
            )
        };
        self.0.publish_floor();
        if let Some(cursor) = cursor {
            let hold = Duration::from_millis(poll_hold_ms(lease_ms).into());
            let newer = heads.wait_for(|head| *head > cursor.revision);
            let _ = tokio::time::timeout(hold, newer).await;
        }
        let page = match cursor {
            // A new generation begins at the head, with nothing to forget.
            None => Page::Changes(Vec::new(), self.0.lock().history.head(), true),
            Some(cursor) => self.0.lock().history.after(cursor),
        };
        let (changes, upto, is_head) = match (page, cursor) {
            (Page::Changes(changes, upto, is_head), _) => (changes, upto, is_head),
            (Page::OnDisk, cursor) => {
                let after = cursor.map_or(0, |cursor| cursor.revision);
                let read = records
                    .changes_after(after)
                    .await
                    .map_err(PollError::Records)?;
                let (mut changes, head) = read;
                match history::page(&mut changes, head) {
                    Page::Changes(changes, upto, is_head) => (changes, upto, is_head),
                    Page::OnDisk => (Vec::new(), head, false),
                }
            }
        };
        let granted_ms = self
            .0
            .lock()
            .leases
            .answer(registered, upto.revision, is_head);
        Ok(FeedResponse {
            poll: request.poll,
            changes,
            cursor: upto,
            granted_ms,
            reset: cursor.is_none(),
        })
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Milliseconds since the start. Rounded down, so that a lease is never
    /// believed to be over too early by more than the margin covers.
    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn floor_now(&self) -> leases::Floor {
        let mut state = self.lock();
        let now = self.now();
        if state.pruned.elapsed() >= PRUNE_EVERY {
            state.pruned = Instant::now();
            state.leases.prune(now);
        }
        let floor = state.leases.floor(now);
        self.metrics.set_gateways(state.leases.following());
        floor
    }

    fn publish_floor(&self) {
        let floor = self.floor_now().revision;
        self.floor.send_if_modified(|known| {
            let changed = *known != floor;
            *known = floor;
            changed
        });
    }
}
