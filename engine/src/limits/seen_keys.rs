//! Keys that the store called good before, on this gateway: a bounded set of
//! short fingerprints in shared data.
//!
//! It holds no trust. It outlives generations, may hold keys that are long dead,
//! and two keys may share a fingerprint; it only decides whether a key that has
//! to be asked for anew (evicted, or its lease lost) competes with keys that
//! nobody has seen ([`crate::budget`]).
//!
//! Read on a miss only, and written only when the store has called a key good
//! that is not in it.

use rekey_protocol::Digest;

use crate::host::env::SharedData;
use crate::shared::entry::{self, Next};

/// Version of the layout; a part of the namespace (G10).
pub const SCHEMA: u8 = 1;
/// Fingerprints in one entry, the newest first.
const WAYS: usize = 64;
/// Bytes of one.
const BYTES: usize = 4;
/// There are four times as many fingerprints as keys that the table holds, and
/// 65,536 at least: 256 KiB.
const SLOTS_PER_ENTRY: u32 = 4;
const LEAST_ENTRIES: u32 = 1024;

/// The set.
pub struct Acquaintances {
    namespace: String,
    entries: u32,
}

impl Acquaintances {
    /// The set beside a table of so many slots under a namespace.
    pub fn new(namespace: &str, slots: u32) -> Self {
        Self {
            namespace: namespace.to_owned(),
            entries: (slots / SLOTS_PER_ENTRY).max(LEAST_ENTRIES),
        }
    }

    /// Whether the store has called this key good; what cannot be read says no.
    pub fn has(&self, shared: &mut dyn SharedData, digest: &Digest) -> bool {
        let (name, fingerprint) = self.place(digest);
        let held = shared.get(&name);
        held.is_ok_and(|held| held.is_some_and(|(value, _)| holds(&value, fingerprint)))
    }

    /// The store has called this key good. If it cannot be noted, it is a
    /// stranger the next time, too.
    pub fn note(&self, shared: &mut dyn SharedData, digest: &Digest) {
        let (name, fingerprint) = self.place(digest);
        let _ = entry::change(shared, &name, |held| {
            let held = held.unwrap_or_default();
            if holds(held, fingerprint) {
                return (Next::Keep, ());
            }
            let mut next = fingerprint.to_vec();
            next.extend(held.iter().take((WAYS - 1) * BYTES));
            (Next::Write(next), ())
        });
    }

    /// The name of the key's entry, and its fingerprint there: bytes of the
    /// digest that choose neither this entry nor the key's slot in the table.
    fn place(&self, digest: &Digest) -> (String, [u8; BYTES]) {
        let mut words = digest.as_bytes().chunks_exact(BYTES).skip(1);
        let mut word = || {
            let word = words.next().and_then(|word| word.first_chunk());
            word.copied().unwrap_or_default()
        };
        let (place, fingerprint) = (word(), word());
        let entry = u32::from_be_bytes(place) % self.entries.max(1);
        (format!("{}seen.{entry}", self.namespace), fingerprint)
    }
}

fn holds(value: &[u8], fingerprint: [u8; BYTES]) -> bool {
    value.chunks_exact(BYTES).any(|held| held == fingerprint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::env::testing::Memory;

    fn digest(number: u32) -> Digest {
        Digest::of(&number.to_be_bytes())
    }

    #[test]
    fn who_was_noted_is_known_and_nobody_else() {
        let (set, mut memory) = (Acquaintances::new("n.", 4096), Memory::default());
        for number in 0..1_000 {
            set.note(&mut memory, &digest(number));
        }
        assert!((0..1_000).all(|number| set.has(&mut memory, &digest(number))));
        assert!((1_000..100_000).all(|number| !set.has(&mut memory, &digest(number))));
    }

    #[test]
    fn to_note_again_writes_nothing() {
        let (set, mut memory) = (Acquaintances::new("n.", 4096), Memory::default());
        set.note(&mut memory, &digest(1));
        let before = memory.entries.clone();
        set.note(&mut memory, &digest(1));
        assert_eq!(memory.entries, before);
    }

    #[test]
    fn i8_is_bounded_and_forgets_the_oldest() {
        let mut memory = Memory::default();
        let set = Acquaintances {
            namespace: "n.".into(),
            entries: 2,
        };
        let all = 100_000;
        for number in 0..all {
            set.note(&mut memory, &digest(number));
        }
        assert_eq!(memory.entries.len(), 2);
        let sizes = memory.entries.values().map(|(value, _)| value.len());
        assert!(sizes.into_iter().all(|size| size == WAYS * BYTES));
        // Of the newest, which fell into the two entries by halves.
        assert!((all - 80..all).all(|number| set.has(&mut memory, &digest(number))));
        assert!((0..1_000).all(|number| !set.has(&mut memory, &digest(number))));
    }

    #[test]
    fn a_bigger_table_has_more_of_them() {
        assert_eq!(Acquaintances::new("n.", 1).entries, 1024);
        assert_eq!(Acquaintances::new("n.", 4096).entries, 1024);
        assert_eq!(Acquaintances::new("n.", 1 << 20).entries, 1 << 18);
    }
}
