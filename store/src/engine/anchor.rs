//! The anchor's values: which file a write-ahead log may continue (S8). Decided
//! here for every engine; what a file and a log are is SQLite's to know.

use super::record::{Anchor, Record};
use crate::clock::UnixMillis;

/// The values of the anchor around one checkpoint.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Steps {
    /// The new one.
    pub next: u64,
    /// What the file may have until the checkpoint is whole.
    pub under_way: Anchor,
    /// What it has then.
    pub done: Anchor,
}

impl Steps {
    /// After `before`, where the lock file says what the file may have.
    pub(crate) fn new(known: Option<Anchor>, before: u64, wall: UnixMillis) -> Self {
        let known = known.unwrap_or(Anchor {
            low: before,
            high: before,
        });
        // By the wall clock, so that two histories hardly have the same one.
        let wall = u64::try_from(wall.0).unwrap_or_default();
        let next = wall
            .saturating_mul(1000)
            .min(i64::MAX as u64 / 2)
            .max(known.high.max(before).saturating_add(1));
        Self {
            next,
            under_way: Anchor {
                // A file that was put here by hand has another one than was known.
                low: known.low.min(before),
                high: next,
            },
            done: Anchor {
                low: next,
                high: next,
            },
        }
    }
}

impl Record {
    /// The anchors that the file may have: of the one that was served last, and of
    /// one that was only looked at since. None in a record of an older version.
    pub fn anchors(&self) -> impl Iterator<Item = Anchor> + use<> {
        [self.anchor, self.looked_at].into_iter().flatten()
    }

    /// Whether the log that was left may continue a file with this anchor. Of a
    /// record of an older version nobody knows better.
    pub fn fits(&self, in_file: u64) -> bool {
        self.anchors().next().is_none() || self.anchors().any(|anchor| anchor.includes(in_file))
    }
}
