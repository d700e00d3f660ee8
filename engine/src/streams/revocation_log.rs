//! The last revocations that the process has heard of, in shared data: so that
//! a worker learns from another one which of its streams have to end.
//!
//! The tombstones in [`crate::slots`] refuse; this only tells. It is written
//! behind the tombstone, by compare-and-swap, and each worker remembers up to
//! where it has read. It keeps a fixed number of digests (I8): a worker that was
//! away for longer is told so, and asks the slots.

use rekey_protocol::Digest;

use crate::config::Config;
use crate::host::env::{SharedData, SharedDataError};
use crate::shared::SharedTable;
use crate::shared::codec::{FieldReader, FieldWriter};
use crate::shared::entry::{Entries, Layout, Next, Schema, Unreadable};

/// Digests that are kept: 4 KiB of them.
const KEPT: usize = 128;

/// The log of a configuration.
pub struct RevocationLog {
    entries: Entries<Revocations>,
}

impl SharedTable for RevocationLog {
    type Value = Revocations;

    fn open(entries: Entries<Revocations>, _: &Config) -> Self {
        Self { entries }
    }
}

/// What a worker has missed.
#[derive(Debug, PartialEq, Eq)]
pub struct Missed {
    /// The number of the newest revocation: from here it reads on.
    pub newest: u64,
    /// The keys; none if they were more than are kept.
    pub revoked: Option<Vec<Digest>>,
}

/// What the log's entry holds.
#[derive(Default)]
pub(crate) struct Revocations {
    /// The number of the newest: how many there have ever been.
    newest: u64,
    /// The oldest first.
    digests: Vec<Digest>,
}

impl RevocationLog {
    /// The table in a namespace of a test's own.
    #[cfg(any(test, feature = "fuzzing"))]
    pub fn under(namespace: &str) -> Self {
        Self {
            entries: Entries::under(namespace),
        }
    }

    /// Adds revocations whose tombstones have been written.
    ///
    /// # Errors
    /// They could not be added: the other workers do not know.
    pub fn add(
        &self,
        shared: &mut dyn SharedData,
        revoked: &[Digest],
    ) -> Result<(), SharedDataError> {
        if revoked.is_empty() {
            return Ok(());
        }
        self.entries.only().update(shared, |held| {
            let mut log = held.unwrap_or_default();
            log.push(revoked);
            Next::Write(log, ())
        })
    }

    /// What was added since the revocation of this number; none if nothing was.
    /// A log that cannot be read tells nothing: the next look does.
    pub fn since(&self, shared: &mut dyn SharedData, number: u64) -> Option<Missed> {
        let Revocations { newest, digests } = self.entries.only().read(shared).ok()??;
        if newest == number {
            return None;
        }
        let missed = newest.checked_sub(number).and_then(|missed| {
            let missed = usize::try_from(missed).ok()?;
            let first = digests.len().checked_sub(missed)?;
            digests.get(first..).map(<[Digest]>::to_vec)
        });
        Some(Missed {
            newest,
            revoked: missed,
        })
    }
}

impl Revocations {
    fn push(&mut self, added: &[Digest]) {
        self.digests.extend(added);
        let gone = self.digests.len().saturating_sub(KEPT);
        self.digests.drain(..gone);
        self.newest += u64::try_from(added.len()).unwrap_or(u64::MAX);
    }
}

impl Layout for Revocations {
    const SCHEMA: Schema = Schema {
        table: "revoked",
        version: 1,
        unreadable: Unreadable::IsLeftAlone,
    };

    fn encode(&self) -> Vec<u8> {
        let head = FieldWriter::default()
            .u8(Self::SCHEMA.version)
            .u64(self.newest);
        let written = self.digests.iter();
        let written = written.fold(head, |log, digest| log.bytes(digest.as_bytes()));
        written.finish()
    }

    fn decode(value: &[u8]) -> Option<Self> {
        let mut fields = FieldReader::new(value);
        if fields.u8()? != Self::SCHEMA.version {
            return None;
        }
        let newest = fields.u64()?;
        let mut digests = Vec::with_capacity(KEPT);
        while !fields.is_empty() {
            digests.push(Digest::from_bytes(fields.array()?));
        }
        (digests.len() <= KEPT).then_some(Self { newest, digests })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Memory;

    fn log() -> RevocationLog {
        RevocationLog::under("n.")
    }

    fn digests(numbers: std::ops::Range<usize>) -> Vec<Digest> {
        let digest = |number: usize| Digest::of(number.to_string().as_bytes());
        numbers.map(digest).collect()
    }

    fn missed(newest: u64, revoked: Option<Vec<Digest>>) -> Option<Missed> {
        Some(Missed { newest, revoked })
    }

    #[test]
    fn each_reader_is_told_what_it_has_missed() {
        let (log, mut memory) = (log(), Memory::default());
        assert_eq!(log.since(&mut memory, 0), None);
        log.add(&mut memory, &digests(0..2)).unwrap();
        log.add(&mut memory, &digests(2..3)).unwrap();
        assert_eq!(log.since(&mut memory, 0), missed(3, Some(digests(0..3))));
        assert_eq!(log.since(&mut memory, 2), missed(3, Some(digests(2..3))));
        assert_eq!(log.since(&mut memory, 3), None);
    }

    #[test]
    fn i8_is_bounded_and_says_what_it_has_forgotten() {
        let (log, mut memory) = (log(), Memory::default());
        log.add(&mut memory, &digests(0..KEPT)).unwrap();
        assert_eq!(
            log.since(&mut memory, 0).unwrap().revoked.unwrap().len(),
            KEPT
        );
        let size = memory.entries["n.revoked"].value.len();
        log.add(&mut memory, &digests(KEPT..3 * KEPT)).unwrap();
        assert_eq!(memory.entries["n.revoked"].value.len(), size);
        let newest = 3 * KEPT as u64;
        let kept = digests(2 * KEPT..3 * KEPT);
        let first = newest - KEPT as u64;
        assert_eq!(log.since(&mut memory, first), missed(newest, Some(kept)));
        assert_eq!(log.since(&mut memory, first - 1), missed(newest, None));
        // Of a life of the process that this one knows nothing of.
        assert_eq!(log.since(&mut memory, newest + 1), missed(newest, None));
    }

    #[test]
    fn a_lost_race_is_run_again_and_another_schema_is_left_alone() {
        let (log, mut memory) = (log(), Memory::default());
        memory.lose_races = 3;
        log.add(&mut memory, &digests(0..1)).unwrap();
        assert_eq!(log.since(&mut memory, 0), missed(1, Some(digests(0..1))));
        let other = vec![Revocations::SCHEMA.version + 1, 0];
        memory.entries.get_mut("n.revoked").unwrap().value = other.clone();
        let refused = log.add(&mut memory, &digests(1..2));
        assert_eq!(refused, Err(SharedDataError::Unreadable));
        assert_eq!(memory.entries["n.revoked"].value, other);
        assert_eq!(log.since(&mut memory, 0), None);
    }
}
