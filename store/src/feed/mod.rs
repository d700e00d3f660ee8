//! The change feed and the barrier: tells gateways what was revoked, and holds
//! every 200 until none of them can accept the old key (S3 to S9).
//!
//! The decisions are in [`core`], and under it:
//! - [`leases`]: which gateway may trust what until when, and the barrier.
//! - [`history`]: what was revoked, and which cursors can be served.
//! - [`secrets`]: which checksum secrets all gateways accept.
//!
//! This file gives them a clock, a lock, and tasks that wait. It knows no HTTP
//! and no SQL.

pub mod core;
pub mod history;
pub mod leases;
mod records;
pub mod secrets;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rekey_protocol::{ChecksumSecrets, FeedRequest, FeedResponse, GatewayId, Head, Revocation};
use tokio::sync::watch;

use self::core::{BadLease, Barrier, Core, Poll, Start, Step};
pub use self::records::Records;
use self::secrets::{Gateways, SecretsNews, SecretsStanding, Usable};
use crate::engine::Listener;
use crate::metrics::Metrics;
use crate::rules::answers;

/// Waited for instead of a time that the clock cannot show.
const FAR: Duration = Duration::from_secs(3600);
/// Between two warnings of foreign cursors.
const WARN_EVERY_MS: u64 = 60_000;
/// Between two looks at how the checksum secrets of all gateways stand.
const COMPARE_EVERY_MS: u64 = 1_000;

/// The feed. Cheap to clone.
#[derive(Clone)]
pub struct Feed(Arc<FeedState>);

struct FeedState {
    core: Mutex<Core>,
    /// The head's revision, for polls that wait.
    head: watch::Sender<u64>,
    /// The fleet's floor, for rotations that wait.
    floor: watch::Sender<u64>,
    started: Instant,
    /// When a foreign cursor is worth a line in the log again.
    warn_at: AtomicU64,
    /// How many times gateways have told of other secrets, for polls that wait.
    secrets: watch::Sender<u64>,
    /// When to look again at how they stand, also without news.
    compare_at: AtomicU64,
    /// What the operator was told of them; none as long as there was nothing to tell.
    said: Mutex<Option<SecretsStanding>>,
    metrics: Arc<Metrics>,
}

/// What a transaction has left on disk.
#[derive(Debug, Clone)]
pub struct Committed {
    /// The revision after it.
    pub revision: u64,
    /// The keys that it revoked.
    pub revoked: Vec<Revocation>,
    /// The revision of an import that counts since.
    pub imported: Option<u64>,
}

/// What was revoked after a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaterRevocations {
    /// One more than a page at most, in their order.
    pub revocations: Vec<Revocation>,
    /// Where the history stood, in the same snapshot.
    pub head: Head,
}

/// Why a poll was not answered.
#[derive(Debug)]
pub enum PollError<E> {
    /// It asks for too much.
    BadLease(BadLease),
    /// This database is older than what was served from it (S8).
    Restored,
    /// This process may not own the database any more (S10).
    NotOwner,
    /// The database failed.
    Records(E),
}

impl Listener for Feed {
    fn committed(&self, committed: Committed) {
        let revision = committed.revision;
        {
            // Under one lock: no answer may lead a gateway beyond the import without
            // saying so, nor beyond what was revoked with it.
            let mut core = self.0.lock();
            core.committed(revision, committed.revoked);
            if let Some(imported) = committed.imported {
                core.imported(imported);
            }
        }
        self.0.tell_head(revision);
    }

    fn is_restored(&self) -> bool {
        Self::is_restored(self)
    }
}

impl Feed {
    /// A feed that begins now. To be made within a runtime.
    pub fn new(start: Start, metrics: Arc<Metrics>) -> Self {
        if start.restored {
            log_restored();
        }
        let head = start.history.head().revision;
        let state = FeedState {
            core: Mutex::new(Core::new(0, start)),
            head: watch::Sender::new(head),
            floor: watch::Sender::new(0),
            started: Instant::now(),
            warn_at: AtomicU64::new(0),
            secrets: watch::Sender::new(0),
            compare_at: AtomicU64::new(0),
            said: Mutex::default(),
            metrics,
        };
        Self(Arc::new(state))
    }

