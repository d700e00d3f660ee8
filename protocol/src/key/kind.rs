//! The kind of an API key: its prefix, the lengths of its parts, and every question
//! that has the prefix for an answer. There is one kind, the live key.
//!
//! A key is the prefix, random characters and a checksum. All other lengths in the
//! project follow from the constants here, and nothing else names the prefix.
//! CONTRIBUTING.md says how another kind is added.

/// What every key begins with.
pub const KEY_PREFIX: &str = "sb_live_";
/// Characters of a whole key. A longer prefix makes the key longer; it never takes
/// characters from the random part.
pub const KEY_LEN: usize = PREFIX_LEN + RANDOM_LEN + CHECKSUM_LEN;
/// Random bits of a key, rounded down. Nobody guesses a key, and nobody has asked
/// for a key before it was drawn.
pub const KEY_BITS: usize = RANDOM_LEN * MILLIBITS_PER_CHARACTER / 1000;
/// How many of a key's last characters people are shown.
pub const HINT_LEN: usize = 4;

pub(super) const PREFIX_LEN: usize = KEY_PREFIX.len();
pub(super) const RANDOM_LEN: usize = 26;
pub(super) const CHECKSUM_LEN: usize = 6;
/// What the random characters and the checksum are made of.
pub(super) const ALPHABET: &[u8; 62] =
    b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// The base-2 logarithm of the alphabet's 62 characters, in thousandths.
const MILLIBITS_PER_CHARACTER: usize = 5_954;

const _: () = assert!(
    KEY_BITS >= 128,
    "a digest without salt protects a key only if nobody can guess it"
);
const _: () = assert!(
    HINT_LEN <= CHECKSUM_LEN,
    "a hint shows people the checksum, never the random part"
);

/// The key as people are shown it, by its last characters: `sb_live_…wxyz`.
pub fn masked(hint: &str) -> String {
    format!("{KEY_PREFIX}…{hint}")
}

/// Whether this text may hold a key, and must not be kept or shown (I6).
pub fn may_hold_a_key(text: &str) -> bool {
    text.contains(KEY_PREFIX)
}

/// Whether these bytes begin as a key does.
pub fn begins_as_a_key(bytes: &[u8]) -> bool {
    bytes.starts_with(KEY_PREFIX.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_lengths_stay() {
        // The documented API promises this length, and people count on it.
        assert_eq!((KEY_LEN, KEY_BITS), (40, 154));
    }

    #[test]
    fn a_key_is_recognised_and_masked() {
        assert!(begins_as_a_key(b"sb_live_x") && !begins_as_a_key(b" sb_live_x"));
        assert!(may_hold_a_key("id-sb_live_0") && !may_hold_a_key("sb_test_0"));
        assert_eq!(masked("wxyz"), "sb_live_…wxyz");
    }
}
