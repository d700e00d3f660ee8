//! The store's own metrics, in Prometheus' text format. No label ever holds
//! what a client sent.

mod outcome;

use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

pub use self::outcome::RotationOutcome;

/// The content type of [`Metrics::render`] (OpenMetrics 1.0).
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    listener: &'static str,
    endpoint: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

/// What the database takes of the disk, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskUse {
    /// The database itself.
    pub database: u64,
    /// The write-ahead log.
    pub log: u64,
    /// What this user may still write there; `None`: the system does not say.
    pub free: Option<u64>,
}

/// All of them.
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    request_seconds: Histogram,
    rotations: Family<OutcomeLabels, Counter>,
    commit_size: Histogram,
    commit_seconds: Histogram,
    failed_commits: Counter,
    left_changes: Counter,
    waiting_changes: Gauge<i64, AtomicI64>,
    revision: Gauge<u64, AtomicU64>,
    barrier_seconds: Histogram,
    gateways: Gauge<u64, AtomicU64>,
    foreign_cursors: Counter,
    secret_in_use: Gauge<u64, AtomicU64>,
    secret_refused: Gauge<u64, AtomicU64>,
    logins: Family<OutcomeLabels, Counter>,
    password_hashes: Counter,
    old_key_uses: Family<OutcomeLabels, Counter>,
    last_uses: Family<OutcomeLabels, Counter>,
    disk: Disk,
    clock_ahead: Gauge<i64, AtomicI64>,
}

/// Read when they are asked for.
#[derive(Default)]
struct Disk {
    database: Gauge<u64, AtomicU64>,
    log: Gauge<u64, AtomicU64>,
    free: Gauge<u64, AtomicU64>,
}

impl Disk {
    fn register(&self, registry: &mut Registry) {
        let gauges = [
            ("database_size", "The database file", &self.database),
            (
                "write_ahead_log_size",
                "The write-ahead log beside the database",
                &self.log,
            ),
            (
                "disk_free",
                "What the store may still write on the disk of the database",
                &self.free,
            ),
        ];
        for (name, help, gauge) in gauges {
            registry.register_with_unit(name, help, Unit::Bytes, gauge.clone());
        }
    }
}

