//! What lets a client have its lost answer again (docs/design/replay.md, X2):
//! the new key, sealed for whoever has both the old key and the
//! `Idempotency-Key`, and a proof of having both for the store, which has
//! neither.
//!
//! Both are made with HKDF-SHA-256 (RFC 5869) from the old key, 155 random bits,
//! with the `Idempotency-Key` in the info, so that one without the other is as
//! good as nothing. The key of a seal has a random salt of its own and seals one
//! message, so ChaCha20-Poly1305 (RFC 8439) gets along with a nonce of zeros: the
//! pair of key and nonce never comes twice. Its tag binds the rotation; it does
//! not commit to a key, but whoever opens compares the new key's digest.

use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Nonce, Tag};
use hkdf::Hkdf;
use rekey_protocol::{
    ApiKey, Digest, KEY_LEN, Replay, ReplayProof, Replayed, RotationId, SealedKey,
};
use sha2::Sha256;
use zeroize::Zeroizing;

/// Random bytes of one seal.
pub const SALT_BYTES: usize = 32;

const TAG_BYTES: usize = 16;
const SEAL: &[u8] = b"rekey replay seal v1";
const PROOF: &[u8] = b"rekey replay proof v1";

/// A client's old key and `Idempotency-Key`. Zeroized when dropped.
pub struct Pair {
    old: ApiKey,
    idempotency_key: Zeroizing<Vec<u8>>,
}

impl Pair {
    /// Of one request.
    pub fn new(old: ApiKey, idempotency_key: Zeroizing<Vec<u8>>) -> Self {
        Self {
            old,
            idempotency_key,
        }
    }

    /// What the rotation of this request carries.
    pub fn replay(&self, new: &ApiKey, id: RotationId, salt: [u8; SALT_BYTES]) -> Option<Replay> {
        Some(Replay {
            proof: self.proof()?,
            sealed: self.seal(new, id, salt)?,
        })
    }

    /// The key that a rotation made, if this pair is its client's.
    pub fn open(&self, replayed: &Replayed) -> Option<ApiKey> {
        let (salt, rest) = replayed.sealed.0.split_first_chunk::<SALT_BYTES>()?;
        let (sealed, tag) = rest.split_last_chunk::<TAG_BYTES>()?;
        let mut text = Zeroizing::new([0; KEY_LEN]);
        text.copy_from_slice(sealed);
        let bound = self.bound(&replayed.new_digest, replayed.rotation_id);
        let tag = Tag::from(*tag);
        self.cipher(salt)?
            .decrypt_inout_detached(&Nonce::default(), &bound, text.as_mut_slice().into(), &tag)
            .ok()?;
        let key = ApiKey::parse(text.as_slice()).ok()?;
        (key.digest() == replayed.new_digest).then_some(key)
    }

    /// The same for the same pair.
    fn proof(&self) -> Option<ReplayProof> {
        let mut proof = [0; 32];
        self.expand(self.old.digest().as_bytes(), PROOF, &mut proof)?;
        Some(ReplayProof(proof))
    }

    fn seal(&self, new: &ApiKey, id: RotationId, salt: [u8; SALT_BYTES]) -> Option<SealedKey> {
        let mut text = Zeroizing::new([0; KEY_LEN]);
        text.copy_from_slice(new.expose().as_bytes());
        let bound = self.bound(&new.digest(), id);
        let tag = self
            .cipher(&salt)?
            .encrypt_inout_detached(&Nonce::default(), &bound, text.as_mut_slice().into())
            .ok()?;
        let parts = [salt.as_slice(), text.as_slice(), tag.as_slice()];
        parts.concat().try_into().ok().map(SealedKey)
    }

    fn cipher(&self, salt: &[u8; SALT_BYTES]) -> Option<ChaCha20Poly1305> {
        let mut key = Zeroizing::new([0; 32]);
        self.expand(salt, SEAL, key.as_mut_slice())?;
        ChaCha20Poly1305::new_from_slice(key.as_slice()).ok()
    }

    /// HKDF. `None` never happens: no output is too long.
    fn expand(&self, salt: &[u8], label: &[u8], output: &mut [u8]) -> Option<()> {
        // With its length before it, so that label and key cannot be confused.
        let length = u16::try_from(self.idempotency_key.len()).ok()?;
        let info = [label, &length.to_be_bytes(), &self.idempotency_key];
        Hkdf::<Sha256>::new(Some(salt), self.old.expose().as_bytes())
            .expand_multi_info(&info, output)
            .ok()
    }

