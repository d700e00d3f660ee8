//! Keys known to be revoked, in a bounded table in shared data. The layout of
//! a slot is known to this file alone.
//!
//! A revoked key never becomes active again (I1), so a tombstone can be
//! trusted for ever, without a lease; all that eviction costs is a call.

use rekey_protocol::Digest;
use sha2::{Digest as _, Sha256};

use crate::config::{ChecksumPolicy, Config};
use crate::env::{Cas, SharedData, SharedDataError};

/// Version of the layout below; a part of the namespace.
const SCHEMA: u8 = 1;
const REVOKED: u8 = 1;
/// schema, state, digest, revision.
const RECORD_LEN: usize = 1 + 1 + 32 + 8;
/// A slot is contended only by revocations of keys that share it.
const WRITE_ATTEMPTS: usize = 8;

/// What all our names in shared data begin with: a hash of schema, cluster and
/// settings of trust, so that two configurations or builds in one process
/// never read each other's state (DESIGN section 5).
pub fn namespace(config: &Config) -> String {
    let mut hash = Sha256::new();
    let checksum = match config.checksum {
        ChecksumPolicy::Required => 1,
        ChecksumPolicy::Off => 0,
    };
    hash.update([SCHEMA, checksum]);
    hash.update(config.cache_slots.to_be_bytes());
    hash.update(config.lease_ms.to_be_bytes());
    hash.update(config.store.cluster.as_bytes());
    let hash = hash.finalize();
    // No `/`: other hosts split names there.
    format!(
        "rekey.{}.",
        hex::encode(hash.first_chunk::<8>().copied().unwrap_or_default())
    )
}

/// The table.
pub struct Tombstones {
    namespace: String,
    slots: u32,
}

impl Tombstones {
    /// A table of so many slots under a [`namespace`].
    pub fn new(namespace: String, slots: u32) -> Self {
        Self { namespace, slots }
    }

    /// Whether this key is known to be revoked. A slot that cannot be read or
    /// understood is a miss: the store is asked then.
    pub fn contains(&self, shared: &mut dyn SharedData, digest: &Digest) -> bool {
        matches!(
            shared.get(&self.slot_of(digest)),
            Ok(Some((value, _))) if read(&value).is_some_and(|record| record.digest == *digest)
        )
    }

    /// Writes down that this key was revoked at `revision`, in place of what
    /// the slot held, unless that is of a later schema.
    pub fn insert(
        &self,
        shared: &mut dyn SharedData,
        digest: &Digest,
        revision: u64,
    ) -> Result<(), SharedDataError> {
        let name = self.slot_of(digest);
        let value = write(digest, revision);
        for _ in 0..WRITE_ATTEMPTS {
            let cas = match shared.get(&name)? {
                None => Cas::Absent,
                Some((held, version)) => match read(&held) {
                    Some(held) if held.digest == *digest => return Ok(()),
                    None if !held.is_empty() => return Ok(()),
                    _ => Cas::Version(version),
                },
            };
            match shared.set(&name, &value, cas) {
                Err(SharedDataError::CasMismatch) => {}
                decided => return decided,
            }
        }
        Err(SharedDataError::CasMismatch)
    }

    fn slot_of(&self, digest: &Digest) -> String {
        let bytes = digest
            .as_bytes()
            .first_chunk::<4>()
            .copied()
            .unwrap_or_default();
        let slot = u32::from_be_bytes(bytes) % self.slots.max(1);
        format!("{}slot.{slot}", self.namespace)
    }
}

struct Record {
    digest: Digest,
}

fn write(digest: &Digest, revision: u64) -> [u8; RECORD_LEN] {
    let mut value = [0; RECORD_LEN];
    let fields = [SCHEMA, REVOKED].into_iter().chain(*digest.as_bytes());
    for (place, byte) in value.iter_mut().zip(fields.chain(revision.to_be_bytes())) {
        *place = byte;
    }
    value
}

fn read(value: &[u8]) -> Option<Record> {
    let value: &[u8; RECORD_LEN] = value.try_into().ok()?;
    let (head, rest) = value.split_at(2);
    let digest = Digest::from_bytes(*rest.first_chunk::<32>()?);
    (head == [SCHEMA, REVOKED]).then_some(Record { digest })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::testing::Memory;

    fn table(slots: u32) -> Tombstones {
        Tombstones::new("t.".into(), slots)
    }

    fn digest(n: u32) -> Digest {
        Digest::of(&n.to_be_bytes())
    }

    #[test]
    fn holds_what_was_inserted_and_nothing_else() {
        let (table, mut shared) = (table(4096), Memory::default());
        table.insert(&mut shared, &digest(1), 7).unwrap();
        assert!(table.contains(&mut shared, &digest(1)));
        assert!(!table.contains(&mut shared, &digest(2)));
    }

    #[test]
    fn is_bounded_and_compares_the_whole_digest() {
        // I8: a year of rotations does not grow it.
        let (table, mut shared) = (table(16), Memory::default());
        for n in 0..1000 {
            table.insert(&mut shared, &digest(n), n.into()).unwrap();
            assert!(table.contains(&mut shared, &digest(n)));
        }
        assert_eq!(shared.entries.len(), 16);
        let held = (0..1000)
            .filter(|n| table.contains(&mut shared, &digest(*n)))
            .count();
        assert_eq!(held, 16);
    }

    #[test]
    fn a_lost_race_is_run_again_and_has_an_end() {
        let (table, mut shared) = (table(16), Memory::default());
        shared.lose_races = 3;
        table.insert(&mut shared, &digest(1), 1).unwrap();
        assert!(table.contains(&mut shared, &digest(1)));
        shared.lose_races = u32::MAX;
        assert!(table.insert(&mut shared, &digest(2), 2).is_err());
    }

    #[test]
    fn a_value_of_another_schema_is_a_miss_and_stays() {
        let (table, mut shared) = (table(1), Memory::default());
        let mut foreign = write(&digest(1), 1);
        foreign[0] = SCHEMA + 1;
        for value in [foreign.to_vec(), vec![1, 2, 3]] {
            shared.entries.insert("t.slot.0".into(), (value.clone(), 1));
            assert!(!table.contains(&mut shared, &digest(1)));
            table.insert(&mut shared, &digest(1), 1).unwrap();
            assert_eq!(shared.entries["t.slot.0"].0, value);
        }
        // An emptied entry is as good as none.
        shared.entries.insert("t.slot.0".into(), (vec![], 1));
        table.insert(&mut shared, &digest(1), 1).unwrap();
        assert!(table.contains(&mut shared, &digest(1)));
    }
}
