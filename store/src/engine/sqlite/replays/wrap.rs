//! The keys that wrap what is kept for replays (X6): held in memory only
//! and renewed, so that a backup of the disk, whatever it holds, holds no half of a
//! key that may still be good.
//!
//! They have to outlive a restart of the store, and nothing else: so they are in a
//! file on a memory file system, if there is one to be trusted.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use rekey_protocol::REPLAY_WINDOW_MS;
use rustix::fs::OFlags;
use sha2::{Digest as _, Sha256};
use zeroize::{Zeroize, Zeroizing};

use crate::clock::UnixMillis;

/// For how long a key wraps anew.
const RENEWED: Duration = Duration::from_millis(REPLAY_WINDOW_MS as u64);
/// After how long nothing under it can be of use.
const KEPT: Duration = Duration::from_millis(2 * REPLAY_WINDOW_MS as u64);
/// What the file begins with.
const MAGIC: &[u8] = b"rekey wrapping keys 1\n";
/// Of a key in the file: id, time, key.
const ENTRY: usize = 8 + 8 + 32;
/// More keys than there ever are.
const MOST: usize = 16;
/// `f_type` of tmpfs and ramfs (statfs(2)).
const MEMORY_FILE_SYSTEMS: [rustix::fs::FsWord; 2] = [0x0102_1994, 0x8584_58f6];

/// Bytes that were wrapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrapped {
    /// Under which key.
    pub key: [u8; 8],
    /// Random: with 24 bytes no two are ever the same.
    pub nonce: [u8; 24],
    /// Encrypted and authenticated.
    pub bytes: Vec<u8>,
}

/// The keys, the newest last.
pub(super) struct Wraps {
    keys: Vec<WrappingKey>,
    /// Where they are kept beside; none: nowhere.
    file: Option<PathBuf>,
}

struct WrappingKey {
    id: [u8; 8],
    made: UnixMillis,
    key: Zeroizing<[u8; 32]>,
}

/// The memory file cannot be used.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("{0} is not on a memory file system (tmpfs, ramfs)")]
    NotMemory(PathBuf),
    #[error("{0} is not a file of this user's alone")]
    NotOurs(PathBuf),
    #[error("{0}: {1}")]
    Io(PathBuf, std::io::Error),
}

impl Wraps {
    /// No keys yet, and none kept anywhere.
    pub(super) fn in_process() -> Self {
        Self {
            keys: Vec::new(),
            file: None,
        }
    }

    /// Those of an earlier incarnation of the store for this file of records, if the
    /// folder has them. Where it cannot be used, that is said, and keys die with the
    /// process.
    pub(super) fn open(folder: &Path, records: &Path) -> Self {
        let path = folder.join(format!("rekey-{}.keys", name_of(records)));
        match is_memory(folder).and_then(|()| read(&path)) {
            Ok(keys) => Self {
                keys,
                file: Some(path),
            },
            Err(error) => {
                tracing::warn!(%error, "replays do not outlive a restart of the store: choose another --memory-dir");
                Self::in_process()
            }
        }
    }

    /// Wraps `bytes`, bound to `context`. None if the machine gives no randomness.
    pub(super) fn wrap(
        &mut self,
        now: UnixMillis,
        context: &[u8],
        bytes: &[u8],
    ) -> Option<Wrapped> {
        self.renew(now)?;
        let key = self.keys.last()?;
        let mut nonce = [0; 24];
        getrandom::fill(&mut nonce).ok()?;
        let payload = Payload {
            msg: bytes,
            aad: context,
        };
        let sealed = key.cipher()?.encrypt(&XNonce::from(nonce), payload).ok()?;
        Some(Wrapped {
            key: key.id,
            nonce,
            bytes: sealed,
        })
    }

    /// The bytes; none if their key has gone, or they are not what was wrapped.
    pub(super) fn unwrap(&self, context: &[u8], wrapped: &Wrapped) -> Option<Zeroizing<Vec<u8>>> {
        let key = self.keys.iter().find(|key| key.id == wrapped.key)?;
        let payload = Payload {
            msg: &wrapped.bytes,
            aad: context,
        };
        let nonce = XNonce::from(wrapped.nonce);
        let bytes = key.cipher()?.decrypt(&nonce, payload).ok()?;
        Some(Zeroizing::new(bytes))
    }

