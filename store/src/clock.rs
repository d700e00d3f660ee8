//! Time as the key store counts it, by two clocks: what is told is the wall clock's,
//! what the rate limit and all other intervals are counted by never runs backwards
//! and never jumps (S12).
//!
//! Knows no database; whoever opens one passes in the time on record.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// How much of the time since the record a start believes the wall clock. More would
/// change nothing: no interval that is counted by it is longer (sessions, 7 days).
const BELIEVED_AT_START: Duration = Duration::from_secs(8 * 24 * 3600);
/// For how long after a start nothing is deleted by what the wall clock says of the time
/// before it: longer than a gateway goes on asking about a rotation.
const UNSURE_FOR: Duration = Duration::from_secs(60);
/// By how much the wall clock and the passing of time may differ before it is said.
const SAID_FROM: Duration = Duration::from_secs(1);
/// The latest time of the wall clock that is a time: the end of the year 9999, beyond
/// which RFC 3339 has no words.
const LATEST: UnixMillis = UnixMillis(253_402_207_200_000);

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct UnixMillis(pub i64);

impl UnixMillis {
    /// What the system's wall clock says.
    pub fn wall() -> Self {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self(millis(since).saturating_add(offset::millis())).min(LATEST)
    }

    /// This moment and `later`, saturating.
    pub fn plus(self, later: Duration) -> Self {
        Self(self.0.saturating_add(millis(later)))
    }

    /// This moment and `earlier` before it, saturating.
    pub fn minus(self, earlier: Duration) -> Self {
        Self(self.0.saturating_sub(millis(earlier)))
    }

    /// From `earlier` to this moment; zero where `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        let passed = self.0.saturating_sub(earlier.0);
        Duration::from_millis(u64::try_from(passed).unwrap_or_default())
    }

    /// The moment of a text as RFC 3339 has it, in whatever time zone.
    pub fn parse(text: &str) -> Option<Self> {
        let at: jiff::Timestamp = text.parse().ok()?;
        Some(Self(at.as_millisecond()))
    }

    /// As RFC 3339 in UTC, cut to whole seconds: `2025-01-31T16:00:00Z`.
    pub fn rfc3339(self) -> String {
        jiff::Timestamp::from_second(self.0.div_euclid(1000))
            .unwrap_or_default()
            .to_string()
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// One moment, by both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreTime {
    /// What people and programs are told: the wall clock's.
    pub told: UnixMillis,
    /// What intervals are counted by. Only differences of it mean something.
    pub limit: UnixMillis,
}

impl StoreTime {
    /// Of two clocks that show the same.
    pub const fn both(time: UnixMillis) -> Self {
        Self {
            told: time,
            limit: time,
        }
    }

    /// The same time later by both.
    pub fn plus(self, later: Duration) -> Self {
        Self {
            told: self.told.plus(later),
            limit: self.limit.plus(later),
        }
    }

    /// By how many seconds the limit's clock is ahead of the wall clock.
    pub fn ahead_seconds(self) -> i64 {
        self.limit.0.saturating_sub(self.told.0) / 1000
    }
}

/// The store's clocks.
///
/// While it runs, the limit's clock goes by the time since the machine's boot, which
/// nobody can set and which goes on while the machine sleeps: of a wall clock that
/// jumps it believes nothing. At a start only the wall clock knows how long the store
/// was away, so it is believed then, within bounds. So a clock that was wrong makes
/// somebody wait too short once, and nobody too long.
#[derive(Debug)]
pub struct Clock {
    basis: Mutex<Basis>,
    /// Since the boot.
    started: Duration,
    /// How much time before the start is known by the wall clock alone.
    believed: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Basis {
    /// At the start. The limit's clock is counted from it and not from the last look:
    /// a part of a millisecond lost at each would make it slow.
    start: StoreTime,
    /// At the last look.
    told: UnixMillis,
    /// Since the boot, at the start.
    started: Duration,
    /// Since the boot, at the last look.
    looked: Duration,
}

/// What the clocks show.
struct Look {
    now: StoreTime,
    jump: Option<Jump>,
}

/// A jump of the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Jump {
    /// In milliseconds; less than nothing: back.
    by: i64,
}