    /// What a seal is bound to: of two gateways that race for one key, each
    /// record opens as the one that it is.
    fn bound(&self, new: &Digest, id: RotationId) -> Vec<u8> {
        let old = self.old.digest();
        [old.as_bytes().as_slice(), new.as_bytes(), &id.0].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rekey_protocol::{ChecksumSecrets, CreatedAt};

    const ID: RotationId = RotationId([7; 16]);
    const SALT: [u8; SALT_BYTES] = [9; SALT_BYTES];
    const IDEMPOTENCY_KEY: &[u8] = b"3f2c9a52-6c1e-4a43-9c39-0f3f0f6b8b11";

    fn key(seed: u8) -> ApiKey {
        ChecksumSecrets::parse("0123456789abcdef")
            .unwrap()
            .issue(&[seed; 64])
            .unwrap()
    }

    fn pair(seed: u8, idempotency_key: &[u8]) -> Pair {
        Pair::new(key(seed), Zeroizing::new(idempotency_key.to_vec()))
    }

    fn replayed(replay: &Replay, new: &ApiKey) -> Replayed {
        Replayed {
            rotation_id: ID,
            new_digest: new.digest(),
            created_at: CreatedAt::try_from("2025-01-31T16:00:00Z".to_owned()).unwrap(),
            sealed: replay.sealed,
        }
    }

    #[test]
    fn x2_only_both_together_open_it() {
        let new = key(2);
        let replay = pair(1, IDEMPOTENCY_KEY).replay(&new, ID, SALT).unwrap();
        let record = replayed(&replay, &new);
        let opened = pair(1, IDEMPOTENCY_KEY).open(&record).unwrap();
        assert_eq!(opened.expose(), new.expose());
        assert!(pair(3, IDEMPOTENCY_KEY).open(&record).is_none());
        for near in [
            &b"3f2c9a52-6c1e-4a43-9c39-0f3f0f6b8b12"[..],
            b"3f2c9a52-6c1e-4a43-9c39-0f3f0f6b8b1",
            b"",
        ] {
            assert!(pair(1, near).open(&record).is_none());
        }
    }

    #[test]
    fn x2_a_record_is_bound_to_its_rotation() {
        let (new, client) = (key(2), pair(1, IDEMPOTENCY_KEY));
        let replay = client.replay(&new, ID, SALT).unwrap();
        let good = replayed(&replay, &new);
        let mut other = good.clone();
        other.rotation_id = RotationId([8; 16]);
        assert!(client.open(&other).is_none());
        let mut other = good.clone();
        other.new_digest = key(3).digest();
        assert!(client.open(&other).is_none());
        for place in 0..good.sealed.0.len() {
            let mut other = good.clone();
            other.sealed.0[place] ^= 1;
            assert!(client.open(&other).is_none(), "byte {place}");
        }
    }

    #[test]
    fn a_proof_is_the_pairs_own_and_is_no_part_of_the_seal() {
        let proof = |seed, key: &[u8]| pair(seed, key).proof().unwrap();
        assert_eq!(proof(1, IDEMPOTENCY_KEY), proof(1, IDEMPOTENCY_KEY));
        assert_ne!(proof(1, IDEMPOTENCY_KEY), proof(2, IDEMPOTENCY_KEY));
        assert_ne!(
            proof(1, IDEMPOTENCY_KEY),
            proof(1, b"another one of 22 bytes")
        );
        let sealing = pair(1, IDEMPOTENCY_KEY);
        let mut key = [0; 32];
        let salt = *sealing.old.digest().as_bytes();
        sealing.expand(&salt, SEAL, &mut key).unwrap();
        assert_ne!(sealing.proof().unwrap().0, key);
    }

    #[test]
    fn two_seals_of_one_key_have_nothing_in_common() {
        let (new, client) = (key(2), pair(1, IDEMPOTENCY_KEY));
        let one = client.replay(&new, ID, [1; SALT_BYTES]).unwrap();
        let two = client.replay(&new, ID, [2; SALT_BYTES]).unwrap();
        assert_eq!(one.proof, two.proof);
        assert_ne!(one.sealed.0[SALT_BYTES..], two.sealed.0[SALT_BYTES..]);
    }

    /// Made by another implementation (Python's `cryptography`), so that records
    /// of one version can be opened by the next, and the crates do what the
    /// RFCs say.
    #[test]
    fn a_record_of_another_implementation_opens() {
        let new = key(2);
        let replay = pair(1, IDEMPOTENCY_KEY).replay(&new, ID, SALT).unwrap();
        assert_eq!(hex::encode(replay.proof.0), EXPECTED_PROOF);
        assert_eq!(hex::encode(replay.sealed.0), EXPECTED_SEAL);
    }

    const EXPECTED_PROOF: &str = "36bb280f5ad0ad9e46c6b33bc964f23e188a204f6e4717342cd844fa7e0d81f4";
    const EXPECTED_SEAL: &str = "\
        0909090909090909090909090909090909090909090909090909090909090909495bf820487e8a70212dc6b6\
        0e5775ef4a62bdd5f5be83efd408cdd3b58cfa88fadc39769b159cedc8fc4c67706f89f797d1bbdbba858eda";
}