    /// See [`Core::is_restored`].
    pub fn is_restored(&self) -> bool {
        self.0.lock().is_restored()
    }

    /// The store makes keys, with these checksum secrets.
    pub fn use_secrets(&self, secrets: &ChecksumSecrets) {
        self.0.lock().use_secrets(secrets.prints());
    }

    /// See [`Core::usable_secret`].
    pub fn usable_secret(&self) -> Usable {
        let now = self.0.now();
        self.0.lock().usable_secret(now)
    }

    /// How many gateways follow it.
    pub fn following(&self) -> usize {
        self.0.lock().following()
    }

    /// Whether no gateway can accept what was revoked up to `revision`.
    pub fn is_open(&self, revision: u64) -> bool {
        let now = self.0.now();
        self.0.lock().barrier(now, revision) == Barrier::Open
    }

    /// Waits until no gateway can accept what was revoked up to `revision`
    /// (S7). It takes as long as the longest lease under way with its margin,
    /// at most.
    pub async fn barrier(&self, revision: u64) {
        let began = Instant::now();
        self.reached(revision).await;
        self.0.metrics.barrier(began.elapsed());
    }

    /// As [`Self::barrier`], when nobody is waiting for an answer.
    pub async fn reached(&self, revision: u64) {
        let mut floors = self.0.floor.subscribe();
        loop {
            let barrier = {
                let mut core = self.0.lock();
                let barrier = core.barrier(self.0.now(), revision);
                self.0.metrics.set_gateways(core.following());
                barrier
            };
            let Barrier::Closed { recheck_at } = barrier else {
                break;
            };
            tokio::select! {
                _ = floors.wait_for(|floor| *floor >= revision) => {}
                () = tokio::time::sleep_until(self.0.at(recheck_at)) => {}
            }
        }
    }

    /// Answers a poll, at once or when there is something to tell.
    pub async fn poll<R: Records>(
        &self,
        request: &FeedRequest,
        records: &R,
    ) -> Result<FeedResponse, PollError<R::Error>> {
        let mut poll = Poll::new(request).map_err(PollError::BadLease)?;
        if let Some(cursor) = request.cursor
            && self.0.is_ahead(cursor)
        {
            let caught_up = records.catch_up(cursor.revision).await;
            caught_up.map_err(PollError::Records)?;
        }
        let mut heads = self.0.head.subscribe();
        let mut secrets = self.0.secrets.subscribe();
        loop {
            let step = self.0.step(&mut poll);
            if let Some(cursor) = poll.take_foreign() {
                self.0.warn_of(request.gateway, cursor);
            }
            match step {
                Step::RecordLease(lease_ms) => {
                    let recorded = records.record_lease(lease_ms).await;
                    recorded.map_err(PollError::Records)?;
                    self.0.lock().lease_recorded(lease_ms);
                }
                Step::Hold { newer_than, until } => {
                    tokio::select! {
                        _ = heads.wait_for(|head| *head > newer_than) => {}
                        _ = secrets.changed() => {}
                        () = tokio::time::sleep_until(self.0.at(until)) => {}
                    }
                }
                Step::ReadAfter(revision) => {
                    let read = records.changes_after(revision).await;
                    let later = read.map_err(PollError::Records)?;
                    poll.read(later.revocations, later.head);
                }
                // S10: a lease is granted only by who owns the database after the poll
                // arrived. So the next owner begins later, and waits it out (S9).
                Step::Answer(mut answer) => {
                    let most = records.grantable().ok_or(PollError::NotOwner)?;
                    answer.granted_ms = answer.granted_ms.min(most);
                    return Ok(answer);
                }
                Step::Restored => return Err(PollError::Restored),
            }
        }
    }
}

impl FeedState {
    fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a cursor of the present incarnation is later than all that was heard of.
    fn is_ahead(&self, cursor: Head) -> bool {
        let head = self.lock().head();
        cursor.incarnation == head.incarnation && cursor.revision > head.revision
    }

    /// Wakes the polls that wait for something newer.
    fn tell_head(&self, revision: u64) {
        self.head.send_if_modified(|head| {
            let newer = *head < revision;
            *head = revision.max(*head);
            newer
        });
    }