    /// Forgets keys under which nothing can live.
    pub(super) fn prune(&mut self, now: UnixMillis) {
        let before = self.keys.len();
        self.keys.retain(|key| now.since(key.made) < KEPT);
        if self.keys.len() < before {
            self.save();
        }
    }

    /// Makes a new key, if it is time.
    fn renew(&mut self, now: UnixMillis) -> Option<()> {
        let is_fresh = |key: &WrappingKey| now.since(key.made) < RENEWED;
        if self.keys.last().is_some_and(is_fresh) {
            return Some(());
        }
        self.prune(now);
        let (mut id, mut key) = ([0; 8], Zeroizing::new([0; 32]));
        getrandom::fill(&mut id).ok()?;
        getrandom::fill(key.as_mut_slice()).ok()?;
        self.keys.push(WrappingKey { id, made: now, key });
        // Kept before anything under it is.
        self.save();
        Some(())
    }

    fn save(&mut self) {
        let Some(path) = &self.file else { return };
        if let Err(error) = write(path, &self.keys) {
            let error = Unusable::Io(path.clone(), error);
            tracing::warn!(%error, "replays do not outlive a restart of the store");
            self.file = None;
        }
    }
}

impl WrappingKey {
    fn cipher(&self) -> Option<XChaCha20Poly1305> {
        XChaCha20Poly1305::new_from_slice(self.key.as_slice()).ok()
    }

    fn decode(entry: &[u8]) -> Option<Self> {
        let (id, rest) = entry.split_first_chunk()?;
        let (made, rest) = rest.split_first_chunk()?;
        let (key, _) = rest.split_first_chunk()?;
        Some(Self {
            id: *id,
            made: UnixMillis(i64::from_be_bytes(*made)),
            key: Zeroizing::new(*key),
        })
    }
}

/// By the path and by the file itself: containers share the one, and may share the
/// folder.
fn name_of(records: &Path) -> String {
    let found = std::fs::metadata(records).ok();
    let (device, inode) = found.map_or((0, 0), |found| (found.dev(), found.ino()));
    let mut name = Sha256::new();
    name.update(device.to_be_bytes());
    name.update(inode.to_be_bytes());
    name.update(records.as_os_str().as_encoded_bytes());
    let name = name.finalize();
    hex::encode(name.first_chunk::<8>().copied().unwrap_or_default())
}

fn is_memory(folder: &Path) -> Result<(), Unusable> {
    let found = rustix::fs::statfs(folder)
        .map_err(|error| Unusable::Io(folder.to_owned(), error.into()))?;
    let is_memory = MEMORY_FILE_SYSTEMS.contains(&found.f_type);
    is_memory
        .then_some(())
        .ok_or_else(|| Unusable::NotMemory(folder.to_owned()))
}

/// The folder may be everybody's: what is believed is a file of our own.
fn read(path: &Path) -> Result<Vec<WrappingKey>, Unusable> {
    let io = |error| Unusable::Io(path.to_owned(), error);
    let opened = OpenOptions::new()
        .read(true)
        // Nor waited for whoever was to write into it.
        .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
        .open(path);
    let mut file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(io(error)),
    };
    let found = file.metadata().map_err(io)?;
    let is_ours = found.is_file()
        && found.uid() == rustix::process::geteuid().as_raw()
        && found.mode() & 0o077 == 0;
    if !is_ours {
        return Err(Unusable::NotOurs(path.to_owned()));
    }
    let mut text = Zeroizing::new(vec![0; MAGIC.len() + MOST * ENTRY]);
    let mut length = 0;
    while let Some(rest) = text.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match file.read(rest).map_err(io)? {
            0 => break,
            read => length += read,
        }
    }
    let entries = text.get(..length).and_then(|text| text.strip_prefix(MAGIC));
    // Of another version, or cut short: as good as none.
    let entries = entries.unwrap_or_default().chunks_exact(ENTRY);
    Ok(entries.filter_map(WrappingKey::decode).collect())
}

