//! What was revoked lately, in memory, and which cursors this store can serve
//! (S8). Filled only with what is on disk (S2). Sans-IO.

use std::collections::VecDeque;

use rekey_protocol::{Change, Head, Incarnation};

/// Revocations kept in memory; a gateway further behind is served from disk.
pub(super) const KEPT: usize = 8192;
/// Revocations in one answer: so that it fits into 32 KiB, which is what a
/// gateway buffers of an answer.
pub const PAGE: usize = 200;

/// One life of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    /// Its random id.
    pub incarnation: Incarnation,
    /// Its first revision.
    pub first: u64,
    /// Its last; none for the present one.
    pub last: Option<u64>,
}

/// The store's history, as far as the feed needs it.
#[derive(Debug, Clone)]
pub struct History {
    lives: Vec<Life>,
    head: Head,
    recent: VecDeque<Change>,
    /// All revocations after this revision are in `recent`.
    complete_after: u64,
    /// The revision of this life's last import; 0: there was none.
    keys_imported_at: u64,
}

/// Where a cursor lies, seen from this history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Within one of its lives.
    Known,
    /// One of its lives went on beyond what it remembers: it is an older
    /// backup.
    Lost,
    /// Nowhere: of another store's history, or of a later life that was lost
    /// as a whole. Nobody can tell which.
    Foreign,
}

/// What a cursor can be served with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Page {
    /// These revocations, up to this point; whether that is the head.
    Changes(Vec<Change>, Head, bool),
    /// They are not in memory any more: to be read from disk.
    OnDisk,
}

impl History {
    /// A history that begins its present life, the last of `lives`, at `head`.
    pub fn new(lives: Vec<Life>, head: Head) -> Self {
        Self {
            lives,
            head,
            recent: VecDeque::new(),
            complete_after: head.revision,
            keys_imported_at: 0,
        }
    }

    /// Where it stands.
    pub fn head(&self) -> Head {
        self.head
    }

    /// A transaction is on disk, with these revocations, up to `revision`.
    pub fn committed(&mut self, revision: u64, changes: impl IntoIterator<Item = Change>) {
        self.head.revision = self.head.revision.max(revision);
        self.recent.extend(changes);
        while self.recent.len() > KEPT {
            if let Some(dropped) = self.recent.pop_front() {
                self.complete_after = dropped.revision;
            }
        }
    }

    /// An import of keys is on disk, with nothing revoked, up to `revision`.
    pub fn imported(&mut self, revision: u64) {
        self.committed(revision, []);
        self.keys_imported_at = self.keys_imported_at.max(revision);
    }

    /// The revision of this life's last import; 0: there was none.
    pub fn keys_imported_at(&self) -> u64 {
        self.keys_imported_at
    }

    /// What a cursor says of this history.
    pub fn place(&self, cursor: Head) -> Place {
        let mut lives = self.lives.iter();
        let life = lives.find(|life| life.incarnation == cursor.incarnation);
        let Some(life) = life else {
            return Place::Foreign;
        };
        if cursor.revision > life.last.unwrap_or(self.head.revision) {
            Place::Lost
        } else if cursor.revision < life.first {
            Place::Foreign
        } else {
            Place::Known
        }
    }

    /// Whether a cursor is within one of its lives: what it acknowledges counts.
    pub fn knows(&self, cursor: Head) -> bool {
        self.place(cursor) == Place::Known
    }

    /// The revocations after a known cursor of the present life.
    pub fn after(&self, cursor: Head) -> Page {
        if cursor.revision < self.complete_after {
            return Page::OnDisk;
        }
        let start = self
            .recent
            .partition_point(|change| change.revision <= cursor.revision);
        let mut changes: Vec<_> = self
            .recent
            .iter()
            .skip(start)
            .take(PAGE + 1)
            .copied()
            .collect();
        page(&mut changes, self.head)
    }
}

