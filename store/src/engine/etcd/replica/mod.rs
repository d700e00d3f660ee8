//! This process as one of several stores: its line, its fence, the lines of the others,
//! and how far its watch is (R1 to R4).
//!
//! The tasks in [`beats`] and [`follow`] change it; everybody who answers a
//! gateway asks it.

pub(super) mod beats;
pub(super) mod follow;
pub(super) mod join;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use crate::clock::Clock;
use crate::engine::etcd::cluster::Cluster;
use crate::engine::etcd::replica::join::Standing;
use crate::engine::etcd::transaction::commit::OwnLine;
use crate::replicas::{Fence, LineId, Lines};

/// How long a beat that is wanted at once may take.
const ANSWERED_WITHIN: Duration = Duration::from_secs(3);

/// Why this store serves no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in crate::engine::etcd) enum Lost {
    /// Its line was deleted, because it stood still for too long.
    #[error(
        "another store has taken this one for dead, because it did not write to etcd for over five seconds: this one stops, and begins again when it is started"
    )]
    Line,
    /// The data went back (R8).
    #[error(
        "etcd was restored from a snapshot while this store ran: keys revoked since may be valid again; start a store with --accept-restore if that is meant"
    )]
    Restored,
}

/// This process as a store. Cheap to clone.
#[derive(Clone)]
pub(in crate::engine::etcd) struct Replica(Arc<Inner>);

struct Inner {
    cluster: Cluster,
    id: LineId,
    line: OwnLine,
    clock: Clock,
    started: Instant,
    state: Mutex<State>,
    /// The highest revision that was confirmed by whatever answer (R5).
    seen: AtomicU64,
    /// How far the watch is.
    position: watch::Sender<u64>,
    /// How far the other stores are.
    others: watch::Sender<u64>,
    /// The last revision of which the feed has heard.
    changes: watch::Sender<u64>,
    /// The last own beat that was committed.
    answered: watch::Sender<Option<Answered>>,
    /// The line is to be written now.
    hurry: Notify,
    lost: watch::Sender<Option<Lost>>,
}

pub(in crate::engine::etcd) struct State {
    pub fence: Fence,
    pub lines: Lines,
    /// What the next beat says of the own gateways.
    pub reached: u64,
    /// This store ends in order: it writes its line no more.
    is_leaving: bool,
}

/// A beat that was committed.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine::etcd) struct Answered {
    pub revision: u64,
    pub at: u64,
}

impl Replica {
    /// A store whose line was made.
    pub(in crate::engine::etcd) fn new(
        cluster: Cluster,
        id: LineId,
        line: OwnLine,
        clock: Clock,
    ) -> Self {
        let made = line.made;
        let state = State {
            fence: Fence::default(),
            lines: Lines::default(),
            reached: made,
            is_leaving: false,
        };
        Self(Arc::new(Inner {
            cluster,
            id,
            line,
            clock,
            started: Instant::now(),
            state: Mutex::new(state),
            seen: AtomicU64::new(made),
            position: watch::Sender::new(made),
            others: watch::Sender::new(0),
            changes: watch::Sender::new(made),
            answered: watch::Sender::new(None),
            hurry: Notify::new(),
            lost: watch::Sender::new(None),
        }))
    }

    pub(in crate::engine::etcd) fn cluster(&self) -> &Cluster {
        &self.0.cluster
    }

    pub(in crate::engine::etcd) fn id(&self) -> LineId {
        self.0.id
    }

    pub(in crate::engine::etcd) fn line(&self) -> &OwnLine {
        &self.0.line
    }

