//! What the etcd side keeps itself: the history, the lines, and how they are named.

use serde::{Deserialize, Serialize};

use crate::clock::{StoreTime, UnixMillis};
use crate::replicas::LineId;

/// The key of the history.
pub(super) const HISTORY: &[u8] = b"b";
/// The first letter of lines.
pub(super) const LINES: u8 = b'j';
/// The first letter of tombstones for the feed.
pub(super) const GONE: u8 = b'g';
/// The first letter of imports.
pub(super) const IMPORTS: u8 = b'x';

/// The history that these data belong to (R8).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct History {
    /// Its random id: the incarnation in every answer.
    pub id: String,
    /// The cluster's own id when it began.
    pub cluster: u64,
    /// By how much the log's index was ahead of the revision when it began. In one
    /// history that only grows, because each entry of the log makes at most one
    /// revision. A cluster that was restored from a snapshot begins its log again and
    /// keeps the revision.
    pub ahead: i64,
    /// Cursors of before this revision may be of a history whose loss was accepted.
    #[serde(default)]
    pub accepted_before: u64,
}

/// A store's line (R1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LineRow {
    /// The number of the beat.
    #[serde(rename = "n")]
    pub beat: u64,
    /// Up to this revision, all its gateways have forgotten what was revoked.
    #[serde(rename = "r")]
    pub reached: u64,
    /// For how long after a beat its store may promise something, in milliseconds (R3).
    #[serde(rename = "v")]
    pub ttl_ms: u64,
    /// Its limit's clock (S12).
    #[serde(rename = "l")]
    pub limit: i64,
    /// Its wall clock.
    #[serde(rename = "t")]
    pub told: i64,
}

impl LineRow {
    /// The moment of the beat.
    pub(super) fn moment(&self) -> StoreTime {
        StoreTime {
            told: UnixMillis(self.told),
            limit: UnixMillis(self.limit),
        }
    }
}

/// The key of a line.
pub(super) fn line_key(id: LineId) -> Vec<u8> {
    [&[LINES], &id.0[..]].concat()
}

/// The line of a key.
pub(super) fn line_of(key: &[u8]) -> Option<LineId> {
    let id = key.strip_prefix(&[LINES])?;
    id.try_into().ok().map(LineId)
}
