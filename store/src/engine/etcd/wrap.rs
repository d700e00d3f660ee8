//! Wraps what is kept for replays (X6): a snapshot of etcd must not hold half of a live
//! key.
//!
//! Any store must be able to answer a repeated rotation, so the wrapping key cannot be
//! one process's. All stores have the checksum secrets in common, and those are in no
//! database. So the wrapping key is derived from them. A secret that was dropped from the
//! list takes with it what it has wrapped.

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use rekey_protocol::Digest;

use crate::engine::keyspace::Wrap;

/// Keeps the wrapping key apart from all others that are derived from a checksum secret.
pub(crate) const LABEL: &[u8] = b"rekey: wrapping key of replays, version 1";
/// Bytes of a nonce, which stands before what it has encrypted.
const NONCE: usize = 24;

/// The wrapping keys, the newest first.
pub(crate) struct Wrapping(Vec<XChaCha20Poly1305>);

impl Wrapping {
    /// With these keys, the newest first.
    pub(crate) fn new<'a>(keys: impl IntoIterator<Item = &'a [u8; 32]>) -> Self {
        let ciphers = keys
            .into_iter()
            .map(|key| XChaCha20Poly1305::new(key.into()));
        Self(ciphers.collect())
    }
}

impl Wrap for Wrapping {
    fn seal(&self, new_digest: &Digest, content: &[u8]) -> Option<Vec<u8>> {
        let nonce: [u8; NONCE] = crate::engine::etcd::random();
        let payload = Payload {
            msg: content,
            aad: new_digest.as_bytes(),
        };
        let cipher = self.0.first()?;
        let sealed = cipher.encrypt(&XNonce::from(nonce), payload).ok()?;
        Some([&nonce[..], &sealed].concat())
    }

    fn open(&self, new_digest: &Digest, wrapped: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = wrapped.split_first_chunk::<NONCE>()?;
        self.0.iter().find_map(|cipher| {
            let payload = Payload {
                msg: sealed,
                aad: new_digest.as_bytes(),
            };
            cipher.decrypt(&XNonce::from(*nonce), payload).ok()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: Digest = Digest::from_bytes([1; 32]);

    #[test]
    fn x6_every_store_with_a_common_secret_opens_what_another_has_wrapped() {
        let (old, new) = (&[1; 32], &[2; 32]);
        let wrapped = Wrapping::new([old]).seal(&DIGEST, b"record").unwrap();
        assert!(!wrapped.windows(6).any(|part| part == b"record"));
        let opened = Wrapping::new([new, old]).open(&DIGEST, &wrapped);
        assert_eq!(opened.as_deref(), Some(&b"record"[..]));
        assert_eq!(Wrapping::new([new]).open(&DIGEST, &wrapped), None);
        let other = Digest::from_bytes([2; 32]);
        assert_eq!(Wrapping::new([old]).open(&other, &wrapped), None);
    }
}
