//! The checksum in a key, and the secrets that key it. A gateway tells a random
//! string from an issued key without asking the store, and nobody can make one up
//! without a secret.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::{ZeroizeOnDrop, Zeroizing};

use super::ApiKey;
use super::kind::{ALPHABET, CHECKSUM_LEN, KEY_LEN, KEY_PREFIX, PREFIX_LEN, RANDOM_LEN};
use crate::{SECRETS_MOST, SecretPrint};

/// How many random bytes [`ChecksumSecrets::issue`] takes.
pub const RANDOM_BYTES: usize = 64;
/// The shortest checksum secret that is accepted, in bytes.
pub const SECRET_MIN_LEN: usize = 16;

/// A random byte from here on is skipped: 256 is no multiple of 62, and the first
/// characters of the alphabet would come more often.
const UNBIASED: usize = 256 / ALPHABET.len() * ALPHABET.len();

const _: () = assert!(
    RANDOM_BYTES >= 2 * RANDOM_LEN,
    "skipped bytes must not use up what a key is drawn from"
);

/// What a secret's print is the HMAC of. No key begins like it, so a print is no
/// checksum of anything.
const PRINT: &[u8] = b"rekey checksum secret v1";

/// The secrets of the checksum, newest first: the first makes new keys, all of
/// them are accepted, so that the secret itself can change.
#[derive(Clone, ZeroizeOnDrop)]
pub struct ChecksumSecrets(Vec<Zeroizing<Vec<u8>>>);

/// Why the text of `REKEY_CHECKSUM_SECRET` was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretsError {
    /// The variable is not set, or holds white space.
    #[error("REKEY_CHECKSUM_SECRET is not set")]
    Missing,
    /// One of the comma-separated secrets is too short; counted from 1.
    #[error("REKEY_CHECKSUM_SECRET: secret {0} is shorter than {SECRET_MIN_LEN} bytes")]
    TooShort(usize),
}

impl ChecksumSecrets {
    /// Parses comma-separated secrets, newest first; white space around each
    /// is ignored.
    pub fn parse(text: &str) -> Result<Self, SecretsError> {
        if text.trim().is_empty() {
            return Err(SecretsError::Missing);
        }
        let secrets: Vec<_> = text
            .split(',')
            .map(|secret| Zeroizing::new(secret.trim().as_bytes().to_vec()))
            .collect();
        match secrets
            .iter()
            .position(|secret| secret.len() < SECRET_MIN_LEN)
        {
            Some(index) => Err(SecretsError::TooShort(index + 1)),
            None => Ok(Self(secrets)),
        }
    }

    /// A one-way value of each secret, in their order, so that two processes can
    /// compare what they accept without telling it. Of the first 16.
    pub fn prints(&self) -> Vec<SecretPrint> {
        let told = self.0.iter().take(SECRETS_MOST);
        told.filter_map(|secret| print(secret)).collect()
    }

    /// A key for another purpose from each secret, in their order. The label keeps the
    /// purposes apart. The result tells nothing of the secret.
    pub fn derive(&self, label: &[u8]) -> Vec<Zeroizing<[u8; 32]>> {
        let tags = self.0.iter().filter_map(|secret| {
            let mut mac = Hmac::<Sha256>::new_from_slice(secret).ok()?;
            mac.update(label);
            Some(Zeroizing::new(mac.finalize().into_bytes().into()))
        });
        tags.collect()
    }

    /// Makes a new key with the newest secret; see [`Self::issue_with`].
    pub fn issue(&self, random: &[u8; RANDOM_BYTES]) -> Option<ApiKey> {
        self.issue_with(0, random)
    }

    /// Makes a new key with the secret at this place, counted from 0, the newest.
    ///
    /// `None` where there is no such secret, or too few bytes were left (once in some
    /// 10^35 calls with uniform bytes); the caller draws again.
    pub fn issue_with(&self, place: usize, random: &[u8; RANDOM_BYTES]) -> Option<ApiKey> {
        let mut key = ApiKey(Box::new([0; KEY_LEN]));
        let mut letters = random
            .iter()
            .map(|byte| usize::from(*byte))
            .filter(|byte| *byte < UNBIASED)
            .filter_map(|byte| ALPHABET.get(byte % ALPHABET.len()));
        let (prefix, rest) = key.0.split_at_mut(PREFIX_LEN);
        prefix.copy_from_slice(KEY_PREFIX.as_bytes());
        for place in rest.iter_mut().take(RANDOM_LEN) {
            *place = *letters.next()?;
        }
        let right = checksum(self.0.get(place)?, &key.0)?;
        let (_, tail) = key.0.split_at_mut(KEY_LEN - CHECKSUM_LEN);
        tail.copy_from_slice(&right);
        Some(key)
    }

    /// Whether the key's checksum is right under any of the secrets. Compares
    /// in constant time.
    pub fn verify(&self, key: &ApiKey) -> bool {
        let (_, tail) = key.0.split_at(KEY_LEN - CHECKSUM_LEN);
        self.0.iter().fold(false, |found, secret| {
            let right = checksum(secret, &key.0);
            found | right.is_some_and(|right| bool::from(right.ct_eq(tail)))
        })
    }
}

/// The first 64 bits of an HMAC-SHA-256: two secrets do not share them by chance.
fn print(secret: &[u8]) -> Option<SecretPrint> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).ok()?;
    mac.update(PRINT);
    let tag = mac.finalize().into_bytes();
    tag.first_chunk::<8>().copied().map(SecretPrint)
}