impl Metrics {
    /// All at zero.
    #[expect(
        clippy::new_without_default,
        reason = "an effectful registry is no default"
    )]
    pub fn new() -> Self {
        // 10 µs to some 5 s.
        let seconds = || Histogram::new(exponential_buckets(0.000_01, 2.0, 20));
        let mut metrics = Self {
            registry: Registry::with_prefix("rekey_store"),
            requests: Family::default(),
            request_seconds: seconds(),
            rotations: Family::default(),
            commit_size: Histogram::new(exponential_buckets(1.0, 2.0, 9)),
            commit_seconds: seconds(),
            failed_commits: Counter::default(),
            left_changes: Counter::default(),
            waiting_changes: Gauge::default(),
            revision: Gauge::default(),
            // 100 µs to some 50 s.
            barrier_seconds: Histogram::new(exponential_buckets(0.000_1, 2.0, 20)),
            gateways: Gauge::default(),
            foreign_cursors: Counter::default(),
            secret_in_use: Gauge::default(),
            secret_refused: Gauge::default(),
            logins: Family::default(),
            password_hashes: Counter::default(),
            old_key_uses: Family::default(),
            last_uses: Family::default(),
            disk: Disk::default(),
            clock_ahead: Gauge::default(),
        };
        metrics.register_requests();
        metrics.register_changes();
        metrics.register_gateways();
        metrics.register_people_and_keys();
        metrics
    }

    /// What is asked of the store.
    fn register_requests(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "requests",
            "Answered requests, by listener, endpoint and status",
            self.requests.clone(),
        );
        registry.register_with_unit(
            "request_duration",
            "From a request's head to its answer's",
            Unit::Seconds,
            self.request_seconds.clone(),
        );
        registry.register(
            "rotations",
            "Rotation requests, by outcome; repeated: answered again under the same id, replayed: under the same Idempotency-Key",
            self.rotations.clone(),
        );
    }

    /// What is written.
    fn register_changes(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "commit_batch_size",
            "Changes in one transaction",
            self.commit_size.clone(),
        );
        registry.register_with_unit(
            "commit_duration",
            "From the start of a transaction until it is on disk",
            Unit::Seconds,
            self.commit_seconds.clone(),
        );
        registry.register(
            "failed_commits",
            "Transactions that were rolled back or whose outcome is unknown",
            self.failed_commits.clone(),
        );
        registry.register(
            "left_changes",
            "Changes that were not begun because nobody waited for them any more",
            self.left_changes.clone(),
        );
        registry.register(
            "waiting_changes",
            "Changes that wait for their turn or for the disk",
            self.waiting_changes.clone(),
        );
        registry.register(
            "revision",
            "The store's counter of changes",
            self.revision.clone(),
        );
    }

    /// The change feed.
    fn register_gateways(&mut self) {
        let registry = &mut self.registry;
        registry.register_with_unit(
            "barrier_duration",
            "From a revocation's commit until no gateway accepts the key",
            Unit::Seconds,
            self.barrier_seconds.clone(),
        );
        registry.register(
            "gateways",
            "Gateways that follow the change feed",
            self.gateways.clone(),
        );
        registry.register(
            "foreign_cursors",
            "Polls of gateways that followed a history which this store does not know",
            self.foreign_cursors.clone(),
        );
        registry.register(
            "checksum_secret_in_use",
            "Which secret of REKEY_CHECKSUM_SECRET keys are made with; 1: the newest, 0: none, as each is refused by some gateway",
            self.secret_in_use.clone(),
        );
        registry.register(
            "gateways_refusing_checksum_secret",
            "Gateways that refuse keys made with the newest secret here",
            self.secret_refused.clone(),
        );
    }

    /// Log-ins, uses of keys, and the machine.
    fn register_people_and_keys(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "logins",
            "Tries to log in to the dashboard, by outcome",
            self.logins.clone(),
        );
        registry.register(
            "password_hashes",
            "Evaluations of argon2id",
            self.password_hashes.clone(),
        );
        registry.register(
            "old_key_uses",
            "Uses of replaced and revoked keys that gateways told of, by what became of them",
            self.old_key_uses.clone(),
        );
        registry.register(
            "last_uses",
            "Uses of active keys that were heard of, by what became of them; known: the hour is on record",
            self.last_uses.clone(),
        );
        self.disk.register(registry);
        registry.register_with_unit(
            "limit_clock_ahead",
            "By how much the clock that intervals are counted by is ahead of the wall clock; less than nothing: behind",
            Unit::Seconds,
            self.clock_ahead.clone(),
        );
    }

    /// The files are so large.
    pub fn set_disk(&self, used: DiskUse) {
        self.disk.database.set(used.database);
        self.disk.log.set(used.log);
        if let Some(free) = used.free {
            self.disk.free.set(free);
        }
    }

    /// The limit's clock is so many seconds ahead of the wall clock.
    pub fn set_clock_ahead(&self, seconds: i64) {
        self.clock_ahead.set(seconds);
    }

    /// A barrier opened.
    pub fn barrier(&self, took: Duration) {
        self.barrier_seconds.observe(took.as_secs_f64());
    }

    /// So many gateways follow the change feed.
    pub fn set_gateways(&self, count: usize) {
        self.gateways.set(count as u64);
    }

    /// A gateway came from a history that is not known here.
    pub fn foreign_cursor(&self) {
        self.foreign_cursors.inc();
    }

    /// Which secret keys are made with, counted from 0, and how many gateways refuse
    /// the newest.
    pub fn set_secrets(&self, place: Option<usize>, refusing: usize) {
        self.secret_in_use
            .set(place.map_or(0, |place| place as u64 + 1));
        self.secret_refused.set(refusing as u64);
    }

    /// Somebody tried to log in.
    pub fn login(&self, outcome: &'static str) {
        self.logins.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    /// A password is being hashed.
    pub fn hashed_password(&self) {
        self.password_hashes.inc();
    }

    /// Gateways told of so many uses of old keys.
    pub fn old_keys_used(&self, outcome: &'static str, count: u64) {
        if count > 0 {
            let labels = OutcomeLabels { outcome };
            self.old_key_uses.get_or_create(&labels).inc_by(count);
        }
    }

    /// So many uses of active keys were heard of.
    pub fn last_uses(&self, outcome: &'static str, count: u64) {
        if count > 0 {
            let labels = OutcomeLabels { outcome };
            self.last_uses.get_or_create(&labels).inc_by(count);
        }
    }

    /// A request was answered.
    pub fn answered(&self, listener: &'static str, endpoint: &str, status: u16, took: Duration) {
        let labels = RequestLabels {
            listener,
            endpoint: endpoint.to_owned(),
            status,
        };
        self.requests.get_or_create(&labels).inc();
        self.request_seconds.observe(took.as_secs_f64());
    }

    /// A rotation was decided.
    pub fn rotated(&self, outcome: RotationOutcome) {
        let outcome = outcome.as_str();
        self.rotations
            .get_or_create(&OutcomeLabels { outcome })
            .inc();
    }

    /// A transaction ended; `revision` where it was committed.
    pub fn committed(&self, size: usize, took: Duration, revision: Option<u64>) {
        self.commit_size.observe(size as f64);
        self.commit_seconds.observe(took.as_secs_f64());
        match revision {
            Some(revision) => self.set_revision(revision),
            None => drop(self.failed_commits.inc()),
        }
    }

    /// A change is not begun: nobody waits for it any more.
    pub fn change_left(&self) {
        self.left_changes.inc();
    }

    /// A change waits for its turn.
    pub fn change_waits(&self) {
        self.waiting_changes.inc();
    }

    /// What became of a waiting change has been told.
    pub fn change_answered(&self) {
        self.waiting_changes.dec();
    }

    /// The history stands here.
    pub fn set_revision(&self, revision: u64) {
        self.revision.set(revision);
    }

    /// All of them as text.
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = text::encode(&mut text, &self.registry);
        text
    }
}