impl Basis {
    fn at(&mut self, wall: UnixMillis, since_boot: Duration) -> Look {
        let since_boot = since_boot.max(self.looked);
        let expected = self.told.plus(since_boot.saturating_sub(self.looked));
        let by = wall.0.saturating_sub(expected.0);
        (self.told, self.looked) = (wall, since_boot);
        let now = StoreTime {
            told: wall,
            limit: self
                .start
                .limit
                .plus(since_boot.saturating_sub(self.started)),
        };
        let is_jump = by.unsigned_abs() >= SAID_FROM.as_millis() as u64;
        let jump = is_jump.then_some(Jump { by });
        Look { now, jump }
    }

    fn at_start(start: StoreTime, since_boot: Duration) -> Self {
        Self {
            start,
            told: start.told,
            started: since_boot,
            looked: since_boot,
        }
    }
}

/// The limit's clock at a start, by the moment on record and the wall clock now.
fn resumed(on_record: Option<StoreTime>, wall: UnixMillis) -> StoreTime {
    let limit = match on_record {
        Some(last) => last
            .limit
            .plus(wall.since(last.told).min(BELIEVED_AT_START)),
        None => wall,
    };
    StoreTime { told: wall, limit }
}

impl Clock {
    /// The clocks at a start; `on_record` is the last moment that was acted upon.
    pub fn resume(on_record: Option<StoreTime>) -> Self {
        let (wall, since_boot) = (UnixMillis::wall(), since_boot());
        let start = resumed(on_record, wall);
        if let Some(record) = on_record {
            warn_of_start(record, wall);
        }
        Self {
            basis: Mutex::new(Basis::at_start(start, since_boot)),
            started: since_boot,
            believed: on_record.map_or(Duration::ZERO, |record| start.limit.since(record.limit)),
        }
    }

    /// The time by which what is over may be deleted. At first it leaves out what only
    /// the wall clock says: over a start whose clock is wrong, gateways may go on asking
    /// what became of a rotation.
    pub fn sure(&self) -> StoreTime {
        let now = self.now();
        if since_boot().saturating_sub(self.started) >= UNSURE_FOR {
            return now;
        }
        let limit = UnixMillis(now.limit.0.saturating_sub(millis(self.believed)));
        StoreTime { limit, ..now }
    }

    /// The time. The limit's is never less than an earlier call returned.
    pub fn now(&self) -> StoreTime {
        let mut basis = self.basis.lock().unwrap_or_else(PoisonError::into_inner);
        let Look { now, jump } = basis.at(UnixMillis::wall(), since_boot());
        if let Some(Jump { by }) = jump {
            tracing::warn!(
                seconds = by / 1000,
                told = now.told.rfc3339(),
                "the system's clock was set: what is told follows it, the rate limit does not"
            );
        }
        now
    }
}

fn warn_of_start(record: StoreTime, wall: UnixMillis) {
    let (told, recorded) = (wall.rfc3339(), record.told.rfc3339());
    if wall.plus(SAID_FROM) < record.told {
        tracing::warn!(
            told,
            recorded,
            "the system's clock is behind the last change on record: what is told follows it, \
             the rate limit goes on from the record"
        );
    } else if wall.since(record.told) > BELIEVED_AT_START {
        tracing::warn!(
            told,
            recorded,
            "more than a week has passed since the last change on record, by the system's clock: \
             if that is not so, set it right; what is told follows it"
        );
    }
}

/// Since the machine's boot, with the time that it slept.
fn since_boot() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// Without the feature the system's clock is what it is.
#[cfg(not(feature = "crash-points"))]
mod offset {
    #[inline(always)]
    pub(super) fn millis() -> i64 {
        0
    }
}

/// For tests: the file that `REKEY_STORE_CLOCK` names says by how many milliseconds
/// the wall clock is set wrong. It may change while the store runs.
#[cfg(feature = "crash-points")]
mod offset {
    use std::path::PathBuf;
    use std::sync::LazyLock;

    static FILE: LazyLock<Option<PathBuf>> =
        LazyLock::new(|| std::env::var_os("REKEY_STORE_CLOCK").map(PathBuf::from));

