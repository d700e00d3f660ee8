//! A record, read as an attacker would who has all of the store: taken from its
//! file, unwrapped with the keys of the memory file, and opened by the formula
//! that anybody can read. Written anew, for an attacker shares no code with us.

use std::fs;
use std::path::{Path, PathBuf};

use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Nonce, Tag, XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use rusqlite::{Connection, OpenFlags};
use sha2::Sha256;

use crate::support::store_view;

/// What the file of wrapping keys begins with, and the parts of each: a name, a
/// time, the key.
const MAGIC: &[u8] = b"rekey wrapping keys 1\n";
const NAME: usize = 8;
const ENTRY: usize = NAME + 8 + 32;
const TAG: usize = 16;
const PROOF: usize = 32;
const SALT: usize = 32;
/// See the engine's `replay`.
const LABEL: &[u8] = b"rekey replay seal v1";

/// Where the store keeps records.
pub(super) fn replays(database: &Path) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(".replays");
    path.into()
}

/// All that there is of one, but for the client's pair.
pub(super) struct Record {
    rotation_id: Vec<u8>,
    old_digest: Vec<u8>,
    new_digest: Vec<u8>,
    wrapping_key: Vec<u8>,
    proof: Vec<u8>,
    sealed: Vec<u8>,
}

impl Record {
    /// The record of the rotation that made this key, unwrapped.
    ///
    /// # Panics
    /// There is none, or it does not unwrap.
    pub(super) fn of(database: &Path, memory: &Path, new: &str) -> Self {
        let new_digest = store_view::digest(new).as_bytes().to_vec();
        let read = |path: &Path, select: &str| {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
            let file = Connection::open_with_flags(path, flags).unwrap();
            let columns = |row: &rusqlite::Row<'_>| Ok([row.get(0)?, row.get(1)?, row.get(2)?]);
            file.query_row(select, [&new_digest], columns).unwrap()
        };
        let [key_name, nonce, wrapped]: [Vec<u8>; 3] = read(
            &replays(database),
            "SELECT wrapping_key, nonce, wrapped FROM records WHERE new_digest = ?1",
        );
        let [rotation_id, old_digest, _]: [Vec<u8>; 3] = read(
            database,
            "SELECT rotation_id, old_digest, new_digest FROM rotations WHERE new_digest = ?1",
        );
        let wrapping_key = wrapping_key(memory, &key_name);
        let cipher = XChaCha20Poly1305::new_from_slice(&wrapping_key).unwrap();
        let (mut text, tag) = split_tag(&wrapped);
        let nonce = XNonce::try_from(nonce.as_slice()).unwrap();
        cipher
            .decrypt_inout_detached(&nonce, &rotation_id, text.as_mut_slice().into(), &tag)
            .expect("the wrapping key opens what it wrapped");
        let sealed = text.split_off(PROOF);
        Self {
            rotation_id,
            old_digest,
            new_digest,
            wrapping_key,
            proof: text,
            sealed,
        }
    }

    /// The new key, if these are the old one and the `Idempotency-Key`. What the
    /// seal is bound to is known from the database.
    pub(super) fn open(&self, old: &[u8], idempotency_key: &[u8]) -> Option<String> {
        let (salt, sealed) = self.sealed.split_at(SALT);
        let length = u16::try_from(idempotency_key.len()).ok()?.to_be_bytes();
        let info = [LABEL, &length, idempotency_key];
        let mut key = [0; 32];
        Hkdf::<Sha256>::new(Some(salt), old)
            .expand_multi_info(&info, &mut key)
            .unwrap();
        let bound = [
            self.old_digest.as_slice(),
            &self.new_digest,
            &self.rotation_id,
        ]
        .concat();
        let (mut text, tag) = split_tag(sealed);
        let cipher = ChaCha20Poly1305::new_from_slice(&key).unwrap();
        cipher
            .decrypt_inout_detached(&Nonce::default(), &bound, text.as_mut_slice().into(), &tag)
            .ok()?;
        String::from_utf8(text).ok()
    }

    /// Every part of it.
    pub(super) fn parts(&self) -> Vec<Vec<u8>> {
        let (salt, sealed) = self.sealed.split_at(SALT);
        let parts = [&self.rotation_id, &self.old_digest, &self.new_digest];
        let parts = parts.into_iter().chain([&self.wrapping_key, &self.proof]);
        let parts = parts.map(Vec::as_slice).chain([salt, sealed, &self.sealed]);
        parts.map(<[u8]>::to_vec).collect()
    }
}

fn wrapping_key(memory: &Path, name: &[u8]) -> Vec<u8> {
    let files = fs::read_dir(memory).unwrap();
    let keys = files.flat_map(|file| {
        let text = fs::read(file.unwrap().path()).unwrap();
        let entries = text.strip_prefix(MAGIC).expect("wrapping keys").to_vec();
        let entries = entries.chunks_exact(ENTRY).map(<[u8]>::to_vec);
        entries.collect::<Vec<_>>()
    });
    let mut found = keys.filter(|key| key.starts_with(name));
    found.next().expect("the wrapping key")[ENTRY - 32..].to_vec()
}

fn split_tag(bytes: &[u8]) -> (Vec<u8>, Tag) {
    let (text, tag) = bytes.split_at(bytes.len() - TAG);
    (text.to_vec(), Tag::try_from(tag).unwrap())
}
