//! What is on record beside the database, in its lock file: which incarnation was served
//! last (S9), how far the database was then (S8), and which file the
//! write-ahead log continues. Sans-IO: the server and the simulator share it.

use rekey_protocol::{Digest, Incarnation};

use crate::feed::core::Start;

/// How far a database is. A database that is less far than its record is an
/// older one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mark {
    /// The transactions that ever changed it.
    pub commits: u64,
    /// Its counter of changes.
    pub revision: u64,
}

/// The values that `anchor` may have in the database file, without its log: one,
/// or a range while a checkpoint is under way. See [`crate::engine::anchor`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Anchor {
    /// The least.
    pub low: u64,
    /// The greatest.
    pub high: u64,
}

impl Anchor {
    /// Whether a checkpoint was begun of which nobody knows that it is whole.
    pub fn is_under_way(&self) -> bool {
        self.low < self.high
    }

    /// Whether the write-ahead log continues a file with this value.
    pub fn includes(&self, value: u64) -> bool {
        (self.low..=self.high).contains(&value)
    }
}

/// The last incarnation that was served, and what it had promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// Names it, so that a start can look for it in the data.
    pub incarnation: Incarnation,
    /// The longest lease that it or an incarnation before it may have granted and that
    /// may still be trusted, in milliseconds.
    pub longest_lease_ms: u32,
    /// How far the database was; none where an older version wrote the record.
    pub mark: Option<Mark>,
    /// Of that file. None where an older version wrote the record.
    pub anchor: Option<Anchor>,
    /// Of another file that a start has looked at since and did not serve.
    pub looked_at: Option<Anchor>,
}

/// What is found beside a database at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Past {
    /// The file was not there.
    Nothing,
    /// The file has no record, or a torn one: nobody knows.
    Unknown,
    /// A whole record.
    Known(Record),
}

/// The length of [`Record::text`]: incarnation, lease, seven numbers and a check, with
/// a space or a line's end behind each.
pub const RECORD_LEN: usize = 32 + 1 + 10 + 1 + 7 * (20 + 1) + 16 + 1;
/// Instead of the bounds of an anchor that there is none of.
const NO_ANCHOR: Anchor = Anchor { low: 1, high: 0 };
/// Incarnation, lease and check: what versions before the mark wrote.
pub const OLD_RECORD_LEN: usize = 32 + 1 + 10 + 1 + 16 + 1;

impl Record {
    /// One line. `sequence` tells the later of two records.
    pub fn text(&self, sequence: u64) -> String {
        let Self {
            incarnation,
            longest_lease_ms,
            mark,
            anchor,
            looked_at,
        } = self;
        let Mark { commits, revision } = mark.unwrap_or_default();
        let Anchor { low, high } = anchor.unwrap_or(NO_ANCHOR);
        let other = looked_at.unwrap_or(NO_ANCHOR);
        let incarnation = hex::encode(incarnation.0);
        sealed(&format!(
            "{incarnation} {longest_lease_ms:010} {commits:020} {revision:020} \
             {low:020} {high:020} {:020} {:020} {sequence:020}",
            other.low, other.high
        ))
    }

    /// The record and its sequence; `None` for anything that [`Self::text`] does
    /// not write.
    pub fn parse(bytes: &[u8]) -> Option<Numbered> {
        let text = std::str::from_utf8(bytes).ok()?;
        let mut words = text.split_ascii_whitespace();
        let incarnation = incarnation(words.next()?)?;
        let longest_lease_ms = words.next()?.parse().ok()?;
        let mut number = || -> Option<u64> { words.next()?.parse().ok() };
        let record = Self {
            incarnation,
            longest_lease_ms,
            mark: Some(Mark {
                commits: number()?,
                revision: number()?,
            }),
            anchor: anchor(&mut number)?,
            looked_at: anchor(&mut number)?,
        };
        let sequence = number()?;
        let numbered = Numbered { sequence, record };
        (record.text(sequence) == text).then_some(numbered)
    }

    /// A record of a version that knew no mark.
    pub fn parse_old(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let mut words = text.split_ascii_whitespace();
        let (id, lease) = (words.next()?, words.next()?);
        let record = Self {
            incarnation: incarnation(id)?,
            longest_lease_ms: lease.parse().ok()?,
            mark: None,
            anchor: None,
            looked_at: None,
        };
        (sealed(&format!("{id} {lease}")) == text).then_some(record)
    }
}

/// A record and its place in the order of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbered {
    /// Grows with each record.
    pub sequence: u64,
    /// What it says.
    pub record: Record,
}

fn anchor(number: &mut impl FnMut() -> Option<u64>) -> Option<Option<Anchor>> {
    let (low, high) = (number()?, number()?);
    Some((low <= high).then_some(Anchor { low, high }))
}

fn incarnation(text: &str) -> Option<Incarnation> {
    let mut id = [0; 16];
    hex::decode_to_slice(text, &mut id).ok()?;
    Some(Incarnation(id))
}

/// With a check that tells a whole line from a torn one.
fn sealed(content: &str) -> String {
    let mut check = Digest::of(content.as_bytes()).to_hex();
    check.truncate(16);
    format!("{content} {check}\n")
}