/// Replaces the file, whole or not at all.
fn write(path: &Path, keys: &[WrappingKey]) -> std::io::Result<()> {
    let mut text = Zeroizing::new(Vec::with_capacity(MAGIC.len() + MOST * ENTRY));
    text.extend(MAGIC);
    for key in keys.iter().rev().take(MOST).rev() {
        text.extend(key.id);
        text.extend(key.made.0.to_be_bytes());
        text.extend(key.key.as_slice());
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    // Made by this user, with no rights for others, under a name of its own.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(&text)?;
    let file: File = file.persist(path).map_err(|error| error.error)?;
    drop(file);
    text.zeroize();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_000_000_000);
    const MEMORY: &str = "/dev/shm";

    fn later(seconds: u64) -> UnixMillis {
        NOW.plus(Duration::from_secs(seconds))
    }

    #[test]
    fn x6_what_is_wrapped_opens_until_its_key_is_gone() {
        let mut wraps = Wraps::in_process();
        let wrapped = wraps.wrap(NOW, b"a", b"secret").unwrap();
        assert!(!wrapped.bytes.windows(6).any(|part| part == b"secret"));
        assert_eq!(wraps.unwrap(b"a", &wrapped).unwrap().as_slice(), b"secret");
        assert!(wraps.unwrap(b"b", &wrapped).is_none());
        let next = wraps.wrap(later(601), b"a", b"secret").unwrap();
        assert_ne!(next.key, wrapped.key);
        assert!(wraps.unwrap(b"a", &wrapped).is_some());
        wraps.prune(later(1_200));
        assert!(wraps.unwrap(b"a", &wrapped).is_none());
        assert!(wraps.unwrap(b"a", &next).is_some());
    }

    #[test]
    fn x6_keys_outlive_a_restart_in_memory_alone() {
        let folder = tempfile::tempdir_in(MEMORY).unwrap();
        let database = Path::new("/var/lib/rekey.db");
        let wrapped = Wraps::open(folder.path(), database)
            .wrap(NOW, b"a", b"secret")
            .unwrap();
        let next = Wraps::open(folder.path(), database);
        assert!(next.unwrap(b"a", &wrapped).is_some());
        let others = Wraps::open(folder.path(), Path::new("/var/lib/other.db"));
        assert!(others.unwrap(b"a", &wrapped).is_none());
        for entry in std::fs::read_dir(folder.path()).unwrap() {
            assert_eq!(entry.unwrap().metadata().unwrap().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn x6_two_files_of_one_path_have_keys_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (folder.path().join("a"), folder.path().join("b"));
        std::fs::write(&one, "").unwrap();
        std::fs::write(&other, "").unwrap();
        let name = name_of(&one);
        std::fs::write(&one, "more").unwrap();
        assert_eq!(name_of(&one), name);
        std::fs::rename(&other, &one).unwrap();
        assert_ne!(name_of(&one), name);
    }

    #[test]
    fn x6_a_folder_on_a_disk_is_not_used() {
        let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let mut wraps = Wraps::open(folder.path(), Path::new("/x.db"));
        assert!(wraps.wrap(NOW, b"a", b"secret").is_some());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn x6_a_file_that_others_can_read_or_have_put_there_is_not_believed() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = tempfile::tempdir_in(MEMORY).unwrap();
        let database = Path::new("/var/lib/rekey.db");
        let wrapped = Wraps::open(folder.path(), database)
            .wrap(NOW, b"a", b"secret")
            .unwrap();
        let mut files = std::fs::read_dir(folder.path()).unwrap();
        let path = files.next().unwrap().unwrap().path();
        let opens = || {
            let wraps = Wraps::open(folder.path(), database);
            wraps.unwrap(b"a", &wrapped).is_some()
        };
        assert!(opens());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(!opens());
        let elsewhere = folder.path().join("elsewhere");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::rename(&path, &elsewhere).unwrap();
        symlink(&elsewhere, &path).unwrap();
        assert!(!opens());
        std::fs::remove_file(&path).unwrap();
        let fifo = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, &path, fifo, 0o600.into(), 0).unwrap();
        assert!(!opens());
        std::fs::remove_file(&path).unwrap();
        std::fs::rename(&elsewhere, &path).unwrap();
        assert!(opens());
        std::fs::write(&path, b"rekey wrapping keys 2\n").unwrap();
        assert!(!opens());
    }
}