/// HMAC-SHA-256 (RFC 2104) over prefix and random part, truncated to its first
/// 64 bits, as 6 digits in base 62 (most significant first, modulo 62^6).
fn checksum(secret: &[u8], key: &[u8; KEY_LEN]) -> Option<[u8; CHECKSUM_LEN]> {
    let (covered, _) = key.split_at(KEY_LEN - CHECKSUM_LEN);
    // HMAC takes a key of any length; `None` never comes.
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).ok()?;
    mac.update(covered);
    let tag = mac.finalize().into_bytes();
    let mut value = u64::from_be_bytes(tag.first_chunk::<8>().copied()?);
    let base = ALPHABET.len() as u64;
    let mut digits = [0; CHECKSUM_LEN];
    for digit in digits.iter_mut().rev() {
        *digit = *ALPHABET.get((value % base) as usize)?;
        value /= base;
    }
    Some(digits)
}

#[cfg(test)]
mod tests {
    use super::super::kind::HINT_LEN;
    use super::*;

    fn secrets(text: &str) -> ChecksumSecrets {
        ChecksumSecrets::parse(text).unwrap()
    }

    fn bytes(seed: u8) -> [u8; RANDOM_BYTES] {
        std::array::from_fn(|i| (i as u8).wrapping_mul(7).wrapping_add(seed))
    }

    #[test]
    fn an_issued_key_has_the_documented_shape_and_verifies() {
        let ours = secrets("0123456789abcdef");
        let key = ours.issue(&bytes(1)).unwrap();
        assert_eq!(key.expose().len(), KEY_LEN);
        assert!(key.expose().starts_with(KEY_PREFIX));
        assert!(ours.verify(&ApiKey::parse(key.expose().as_bytes()).unwrap()));
        assert!(!secrets("another-secret-16").verify(&key));
        assert_eq!(key.hint(), &key.expose()[KEY_LEN - HINT_LEN..]);
    }

    #[test]
    fn the_checksum_is_pinned() {
        // An issued key must verify for ever: this one was made by the first
        // version. It is nobody's secret.
        let key = secrets("0123456789abcdef").issue(&bytes(1)).unwrap();
        assert_eq!(key.expose(), "sb_live_18FMTahov29GNUbipw3AHOVcjquwo7Kk");
    }

    #[test]
    fn every_changed_character_breaks_the_checksum() {
        let ours = secrets("0123456789abcdef");
        let key = ours.issue(&bytes(1)).unwrap();
        for at in PREFIX_LEN..KEY_LEN {
            let mut text = *key.0;
            text[at] = if text[at] == b'x' { b'y' } else { b'x' };
            assert!(!ours.verify(&ApiKey::parse(&text).unwrap()), "at {at}");
        }
    }

    #[test]
    fn old_secrets_verify_and_the_newest_issues() {
        let old = secrets("old-secret-16-bytes");
        let both = secrets("new-secret-16-bytes, old-secret-16-bytes");
        assert!(both.verify(&old.issue(&bytes(2)).unwrap()));
        assert!(!old.verify(&both.issue(&bytes(2)).unwrap()));
    }

    #[test]
    fn prints_tell_secrets_apart_and_keep_their_order() {
        let both = secrets("new-secret-16-bytes, old-secret-16-bytes").prints();
        let swapped = secrets("old-secret-16-bytes,new-secret-16-bytes").prints();
        assert_eq!(both, [swapped[1], swapped[0]]);
        assert_ne!(both[0], both[1]);
        assert_eq!(secrets("old-secret-16-bytes").prints(), [both[1]]);
        let many = vec!["0123456789abcdef"; SECRETS_MOST + 1].join(",");
        assert_eq!(secrets(&many).prints().len(), SECRETS_MOST);
        // Two versions must agree on it: this is no secret of anyone.
        let told = secrets("0123456789abcdef").prints();
        assert_eq!(
            told,
            [SecretPrint([
                0x76, 0xa7, 0xf9, 0x87, 0xa2, 0xc4, 0x03, 0xcc
            ])]
        );
    }

    #[test]
    fn any_of_the_secrets_can_issue() {
        let both = secrets("new-secret-16-bytes, old-secret-16-bytes");
        let old = secrets("old-secret-16-bytes");
        assert!(old.verify(&both.issue_with(1, &bytes(2)).unwrap()));
        assert!(both.issue_with(2, &bytes(2)).is_none());
    }

    #[test]
    fn malformed_keys_are_refused() {
        let good = secrets("0123456789abcdef").issue(&bytes(3)).unwrap();
        let good = good.expose();
        for bad in [
            "",
            "sb_live_",
            &good[1..],
            &format!("{good}x"),
            &good.replace("live", "test"),
        ] {
            assert!(ApiKey::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        for byte in [b' ', b'_', b'-', 0xff, 0] {
            let mut text = good.as_bytes().to_vec();
            text[20] = byte;
            assert!(ApiKey::parse(&text).is_err());
        }
    }

    #[test]
    fn random_bytes_map_to_letters_without_bias() {
        let ours = secrets("0123456789abcdef");
        let mut seen = [0_u32; 62];
        for byte in 0..=255_u8 {
            if let Some(key) = ours.issue(&[byte; RANDOM_BYTES]) {
                let letter = key.0[PREFIX_LEN];
                seen[ALPHABET.iter().position(|a| *a == letter).unwrap()] += 1;
            }
        }
        assert_eq!(seen, [4; 62]);
    }

    #[test]
    fn bad_secrets_are_refused_by_position() {
        assert_eq!(
            ChecksumSecrets::parse(" ").err(),
            Some(SecretsError::Missing)
        );
        let text = "0123456789abcdef,short";
        assert_eq!(
            ChecksumSecrets::parse(text).err(),
            Some(SecretsError::TooShort(2))
        );
    }
}
