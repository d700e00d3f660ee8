//! Keys that the store does not know, in the memory of one worker: so that one
//! of them that comes again and again, from a client that was set up wrongly,
//! costs a call now and then and not one for each request.
//!
//! It can never hide a new key. A key that the store or a gateway has drawn has
//! [`KEY_BITS`](rekey_protocol::KEY_BITS) random bits, so nobody has asked for it before it was made: those of
//! `users add`, `keys issue`, the dashboard and every rotation, and none of them
//! can be asked for between the drawing and the commit (G12). Only an import
//! makes a key good that somebody bore before. It has a revision, which the feed
//! tells; the store's "unknown" has one, too ([`Control::keys_imported_at`]). So
//! an entry counts only while there was no import after it, as far as this
//! gateway has applied the store's changes; only under a lease; and only in the
//! generation in which it was asked for. The import is done when no gateway
//! has, under a lease, applied less than it: its command waits for that as a
//! revocation does (S7).

use rekey_protocol::Digest;

use crate::cache::control::Control;

/// Entries: each of some 56 bytes, in memory that is taken with the first.
const ENTRIES: u32 = 2048;

/// A key that the store did not know.
#[derive(Debug, Clone, Copy)]
struct UnknownKey {
    digest: Digest,
    /// In which it was asked for (G5).
    generation: u64,
    /// The store's head when it said so (S1).
    revision: u64,
}

/// A table of them, in which a key has one place.
#[derive(Default)]
pub(crate) struct NegativeCache {
    entries: Vec<Option<UnknownKey>>,
}

impl NegativeCache {
    /// The store did not know this key at this revision, asked for in this
    /// generation.
    pub(crate) fn note(&mut self, digest: Digest, generation: u64, revision: u64) {
        if self.entries.is_empty() {
            self.entries = vec![None; ENTRIES as usize];
        }
        let place = place(&digest);
        if let Some(entry) = self.entries.get_mut(place) {
            *entry = Some(UnknownKey {
                digest,
                generation,
                revision,
            });
        }
    }

    /// Whether the store cannot know this key, by a control record that is
    /// trusted at this moment (I7: the caller has asked).
    pub(crate) fn has(&self, digest: &Digest, control: &Control) -> bool {
        let entry = self.entries.get(place(digest)).copied().flatten();
        entry.is_some_and(|entry| {
            entry.digest == *digest
                && entry.generation == control.generation.number
                && entry.revision >= control.keys_imported_at
        })
    }
}

fn place(digest: &Digest) -> usize {
    let bytes = digest.as_bytes().last_chunk().copied().unwrap_or_default();
    (u32::from_be_bytes(bytes) % ENTRIES) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use rekey_protocol::GatewayId;

    fn control(generation: u64, keys_imported_at: u64) -> Control {
        let mut control = Control::new(GatewayId([1; 16]));
        control.generation.number = generation;
        control.keys_imported_at = keys_imported_at;
        control
    }

    #[test]
    fn an_entry_ends_with_an_import_after_it_and_with_its_generation() {
        let mut keys = NegativeCache::default();
        let digest = Digest::of(b"k");
        assert!(!keys.has(&digest, &control(1, 0)));
        keys.note(digest, 1, 20);
        for (generation, imported, counts) in [
            (1, 0, true),
            (1, 19, true),
            (1, 20, true),
            (1, 21, false),
            (2, 0, false),
            (0, 0, false),
        ] {
            let control = control(generation, imported);
            assert_eq!(keys.has(&digest, &control), counts, "{control:?}");
        }
    }

    #[test]
    fn i8_is_bounded_and_keeps_keys_apart() {
        let mut keys = NegativeCache::default();
        let digest = |number: u32| Digest::of(&number.to_be_bytes());
        for number in 0..100_000 {
            keys.note(digest(number), 1, 1);
        }
        let size = keys.entries.len() * std::mem::size_of::<Option<UnknownKey>>();
        assert!(size <= 128 * 1024, "{size} bytes");
        let control = control(1, 0);
        let held = (0..100_000).filter(|number| keys.has(&digest(*number), &control));
        assert_eq!(held.count(), ENTRIES as usize);
        let others = 100_000..200_000;
        assert!(
            others
                .into_iter()
                .all(|number| !keys.has(&digest(number), &control))
        );
    }
}