/// What the record has to say, before and during one incarnation. Each change returns
/// what is to be written, if anything is.
#[derive(Debug, Clone, Copy)]
pub struct Memo {
    record: Option<Record>,
    anchor: Option<Anchor>,
    /// Not in an incarnation that serves nothing: what was served last stays on record.
    is_served: bool,
    /// In such an incarnation.
    only_looks: bool,
    /// The longest lease of this incarnation and of those that the database knows.
    granted_ms: u32,
}

impl Memo {
    /// Before an incarnation begins.
    pub fn found(past: Past) -> Self {
        let record = match past {
            Past::Known(record) => Some(record),
            Past::Nothing | Past::Unknown => None,
        };
        Self {
            record,
            anchor: record.and_then(|record| record.anchor),
            is_served: false,
            only_looks: false,
            granted_ms: 0,
        }
    }

    /// An incarnation begins, in the database already, which is so far.
    pub fn begin(&mut self, start: &Start, mark: Mark) -> Option<Record> {
        if start.restored {
            return None;
        }
        self.is_served = true;
        self.granted_ms = start.longest_lease_ms;
        self.record = Some(Record {
            incarnation: start.history.head().incarnation,
            longest_lease_ms: start.held_lease_ms,
            mark: Some(mark),
            anchor: self.anchor,
            looked_at: None,
        });
        self.record
    }

    /// The file that is there is not the one that was served last, and will not be
    /// served: it is known beside that one.
    pub fn look_only(&mut self) {
        self.only_looks = true;
        self.anchor = self.record.and_then(|record| record.looked_at);
    }

    /// The values that the file's anchor may have from now on.
    pub fn anchored(&mut self, anchor: Anchor) -> Option<Record> {
        self.anchor = Some(anchor);
        let record = self.record.as_mut()?;
        match self.only_looks {
            true => record.looked_at = Some(anchor),
            false => record.anchor = Some(anchor),
        }
        Some(*record)
    }

    /// See [`Self::anchored`].
    pub fn anchor(&self) -> Option<Anchor> {
        self.anchor
    }

    /// A transaction is on disk (S8).
    pub fn committed(&mut self, mark: Mark) -> Option<Record> {
        let record = self.served()?;
        record.mark = Some(mark);
        Some(*record)
    }

    /// A lease is about to be granted (S9).
    pub fn grant(&mut self, lease_ms: u32) -> Option<Record> {
        self.granted_ms = self.granted_ms.max(lease_ms);
        let record = self.served()?;
        record.longest_lease_ms = record.longest_lease_ms.max(lease_ms);
        Some(*record)
    }

    /// All leases of former incarnations are over: what was only supposed of them is
    /// forgotten.
    pub fn settle(&mut self) -> Option<Record> {
        let granted_ms = self.granted_ms;
        let record = self.served()?;
        record.longest_lease_ms = granted_ms;
        Some(*record)
    }

    fn served(&mut self) -> Option<&mut Record> {
        self.record.as_mut().filter(|_| self.is_served)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: Record = Record {
        incarnation: Incarnation([7; 16]),
        longest_lease_ms: 30_000,
        mark: Some(Mark {
            commits: 12,
            revision: 1 << 52,
        }),
        anchor: Some(Anchor { low: 3, high: 4 }),
        looked_at: None,
    };

    #[test]
    fn a_record_is_read_as_it_was_written_and_not_otherwise() {
        let text = RECORD.text(9);
        assert_eq!(text.len(), RECORD_LEN);
        let read = Record::parse(text.as_bytes()).unwrap();
        let numbered = Numbered {
            sequence: 9,
            record: RECORD,
        };
        assert_eq!(read, numbered);
        for at in 0..text.len() {
            let mut torn = text.clone().into_bytes();
            torn[at] ^= 1;
            assert_eq!(Record::parse(&torn), None, "byte {at}");
            assert_eq!(Record::parse(&torn[..at]), None, "cut at {at}");
        }
    }

    #[test]
    fn a_record_of_an_older_version_has_no_mark() {
        let text = sealed(&format!("{} {:010}", hex::encode([7; 16]), 30_000));
        assert_eq!(text.len(), OLD_RECORD_LEN);
        let old = Record::parse_old(text.as_bytes()).unwrap();
        let (mark, anchor) = (None, None);
        let expected = Record {
            mark,
            anchor,
            ..RECORD
        };
        assert_eq!(old, expected);
        assert_eq!(Record::parse_old(RECORD.text(1).as_bytes()), None);
    }

    #[test]
    fn s8_an_incarnation_that_serves_nothing_leaves_what_was_served_on_record() {
        let mut memo = Memo::found(Past::Known(RECORD));
        memo.look_only();
        assert_eq!(memo.committed(Mark::default()), None);
        assert_eq!(memo.grant(1_000), None);
        assert_eq!(memo.settle(), None);
        let looked_at = Some(Anchor { low: 4, high: 9 });
        let written = memo.anchored(Anchor { low: 4, high: 9 });
        let expected = Record {
            looked_at,
            ..RECORD
        };
        assert_eq!(written, Some(expected));
        let read = Record::parse(expected.text(3).as_bytes()).unwrap();
        assert_eq!(read.record, expected);
    }
}
