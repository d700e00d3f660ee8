//! An API key in plain text.

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::kind::{HINT_LEN, KEY_LEN, KEY_PREFIX, PREFIX_LEN, begins_as_a_key};
use crate::Digest;

/// A well-formed API key in plain text. Zeroized when dropped; has no
/// `Debug` or `Display`, so that it cannot reach a log by accident.
///
/// On the heap: a value that is moved leaves its bytes behind at every place it
/// was at, and only the last one would be wiped (I6).
#[derive(Clone)]
pub struct ApiKey(pub(super) Box<[u8; KEY_LEN]>);

impl Drop for ApiKey {
    fn drop(&mut self) {
        self.0.as_mut_slice().zeroize();
    }
}

impl ZeroizeOnDrop for ApiKey {}

/// The text is not [`KEY_PREFIX`] and the right number of characters of `[0-9A-Za-z]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not an API key: it must be {KEY_PREFIX} and {} letters or digits",
    KEY_LEN - PREFIX_LEN
)]
pub struct MalformedKey;

impl ApiKey {
    /// Checks the shape only;
    /// [`ChecksumSecrets::verify`](super::ChecksumSecrets::verify) checks the checksum.
    pub fn parse(text: &[u8]) -> Result<Self, MalformedKey> {
        let key: &[u8; KEY_LEN] = text.try_into().map_err(|_| MalformedKey)?;
        let (_, rest) = key.split_at(PREFIX_LEN);
        if begins_as_a_key(key) && rest.iter().all(u8::is_ascii_alphanumeric) {
            Ok(Self(Box::new(*key)))
        } else {
            Err(MalformedKey)
        }
    }

    /// The key in plain text, for the one answer that shows it.
    pub fn expose(&self) -> &str {
        // Only ASCII passes `parse` and `issue`.
        std::str::from_utf8(self.0.as_slice()).unwrap_or_default()
    }

    /// The digest under which the store knows the key.
    pub fn digest(&self) -> Digest {
        Digest::of(self.0.as_slice())
    }

    /// The key's last characters, for people to tell keys apart.
    pub fn hint(&self) -> &str {
        self.expose().get(KEY_LEN - HINT_LEN..).unwrap_or_default()
    }
}