    /// Milliseconds since the start. Rounded down, so that a lease is never
    /// believed to be over too early by more than the margin covers.
    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The moment at which [`Self::now`] is so much.
    fn at(&self, millis: u64) -> tokio::time::Instant {
        let at = self.started.checked_add(Duration::from_millis(millis));
        at.unwrap_or_else(|| Instant::now() + FAR).into()
    }

    /// Says that a gateway came from another history: once a minute at most,
    /// for whoever is lost may go on for ever.
    fn warn_of(&self, gateway: GatewayId, cursor: Head) {
        self.metrics.foreign_cursor();
        let now = self.now();
        let due = |at: u64| (at <= now).then_some(now + WARN_EVERY_MS);
        let order = Ordering::Relaxed;
        if self.warn_at.fetch_update(order, order, due).is_ok() {
            tracing::warn!(
                gateway = hex::encode(gateway.0),
                incarnation = hex::encode(cursor.incarnation.0),
                revision = cursor.revision,
                "a gateway followed a history that this database does not know, and begins anew: \
                 it followed another store, or this database is an older backup, in which keys \
                 replaced since are valid again"
            );
        }
    }

    /// Takes a poll on, and tells the rotations that wait how far the fleet is
    /// after it.
    fn step(&self, poll: &mut Poll) -> Step {
        let mut core = self.lock();
        let now = self.now();
        let was_restored = core.is_restored();
        let step = core.step(now, poll);
        if core.is_restored() && !was_restored {
            // Once: every gateway goes on polling.
            log_restored();
        }
        let has_news = core.take_secrets_news() == SecretsNews::Other;
        if has_news {
            self.secrets.send_modify(|times| *times += 1);
        }
        if has_news || now >= self.compare_at.load(Ordering::Relaxed) {
            self.compare_secrets(&core, now);
        }
        let floor = core.floor(now);
        self.metrics.set_gateways(core.following());
        // Told under the lock: an older floor must not be told after a newer.
        self.floor.send_if_modified(|known| {
            let changed = *known != floor;
            *known = floor;
            changed
        });
        step
    }

    /// Looks now and then at how the checksum secrets stand, and tells the operator
    /// of each change.
    fn compare_secrets(&self, core: &Core, now: u64) {
        let Some(standing) = core.secrets_standing(now) else {
            return;
        };
        self.compare_at
            .store(now + COMPARE_EVERY_MS, Ordering::Relaxed);
        self.metrics
            .set_secrets(standing.place, standing.refusing.count);
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = match &*said {
            Some(said) => *said != standing,
            None => !standing.is_fine(),
        };
        if is_news {
            log_secrets(&standing);
            *said = Some(standing);
        }
    }
}

/// Names secrets by their places, never by what they are.
fn log_secrets(standing: &SecretsStanding) {
    let own = standing.own;
    let names = |gateways: &Gateways| {
        let named: Vec<_> = gateways.named.iter().map(|id| hex::encode(id.0)).collect();
        named.join(" ")
    };
    let (refusing, ahead) = (&standing.refusing, &standing.ahead);
    match standing.place {
        Some(0) if ahead.count == 0 => {
            tracing::info!("REKEY_CHECKSUM_SECRET: all gateways accept the newest secret");
        }
        Some(0) => {}
        Some(place) => tracing::warn!(
            gateways = refusing.count,
            named = names(refusing),
            "REKEY_CHECKSUM_SECRET: some gateways refuse keys made with the newest secret here, so \
             keys are made with secret {} of {own} until they know it: let all of them have it at \
             the end of their lists first",
            place + 1
        ),
        None => tracing::error!(
            gateways = refusing.count,
            named = names(refusing),
            "REKEY_CHECKSUM_SECRET: each of the {own} secrets here is refused by some gateway, so \
             no keys are made: give all gateways and this store one secret in common"
        ),
    }
    if ahead.count > 0 {
        tracing::warn!(
            gateways = ahead.count,
            named = names(ahead),
            "REKEY_CHECKSUM_SECRET: some gateways make keys with a secret that this store does not \
             have: give it to the store, too, before they drop the older one"
        );
    }
}

fn log_restored() {
    tracing::error!("nothing is served: {}", answers::RESTORED.message);
}