/// Makes a page of changes in their order, of which there may be one more
/// than fits.
pub fn page(changes: &mut Vec<Change>, head: Head) -> Page {
    if changes.len() <= PAGE {
        return Page::Changes(std::mem::take(changes), head, true);
    }
    changes.truncate(PAGE);
    let revision = changes
        .last()
        .map_or(head.revision, |change| change.revision);
    Page::Changes(std::mem::take(changes), Head { revision, ..head }, false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rekey_protocol::{Digest, FeedResponse, LEASE_CAP_MS, SecretPrint, SecretsAdvice};

    const PAST: Incarnation = Incarnation([1; 16]);
    const NOW: Incarnation = Incarnation([2; 16]);

    fn at(incarnation: Incarnation, revision: u64) -> Head {
        Head {
            incarnation,
            revision,
        }
    }

    fn history() -> History {
        let past = Life {
            incarnation: PAST,
            first: 10,
            last: Some(20),
        };
        let present = Life {
            incarnation: NOW,
            first: 100,
            last: None,
        };
        History::new(vec![past, present], at(NOW, 100))
    }

    fn change(revision: u64) -> Change {
        Change {
            digest: Digest::of(&revision.to_be_bytes()),
            revision,
            replayable: false,
        }
    }

    #[test]
    fn s8_a_cursor_is_known_within_its_incarnation_only() {
        let mut history = history();
        history.committed(105, []);
        for (cursor, place) in [
            (at(PAST, 10), Place::Known),
            (at(PAST, 20), Place::Known),
            // A backup was restored: this revision was acknowledged and lost.
            (at(PAST, 21), Place::Lost),
            (at(PAST, 9), Place::Foreign),
            (at(NOW, 100), Place::Known),
            (at(NOW, 105), Place::Known),
            (at(NOW, 106), Place::Lost),
            (at(NOW, 20), Place::Foreign),
            (at(Incarnation([3; 16]), 100), Place::Foreign),
            (at(Incarnation([3; 16]), 12), Place::Foreign),
        ] {
            assert_eq!(history.place(cursor), place, "{cursor:?}");
        }
    }

    #[test]
    fn what_came_after_a_cursor_is_given_in_order() {
        let mut history = history();
        history.committed(102, [change(101), change(102)]);
        history.committed(103, []);
        let after = |revision| history.after(at(NOW, revision));
        let all = vec![change(101), change(102)];
        assert_eq!(after(100), Page::Changes(all, at(NOW, 103), true));
        assert_eq!(
            after(101),
            Page::Changes(vec![change(102)], at(NOW, 103), true)
        );
        assert_eq!(after(103), Page::Changes(vec![], at(NOW, 103), true));
    }

    #[test]
    fn s4_a_page_that_is_not_all_says_so() {
        let mut history = history();
        let many = PAGE as u64 + 5;
        history.committed(100 + many, (101..=100 + many).map(change));
        let Page::Changes(changes, upto, is_head) = history.after(at(NOW, 100)) else {
            panic!()
        };
        assert_eq!(
            (changes.len(), upto, is_head),
            (PAGE, at(NOW, 100 + PAGE as u64), false)
        );
        let Page::Changes(changes, upto, is_head) = history.after(upto) else {
            panic!()
        };
        assert_eq!(
            (changes.len(), upto, is_head),
            (5, at(NOW, 100 + many), true)
        );
    }

    #[test]
    fn i8_a_page_fits_into_what_a_gateway_buffers() {
        let last = Change {
            digest: Digest::from_bytes([0xff; 32]),
            revision: u64::MAX,
            replayable: true,
        };
        let answer = FeedResponse {
            poll: u64::MAX,
            changes: vec![last; PAGE],
            cursor: at(NOW, u64::MAX),
            granted_ms: LEASE_CAP_MS,
            reset: true,
            keys_imported_at: u64::MAX,
            secrets: Some(SecretsAdvice {
                settled: true,
                issue_with: Some(SecretPrint([0xff; 8])),
                behind: true,
            }),
            used_most: u32::MAX,
        };
        let size = serde_json::to_vec(&answer).unwrap().len();
        assert!(size <= 32 * 1024 - 2 * 1024, "{size} bytes, and headers");
    }

    #[test]
    fn i8_memory_is_bounded_and_the_rest_is_on_disk() {
        let mut history = history();
        let many = KEPT as u64 + 10;
        history.committed(100 + many, (101..=100 + many).map(change));
        assert_eq!(history.recent.len(), KEPT);
        assert_eq!(history.after(at(NOW, 100)), Page::OnDisk);
        assert_eq!(history.after(at(NOW, 109)), Page::OnDisk);
        assert!(matches!(history.after(at(NOW, 110)), Page::Changes(..)));
    }
}