    pub(in crate::engine::etcd) fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// Milliseconds since the start of this process's life.
    pub(in crate::engine::etcd) fn now(&self) -> u64 {
        u64::try_from(self.0.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The moment at which [`Self::now`] is so much.
    pub(in crate::engine::etcd) fn at(&self, millis: u64) -> tokio::time::Instant {
        (self.0.started + Duration::from_millis(millis)).into()
    }

    pub(in crate::engine::etcd) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The highest revision that was confirmed: no answer of before is used (R5).
    pub(in crate::engine::etcd) fn seen(&self) -> u64 {
        self.0.seen.load(Ordering::Acquire)
    }

    /// An answer has confirmed this revision.
    pub(in crate::engine::etcd) fn confirm(&self, revision: u64) {
        self.0.seen.fetch_max(revision, Ordering::AcqRel);
    }

    /// Something was written at this revision, after `before` was confirmed: later ones
    /// follow. If not, the data went back (R8).
    pub(in crate::engine::etcd) fn wrote(&self, revision: u64, before: u64) {
        match revision > before {
            true => self.confirm(revision),
            false => self.lose(Lost::Restored),
        }
    }

    /// How far the watch is.
    pub(in crate::engine::etcd) fn position(&self) -> watch::Receiver<u64> {
        self.0.position.subscribe()
    }

    /// The watch has told everything up to this revision.
    pub(in crate::engine::etcd) fn watched(&self, revision: u64) {
        self.confirm(revision);
        let others = self.lock().lines.reached_without(self.0.id);
        self.0.position.send_modify(|at| *at = revision.max(*at));
        self.0.others.send_if_modified(|known| {
            let is_news = *known != others;
            *known = others;
            is_news
        });
    }

    /// Waits until no other store's gateways can accept what was revoked up to this
    /// revision (R4).
    pub(in crate::engine::etcd) async fn others_reached(&self, revision: u64) {
        let mut position = self.position();
        // A line counts only when the watch has passed the revision: until then there
        // may be one of which this store has not heard.
        let _ = position.wait_for(|at| *at >= revision).await;
        let mut others = self.0.others.subscribe();
        let _ = others.wait_for(|reached| *reached >= revision).await;
    }

    /// All own gateways have forgotten what was revoked up to this revision: the line
    /// says so at once.
    pub(in crate::engine::etcd) fn reached(&self, revision: u64) {
        let is_news = {
            let mut state = self.lock();
            let is_news = revision > state.reached;
            state.reached = state.reached.max(revision);
            is_news
        };
        if is_news {
            self.0.hurry.notify_one();
        }
    }

    /// The lines that stood when this store joined.
    pub(in crate::engine::etcd) fn know(&self, lines: &[Standing]) {
        let now = self.now();
        let mut state = self.lock();
        for standing in lines {
            state.lines.written(standing.id, standing.line, now);
        }
    }

    /// Waits until the watch has told of a change after this revision; returns how far
    /// it is.
    pub(in crate::engine::etcd) async fn next_to_tell(&self, told: u64) -> u64 {
        let mut changes = self.0.changes.subscribe();
        let next = changes.wait_for(|at| *at > told).await.map(|at| *at);
        match next {
            Ok(at) => at,
            Err(_) => std::future::pending().await,
        }
    }

    /// Waits until this store may promise something.
    pub(in crate::engine::etcd) async fn current(&self) {
        let mut position = self.position();
        while self.fence_left() == 0 {
            // Each beat that comes back moves it.
            if position.changed().await.is_err() {
                return;
            }
        }
    }

    /// Has a beat written now and waits for it; its revision, or none within a while.
    pub(in crate::engine::etcd) async fn next_beat(&self) -> Option<u64> {
        let mut answered = self.0.answered.subscribe();
        answered.mark_unchanged();
        self.0.hurry.notify_one();
        // The next one may have been sent before: the one after was not.
        for _ in 0..2 {
            tokio::time::timeout(ANSWERED_WITHIN, answered.changed())
                .await
                .ok()?
                .ok()?;
            self.0.hurry.notify_one();
        }
        let at = *answered.borrow();
        at.map(|answered| answered.revision)
    }

    /// A beat was committed.
    pub(in crate::engine::etcd) fn answered(&self, revision: u64) {
        let at = self.now();
        self.0
            .answered
            .send_replace(Some(Answered { revision, at }));
    }

    /// The last beat that was committed.
    pub(in crate::engine::etcd) fn last_answered(&self) -> Option<Answered> {
        *self.0.answered.borrow()
    }

    /// The feed has heard of a change at this revision.
    pub(in crate::engine::etcd) fn told_feed(&self, revision: u64) {
        self.0.changes.send_modify(|at| *at = revision.max(*at));
    }

    /// Waits until the line is to be written before its time.
    pub(in crate::engine::etcd) async fn hurry(&self) {
        self.0.hurry.notified().await;
    }

    /// For how many milliseconds this store may promise something (R2).
    pub(in crate::engine::etcd) fn fence_left(&self) -> u64 {
        let now = self.now();
        match self.lost_now() {
            Some(_) => 0,
            None => self.lock().fence.left(now),
        }
    }

    /// The longest lease that may be granted now (R2).
    pub(in crate::engine::etcd) fn grantable(&self) -> u32 {
        let now = self.now();
        match self.lost_now() {
            Some(_) => 0,
            None => self.lock().fence.grantable(now),
        }
    }

    /// Nothing is promised from now on, and the line is written no more.
    pub(in crate::engine::etcd) fn begin_to_leave(&self) {
        let mut state = self.lock();
        state.fence.lose();
        state.is_leaving = true;
    }

    /// Whether this store ends in order.
    pub(in crate::engine::etcd) fn is_leaving(&self) -> bool {
        self.lock().is_leaving
    }

    /// This store serves no more.
    pub(in crate::engine::etcd) fn lose(&self, why: Lost) {
        self.lock().fence.lose();
        self.0.lost.send_if_modified(|lost| {
            let is_first = lost.is_none();
            lost.get_or_insert(why);
            is_first
        });
    }

    /// Why this store serves no more, if it does not.
    pub(in crate::engine::etcd) fn lost_now(&self) -> Option<Lost> {
        *self.0.lost.borrow()
    }

    /// Waits until this store serves no more.
    pub(in crate::engine::etcd) async fn lost(&self) -> Lost {
        let mut lost = self.0.lost.subscribe();
        let why = lost.wait_for(Option::is_some).await.map(|lost| *lost);
        match why {
            Ok(why) => why.unwrap_or(Lost::Line),
            Err(_) => std::future::pending().await,
        }
    }
}