    pub(super) fn millis() -> i64 {
        let Some(file) = &*FILE else { return 0 };
        let text = std::fs::read_to_string(file).unwrap_or_default();
        text.trim().parse().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const YEAR_MS: i64 = 365 * 24 * 3600 * 1000;
    const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

    fn basis() -> Basis {
        Basis::at_start(StoreTime::both(NOW), HOUR)
    }

    #[test]
    fn s12_looking_at_the_clock_does_not_make_it_slow() {
        let mut basis = basis();
        for looks in 1..=10_000_u32 {
            let passed = Duration::from_micros(300) * looks;
            let Look { now, jump } = basis.at(NOW.plus(passed), HOUR + passed);
            assert_eq!((now.limit, jump), (NOW.plus(passed), None));
        }
    }

    #[test]
    fn s12_the_limit_goes_by_the_time_that_passes_and_what_is_told_by_the_wall() {
        let mut basis = basis();
        let second = Duration::from_secs(1);
        let mut at = |wall: i64, seconds: u32| {
            let Look { now, jump } = basis.at(UnixMillis(wall), HOUR + second * seconds);
            (now.told.0, now.limit.0 - NOW.0, jump.map(|jump| jump.by))
        };
        let now = NOW.0;
        assert_eq!(at(now + 1_000, 1), (now + 1_000, 1_000, None));
        // Ten years ahead for a moment.
        let ahead = now + 2_000 + 10 * YEAR_MS;
        assert_eq!(at(ahead, 2), (ahead, 2_000, Some(10 * YEAR_MS)));
        assert_eq!(
            at(now + 3_000, 3),
            (now + 3_000, 3_000, Some(-10 * YEAR_MS))
        );
        // Set back by a year.
        let back = now + 4_000 - YEAR_MS;
        assert_eq!(at(back, 4), (back, 4_000, Some(-YEAR_MS)));
        assert_eq!(at(back + 1_000, 5), (back + 1_000, 5_000, None));
        // Corrected by less than anybody would notice.
        assert_eq!(at(back + 2_400, 6), (back + 2_400, 6_000, None));
    }

    #[test]
    fn s12_a_start_believes_the_wall_clock_within_bounds() {
        let record = StoreTime {
            told: NOW,
            limit: NOW.plus(HOUR * 1000),
        };
        let passed = |wall: UnixMillis| resumed(Some(record), wall).limit.since(record.limit);
        assert_eq!(passed(NOW.plus(HOUR * 3)), HOUR * 3);
        assert_eq!(passed(UnixMillis(NOW.0 + 10 * YEAR_MS)), BELIEVED_AT_START);
        assert_eq!(passed(LATEST), BELIEVED_AT_START);
        assert_eq!(passed(UnixMillis(NOW.0 - YEAR_MS)), Duration::ZERO);
        assert_eq!(resumed(None, NOW), StoreTime::both(NOW));
        // Of a database that a version without two clocks has left in the future.
        let future = StoreTime::both(UnixMillis(NOW.0 + 10 * YEAR_MS));
        let now = resumed(Some(future), NOW);
        assert_eq!((now.told, now.limit), (NOW, future.limit));
        assert_eq!(now.ahead_seconds(), 10 * YEAR_MS / 1000);
    }

    #[test]
    fn s11_nothing_is_deleted_by_what_only_the_wall_clock_says() {
        let week = HOUR * 24 * 7;
        let record = StoreTime::both(UnixMillis(UnixMillis::wall().0 - millis(week)));
        let clock = Clock::resume(Some(record));
        assert!(clock.now().limit.since(record.limit) >= week);
        assert!(clock.sure().limit.since(record.limit) < HOUR);
    }

    #[test]
    fn s12_the_clock_never_runs_backwards() {
        let clock = Clock::resume(None);
        let mut last = clock.now().limit;
        for _ in 0..1000 {
            let now = clock.now().limit;
            assert!(now >= last);
            last = now;
        }
    }

    #[test]
    fn timestamps_are_cut_to_whole_seconds() {
        let at = UnixMillis(1_738_339_200_999);
        assert_eq!(at.rfc3339(), "2025-01-31T16:00:00Z");
        assert_eq!(LATEST.rfc3339(), "9999-12-30T22:00:00Z");
    }
}
