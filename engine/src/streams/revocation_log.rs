//! The last revocations that the process has heard of, in shared data: so that
//! a worker learns from another one which of its streams have to end.
//!
//! The tombstones in [`crate::slots`] refuse; this only tells. It is written
//! behind the tombstone, by compare-and-swap, and each worker remembers up to
//! where it has read. It keeps a fixed number of digests (I8): a worker that was
//! away for longer is told so, and asks the slots.

use rekey_protocol::Digest;

use crate::host::env::{Cas, SharedData, SharedDataError};
use crate::shared::codec::{Reader, Writer};

/// Version of the layout below; a part of the namespace (G10).
pub const SCHEMA: u8 = 1;
/// Digests that are kept: 4 KiB of them.
const KEPT: usize = 128;
/// Who feeds and who happens to hear of a revocation write it; others read.
const WRITE_ATTEMPTS: usize = 8;

/// The log of a namespace.
pub struct Log {
    name: String,
}

/// What a worker has missed.
#[derive(Debug, PartialEq, Eq)]
pub struct Missed {
    /// The number of the newest revocation: from here it reads on.
    pub newest: u64,
    /// The keys; none if they were more than are kept.
    pub revoked: Option<Vec<Digest>>,
}

#[derive(Default)]
struct Entries {
    /// The number of the newest: how many there have ever been.
    newest: u64,
    /// The oldest first.
    digests: Vec<Digest>,
}

impl Log {
    /// The log of a namespace.
    pub fn new(namespace: &str) -> Self {
        Self {
            name: format!("{namespace}revoked"),
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
        for _ in 0..WRITE_ATTEMPTS {
            let (mut entries, cas) = match shared.get(&self.name)? {
                None => (Entries::default(), Cas::Absent),
                // A value of another schema is never overwritten.
                Some((value, version)) => {
                    let entries = Entries::decode(&value).ok_or(SharedDataError::Unreadable)?;
                    (entries, Cas::Version(version))
                }
            };
            entries.push(revoked);
            match shared.set(&self.name, &entries.encode(), cas) {
                Err(SharedDataError::CasMismatch) => {}
                written => return written,
            }
        }
        Err(SharedDataError::CasMismatch)
    }

    /// What was added since the revocation of this number; none if nothing was.
    /// A log that cannot be read tells nothing: the next look does.
    pub fn since(&self, shared: &mut dyn SharedData, number: u64) -> Option<Missed> {
        let (value, _) = shared.get(&self.name).ok()??;
        let Entries { newest, digests } = Entries::decode(&value)?;
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

impl Entries {
    fn push(&mut self, added: &[Digest]) {
        self.digests.extend(added);
        let gone = self.digests.len().saturating_sub(KEPT);
        self.digests.drain(..gone);
        self.newest += u64::try_from(added.len()).unwrap_or(u64::MAX);
    }

    fn encode(&self) -> Vec<u8> {
        let head = Writer::default().u8(SCHEMA).u64(self.newest);
        let written = self.digests.iter();
        let written = written.fold(head, |log, digest| log.bytes(digest.as_bytes()));
        written.finish()
    }

    fn decode(value: &[u8]) -> Option<Self> {
        let mut fields = Reader::new(value);
        if fields.u8()? != SCHEMA {
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
    use crate::host::env::testing::Memory;

    fn digests(numbers: std::ops::Range<usize>) -> Vec<Digest> {
        let digest = |number: usize| Digest::of(number.to_string().as_bytes());
        numbers.map(digest).collect()
    }

    fn missed(newest: u64, revoked: Option<Vec<Digest>>) -> Option<Missed> {
        Some(Missed { newest, revoked })
    }

    #[test]
    fn each_reader_is_told_what_it_has_missed() {
        let (log, mut memory) = (Log::new("n."), Memory::default());
        assert_eq!(log.since(&mut memory, 0), None);
        log.add(&mut memory, &digests(0..2)).unwrap();
        log.add(&mut memory, &digests(2..3)).unwrap();
        assert_eq!(log.since(&mut memory, 0), missed(3, Some(digests(0..3))));
        assert_eq!(log.since(&mut memory, 2), missed(3, Some(digests(2..3))));
        assert_eq!(log.since(&mut memory, 3), None);
    }

    #[test]
    fn i8_is_bounded_and_says_what_it_has_forgotten() {
        let (log, mut memory) = (Log::new("n."), Memory::default());
        log.add(&mut memory, &digests(0..KEPT)).unwrap();
        assert_eq!(
            log.since(&mut memory, 0).unwrap().revoked.unwrap().len(),
            KEPT
        );
        let size = memory.entries["n.revoked"].0.len();
        log.add(&mut memory, &digests(KEPT..3 * KEPT)).unwrap();
        assert_eq!(memory.entries["n.revoked"].0.len(), size);
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
        let (log, mut memory) = (Log::new("n."), Memory::default());
        memory.lose_races = 3;
        log.add(&mut memory, &digests(0..1)).unwrap();
        assert_eq!(log.since(&mut memory, 0), missed(1, Some(digests(0..1))));
        let other = vec![SCHEMA + 1, 0];
        memory.entries.get_mut("n.revoked").unwrap().0 = other.clone();
        let refused = log.add(&mut memory, &digests(1..2));
        assert_eq!(refused, Err(SharedDataError::Unreadable));
        assert_eq!(memory.entries["n.revoked"].0, other);
        assert_eq!(log.since(&mut memory, 0), None);
    }
}
