//! How often a user may rotate, in seconds and in words.

use serde::{Deserialize, Serialize};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// How long a user waits between two rotations, in whole seconds, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "u64", into = "u64")]
pub struct RotationInterval(u64);

impl RotationInterval {
    /// The interval of the documented API.
    pub const HOUR: Self = Self(HOUR);

    /// The interval in whole seconds.
    pub fn seconds(self) -> u64 {
        self.0
    }

    /// "once per hour", "once every 10 minutes".
    pub(crate) fn in_words(self) -> String {
        let units = [
            (DAY, "day"),
            (HOUR, "hour"),
            (MINUTE, "minute"),
            (1, "second"),
        ];
        let fits = |(unit, _): &(u64, &str)| self.0.is_multiple_of(*unit);
        let (unit, name) = units.into_iter().find(fits).unwrap_or((1, "second"));
        match self.0 / unit {
            1 => format!("once per {name}"),
            number => format!("once every {number} {name}s"),
        }
    }
}

impl From<u64> for RotationInterval {
    fn from(seconds: u64) -> Self {
        Self(seconds.max(1))
    }
}

impl From<RotationInterval> for u64 {
    fn from(interval: RotationInterval) -> Self {
        interval.0
    }
}

impl Default for RotationInterval {
    /// The interval of a store that does not tell: one of an earlier version.
    fn default() -> Self {
        Self::HOUR
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_intervals_are_named_in_their_largest_whole_unit() {
        for (seconds, words) in [
            (0, "once per second"),
            (1, "once per second"),
            (3, "once every 3 seconds"),
            (60, "once per minute"),
            (90, "once every 90 seconds"),
            (600, "once every 10 minutes"),
            (3_600, "once per hour"),
            (5_400, "once every 90 minutes"),
            (7_200, "once every 2 hours"),
            (86_400, "once per day"),
            (172_800, "once every 2 days"),
        ] {
            assert_eq!(RotationInterval::from(seconds).in_words(), words);
        }
    }
}
