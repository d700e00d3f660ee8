//! Keys that the store called good before, on this gateway: a bounded set of
//! short fingerprints in shared data.
//!
//! It holds no trust. It outlives generations, may hold keys that are long dead,
//! and two keys may share a fingerprint; it only decides whether a key that has
//! to be asked for again (evicted, or its lease lost) competes with keys that
//! nobody has seen ([`crate::limits::token_bucket`]).
//!
//! Read on a miss only, and written only when the store has called a key good
//! that is not in it.

use rekey_protocol::Digest;

use crate::config::Config;
use crate::host::env::SharedData;
use crate::shared::SharedTable;
use crate::shared::entry::{Entries, Entry, Layout, Next, Schema, Unreadable};

/// Fingerprints in one entry, the newest first.
const WAYS: usize = 64;
/// Bytes of a fingerprint.
const BYTES: usize = 4;
/// There are four times as many fingerprints as keys that the table holds, and
/// 65,536 at least: 256 KiB.
const SLOTS_PER_ENTRY: u32 = 4;
const LEAST_ENTRIES: u32 = 1024;

/// A short stand-in for a key.
type Fingerprint = [u8; BYTES];

/// Some of the set, the newest first.
#[derive(Debug, Default)]
pub(crate) struct Fingerprints(Vec<Fingerprint>);

pub(crate) struct SeenKeys {
    entries: Entries<Fingerprints>,
    /// How many there are.
    number: u32,
}

impl SharedTable for SeenKeys {
    type Value = Fingerprints;

    fn open(entries: Entries<Fingerprints>, config: &Config) -> Self {
        Self::new(entries, config.cache_slots)
    }
}

/// Where a key is in the set.
struct FingerprintPlace<'a> {
    entry: Entry<'a, Fingerprints>,
    fingerprint: Fingerprint,
}

impl SeenKeys {
    /// The set beside a key cache of so many slots.
    pub(crate) fn new(entries: Entries<Fingerprints>, slots: u32) -> Self {
        Self {
            entries,
            number: (slots / SLOTS_PER_ENTRY).max(LEAST_ENTRIES),
        }
    }

    /// Whether the store has called this key good; what cannot be read says no.
    pub(crate) fn has(&self, shared: &mut dyn SharedData, digest: &Digest) -> bool {
        let FingerprintPlace { entry, fingerprint } = self.place(digest);
        let held = entry.read(shared).ok().flatten();
        held.is_some_and(|held| held.0.contains(&fingerprint))
    }

    /// The store has called this key good. If it cannot be noted, it is new the next
    /// time, too.
    pub(crate) fn note(&self, shared: &mut dyn SharedData, digest: &Digest) {
        let FingerprintPlace { entry, fingerprint } = self.place(digest);
        let _ = entry.update(shared, |held| {
            let Fingerprints(mut held) = held.unwrap_or_default();
            if held.contains(&fingerprint) {
                return Next::Keep(());
            }
            held.insert(0, fingerprint);
            held.truncate(WAYS);
            Next::Write(Fingerprints(held), ())
        });
    }

    /// Bytes of the digest that choose neither the key's slot in the cache nor each
    /// other.
    fn place(&self, digest: &Digest) -> FingerprintPlace<'_> {
        let mut words = digest.as_bytes().chunks_exact(BYTES).skip(1);
        let mut word = || {
            let word = words.next().and_then(|word| word.first_chunk());
            word.copied().unwrap_or_default()
        };
        let (place, fingerprint) = (word(), word());
        let entry = u32::from_be_bytes(place) % self.number.max(1);
        FingerprintPlace {
            entry: self.entries.at(entry),
            fingerprint,
        }
    }
}

impl Layout for Fingerprints {
    const SCHEMA: Schema = Schema {
        table: "seen",
        version: 1,
        unreadable: Unreadable::IsReplaced,
    };

    fn encode(&self) -> Vec<u8> {
        self.0.concat()
    }

    fn decode(value: &[u8]) -> Option<Self> {
        let (fingerprints, rest) = value.as_chunks::<BYTES>();
        rest.is_empty().then(|| Self(fingerprints.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Memory;

    fn digest(number: u32) -> Digest {
        Digest::of(&number.to_be_bytes())
    }

    #[test]
    fn who_was_noted_is_known_and_nobody_else() {
        let (set, mut memory) = (SeenKeys::new(Entries::under("n."), 4096), Memory::default());
        for number in 0..1_000 {
            set.note(&mut memory, &digest(number));
        }
        assert!((0..1_000).all(|number| set.has(&mut memory, &digest(number))));
        assert!((1_000..100_000).all(|number| !set.has(&mut memory, &digest(number))));
    }

    #[test]
    fn to_note_again_writes_nothing() {
        let (set, mut memory) = (SeenKeys::new(Entries::under("n."), 4096), Memory::default());
        set.note(&mut memory, &digest(1));
        let before = memory.entries.clone();
        set.note(&mut memory, &digest(1));
        assert_eq!(memory.entries, before);
    }

    #[test]
    fn i8_is_bounded_and_forgets_the_oldest() {
        let mut memory = Memory::default();
        let set = SeenKeys {
            entries: Entries::under("n."),
            number: 2,
        };
        let all = 100_000;
        for number in 0..all {
            set.note(&mut memory, &digest(number));
        }
        assert_eq!(memory.entries.len(), 2);
        let sizes = memory.entries.values().map(|held| held.value.len());
        assert!(sizes.into_iter().all(|size| size == WAYS * BYTES));
        // Of the newest, which fell into the two entries by halves.
        assert!((all - 80..all).all(|number| set.has(&mut memory, &digest(number))));
        assert!((0..1_000).all(|number| !set.has(&mut memory, &digest(number))));
    }

    #[test]
    fn a_bigger_table_has_more_of_them() {
        assert_eq!(SeenKeys::new(Entries::under("n."), 1).number, 1024);
        assert_eq!(SeenKeys::new(Entries::under("n."), 4096).number, 1024);
        assert_eq!(SeenKeys::new(Entries::under("n."), 1 << 20).number, 1 << 18);
    }
}
