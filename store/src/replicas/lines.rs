//! The lines of all stores, as this store's watch has told of them (R3, R4).

use std::collections::BTreeMap;

use super::margin_ms;

/// Names a line: drawn by each process that begins to serve, and never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LineId(pub [u8; 16]);

/// A line as it is in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// The revision that put it there.
    pub made: u64,
    /// The revision that last wrote it.
    pub changed: u64,
    /// Up to this revision, all gateways of its store have forgotten what was revoked.
    pub reached: u64,
    /// How long its store may promise something after a beat, in milliseconds. A line
    /// says it itself, because stores of two versions may differ (R3).
    pub ttl_ms: u64,
}

impl Line {
    /// When it has stood still for too long, if it was last heard of then.
    fn suspect_at(&self, heard: u64) -> u64 {
        heard + self.ttl_ms + margin_ms(self.ttl_ms)
    }
}

/// A line that has stood still for longer than its store may promise anything (R3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suspect {
    /// Which.
    pub id: LineId,
    /// It may be deleted only if this is still what last wrote it.
    pub changed: u64,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    line: Line,
    /// When this store heard of the last change.
    heard: u64,
}

/// All lines, as of one revision of the watch.
#[derive(Debug, Clone, Default)]
pub struct Lines {
    known: BTreeMap<LineId, Known>,
}

impl Lines {
    /// A line was written.
    pub fn written(&mut self, id: LineId, line: Line, now: u64) {
        self.known.insert(id, Known { line, heard: now });
    }

    /// A line was deleted: its store promises nothing any more.
    pub fn deleted(&mut self, id: LineId) {
        self.known.remove(&id);
    }

    /// Forgets all, because everything is read again.
    pub fn clear(&mut self) {
        self.known.clear();
    }

    /// Whether the line stands.
    pub fn has(&self, id: LineId) -> bool {
        self.known.contains_key(&id)
    }

    /// How many stores there are.
    pub fn count(&self) -> usize {
        self.known.len()
    }

    /// How far the stores are other than this one: nobody accepts through them what was
    /// revoked up to this revision. To be asked only when the watch has passed the
    /// revision that is waited for (R4): a line that was put there later need not be
    /// waited for, and one more does no harm.
    pub fn reached_without(&self, own: LineId) -> u64 {
        let others = self.known.iter().filter(|(id, _)| **id != own);
        others
            .map(|(_, known)| known.line.reached.max(known.line.made))
            .min()
            .unwrap_or(u64::MAX)
    }

    /// The lines other than this one that have stood still for too long. Which of them
    /// are dead only the database can say, by a comparison (R3).
    pub fn suspects(&self, own: LineId, now: u64) -> Vec<Suspect> {
        let others = self.known.iter().filter(|(id, _)| **id != own);
        let still = others.filter(|(_, known)| now >= known.line.suspect_at(known.heard));
        let suspects = still.map(|(id, known)| Suspect {
            id: *id,
            changed: known.line.changed,
        });
        suspects.collect()
    }

    /// When the next line becomes suspect, if it goes on standing still.
    pub fn next_suspect_at(&self, own: LineId) -> Option<u64> {
        let others = self.known.iter().filter(|(id, _)| **id != own);
        others
            .map(|(_, known)| known.line.suspect_at(known.heard))
            .min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replicas::TTL_MS;

    const MARGIN_MS: u64 = TTL_MS / 100 + 50;
    const OWN: LineId = LineId([1; 16]);
    const A: LineId = LineId([2; 16]);
    const B: LineId = LineId([3; 16]);

    fn line(made: u64, changed: u64, reached: u64) -> Line {
        Line {
            made,
            changed,
            reached,
            ttl_ms: TTL_MS,
        }
    }

    #[test]
    fn a_rotation_waits_for_the_furthest_behind_of_the_others() {
        let mut lines = Lines::default();
        assert_eq!(lines.reached_without(OWN), u64::MAX);
        lines.written(OWN, line(1, 5, 2), 0);
        lines.written(A, line(3, 9, 8), 0);
        lines.written(B, line(4, 9, 6), 0);
        assert_eq!(lines.reached_without(OWN), 6);
        lines.deleted(B);
        assert_eq!(lines.reached_without(OWN), 8);
    }

    #[test]
    fn r4_a_line_made_later_is_not_waited_for() {
        let mut lines = Lines::default();
        lines.written(A, line(10, 10, 0), 0);
        assert!(lines.reached_without(OWN) >= 9);
    }

    #[test]
    fn r3_a_line_is_suspect_when_it_stood_still_for_longer_than_its_store_may_promise() {
        let mut lines = Lines::default();
        lines.written(OWN, line(1, 1, 1), 0);
        lines.written(A, line(2, 7, 2), 100);
        assert_eq!(lines.suspects(OWN, 100 + TTL_MS + MARGIN_MS - 1), []);
        let suspect = Suspect { id: A, changed: 7 };
        assert_eq!(lines.suspects(OWN, 100 + TTL_MS + MARGIN_MS), [suspect]);
        lines.written(A, line(2, 8, 2), 4_000);
        assert_eq!(lines.suspects(OWN, 100 + TTL_MS + MARGIN_MS), []);
        assert_eq!(lines.next_suspect_at(OWN), Some(4_000 + TTL_MS + MARGIN_MS));
    }
}
