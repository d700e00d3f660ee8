//! What was revoked lately, in memory, and which cursors this store can serve
//! (S8). Filled only with what is on disk (S2). Sans-IO.

use std::collections::VecDeque;

use rekey_protocol::{Head, Incarnation, Revocation};

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
    recent: VecDeque<Revocation>,
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

/// What follows a cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum After {
    /// It is in memory.
    InMemory(Changes),
    /// It is not in memory any more: to be read from disk.
    OnDisk,
}

/// A page of revocations in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// One page at most.
    pub revocations: Vec<Revocation>,
    /// Up to here these are all.
    pub upto: Head,
    /// How far that is.
    pub reach: Reach,
}

/// How far the changes in an answer go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// To the head: who applies them has everything.
    Head,
    /// Not so far: more of them follow in the next answer.
    Part,
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
    pub fn committed(&mut self, revision: u64, changes: impl IntoIterator<Item = Revocation>) {
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
    pub fn after(&self, cursor: Head) -> After {
        if cursor.revision < self.complete_after {
            return After::OnDisk;
        }
        let start = self
            .recent
            .partition_point(|change| change.revision <= cursor.revision);
        let recent = self.recent.iter().skip(start).take(PAGE + 1);
        After::InMemory(Changes::page(recent.copied().collect(), self.head))
    }
}

impl Changes {
    /// A page of revocations in their order, of which there may be one more than
    /// fits.
    pub fn page(mut revocations: Vec<Revocation>, head: Head) -> Self {
        if revocations.len() <= PAGE {
            return Self {
                revocations,
                upto: head,
                reach: Reach::Head,
            };
        }
        revocations.truncate(PAGE);
        let last = revocations.last();
        let revision = last.map_or(head.revision, |change| change.revision);
        Self {
            revocations,
            upto: Head { revision, ..head },
            reach: Reach::Part,
        }
    }

    /// None, of who has everything or is to begin at the head.
    pub fn none(head: Head) -> Self {
        Self::page(Vec::new(), head)
    }
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

    fn change(revision: u64) -> Revocation {
        Revocation {
            digest: Digest::of(&revision.to_be_bytes()),
            revision,
            replayable: false,
        }
    }

    fn in_memory(history: &History, cursor: Head) -> Changes {
        match history.after(cursor) {
            After::InMemory(changes) => changes,
            After::OnDisk => panic!("{cursor:?} is to be read from disk"),
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
        for (revision, revocations) in [
            (100, vec![change(101), change(102)]),
            (101, vec![change(102)]),
            (103, vec![]),
        ] {
            let all = Changes {
                revocations,
                upto: at(NOW, 103),
                reach: Reach::Head,
            };
            assert_eq!(in_memory(&history, at(NOW, revision)), all);
        }
    }

    #[test]
    fn s4_a_page_that_is_not_all_says_so() {
        let mut history = history();
        let many = PAGE as u64 + 5;
        history.committed(100 + many, (101..=100 + many).map(change));
        let first = in_memory(&history, at(NOW, 100));
        assert_eq!(
            (first.revocations.len(), first.upto, first.reach),
            (PAGE, at(NOW, 100 + PAGE as u64), Reach::Part)
        );
        let rest = in_memory(&history, first.upto);
        assert_eq!(
            (rest.revocations.len(), rest.upto, rest.reach),
            (5, at(NOW, 100 + many), Reach::Head)
        );
    }

    #[test]
    fn i8_a_page_fits_into_what_a_gateway_buffers() {
        let last = Revocation {
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
        assert_eq!(history.after(at(NOW, 100)), After::OnDisk);
        assert_eq!(history.after(at(NOW, 109)), After::OnDisk);
        assert!(matches!(history.after(at(NOW, 110)), After::InMemory(_)));
    }
}
