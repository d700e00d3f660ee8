//! Time as the key store counts it: wall-clock milliseconds that never run
//! backwards (PROTOCOL S12).
//!
//! Knows no database; whoever opens one passes in the latest time on record.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UnixMillis(pub i64);

impl UnixMillis {
    /// What the system's wall clock says.
    pub fn wall() -> Self {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self(millis(since))
    }

    /// This moment and `later`, saturating.
    pub fn plus(self, later: Duration) -> Self {
        Self(self.0.saturating_add(millis(later)))
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

/// The store's clock. It follows the wall clock forwards; where that was set
/// back, it runs on at the pace of the monotonic clock until the wall clock
/// has caught up, so nobody waits longer for a rotation than the interval.
#[derive(Debug)]
pub struct Clock(Mutex<Anchor>);

#[derive(Debug, Clone, Copy)]
struct Anchor {
    time: UnixMillis,
    taken: Instant,
}

impl Anchor {
    fn at(&mut self, wall: UnixMillis, monotonic: Instant) -> UnixMillis {
        let passed = monotonic.saturating_duration_since(self.taken);
        *self = Self {
            time: self.time.plus(passed).max(wall),
            taken: monotonic.max(self.taken),
        };
        self.time
    }
}

impl Clock {
    /// A clock that never shows less than `on_record`.
    pub fn not_before(on_record: UnixMillis) -> Self {
        Self(Mutex::new(Anchor {
            time: on_record,
            taken: Instant::now(),
        }))
    }

    /// The time. Never less than an earlier call returned.
    pub fn now(&self) -> UnixMillis {
        let mut anchor = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        anchor.at(UnixMillis::wall(), Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s12_time_runs_on_while_the_wall_clock_is_behind() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut anchor = Anchor {
            time: UnixMillis(0),
            taken: start,
        };
        let mut at = |wall, after| anchor.at(UnixMillis(wall), start + after);
        assert_eq!(at(10_000, second), UnixMillis(10_000));
        // Set back by nine seconds: time goes on at the monotonic pace.
        assert_eq!(at(1_000, second * 2), UnixMillis(11_000));
        assert_eq!(at(2_000, second * 3), UnixMillis(12_000));
        // Ahead again: the wall clock is followed.
        assert_eq!(at(50_000, second * 4), UnixMillis(50_000));
    }

    #[test]
    fn s12_a_clock_starts_at_the_time_on_record() {
        let future = UnixMillis::wall().plus(Duration::from_secs(3600));
        let clock = Clock::not_before(future);
        assert!(clock.now() >= future);
    }

    #[test]
    fn timestamps_are_cut_to_whole_seconds() {
        let at = UnixMillis(1_738_339_200_999);
        assert_eq!(at.rfc3339(), "2025-01-31T16:00:00Z");
    }
}
