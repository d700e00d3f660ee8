//! The lock file beside the database: who owns the database (PROTOCOL S10), and
//! which life was served from it last (S9).
//!
//! A backup of the database does not carry this file. So what it says and the
//! database does not know is a history that was lost.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rekey_protocol::{Digest, Incarnation};

use super::open::{OpenError, unwritable};
use crate::feed::core::Start;

/// The owner's process id, padded with spaces, and a line's end. It is written
/// at other bytes than the record, so that it cannot harm it.
const PID_LEN: usize = 11;
/// Incarnation (32 hexadecimal digits), lease in milliseconds (10 digits),
/// check (16 hexadecimal digits): two spaces and a line's end.
const RECORD_LEN: usize = 32 + 1 + 10 + 1 + 16 + 1;

/// The last life that was served, and the longest lease that it or a life
/// before it may have granted and that may still be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// The life.
    pub incarnation: Incarnation,
    /// In milliseconds.
    pub longest_lease_ms: u32,
}

/// What is found beside a database at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Past {
    /// The file was not there.
    Nothing,
    /// The file has no record, or a torn one: nobody knows.
    Unknown,
    /// A whole record.
    Known(Record),
}

impl Record {
    fn text(&self) -> String {
        let Self {
            incarnation,
            longest_lease_ms,
        } = self;
        let content = format!("{} {longest_lease_ms:010}", hex::encode(incarnation.0));
        let check = check(&content);
        format!("{content} {check}\n")
    }

    /// `None` for anything that [`Self::text`] does not write.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let mut words = text.split_ascii_whitespace();
        let mut incarnation = [0; 16];
        hex::decode_to_slice(words.next()?, &mut incarnation).ok()?;
        let record = Self {
            incarnation: Incarnation(incarnation),
            longest_lease_ms: words.next()?.parse().ok()?,
        };
        (record.text() == text).then_some(record)
    }
}

/// Tells a whole record from a torn one.
fn check(content: &str) -> String {
    let mut text = Digest::of(content.as_bytes()).to_hex();
    text.truncate(16);
    text
}

/// What the record has to say during one life.
#[derive(Debug, Clone, Copy)]
pub struct Memo {
    /// None in a life that serves nothing: what was served last stays on record.
    record: Option<Record>,
    /// The longest lease of this life and of those that the database knows.
    granted_ms: u32,
}

impl Memo {
    /// Of a life that begins.
    pub fn new(start: &Start) -> Self {
        let record = Record {
            incarnation: start.history.head().incarnation,
            longest_lease_ms: start.held_lease_ms,
        };
        Self {
            record: (!start.restored).then_some(record),
            granted_ms: start.longest_lease_ms,
        }
    }

    /// The present one.
    pub fn record(&self) -> Option<Record> {
        self.record
    }

    /// A lease is about to be granted; returns what has to be written first.
    pub fn grant(&mut self, lease_ms: u32) -> Option<Record> {
        self.granted_ms = self.granted_ms.max(lease_ms);
        let record = self.record.as_mut()?;
        record.longest_lease_ms = record.longest_lease_ms.max(lease_ms);
        Some(*record)
    }

    /// All leases of former lives are over: what was only supposed of them is
    /// forgotten. Returns what is to be written.
    pub fn settle(&mut self) -> Option<Record> {
        let record = self.record.as_mut()?;
        record.longest_lease_ms = self.granted_ms;
        Some(*record)
    }
}

/// The exclusive lock on `<database>.lock` (S10). The file stays when the
/// lock goes: removing it would let two owners lock two files. For the same
/// reason it is written in place, and never replaced.
pub struct Lock {
    file: File,
    path: PathBuf,
    past: Past,
    memo: Mutex<Option<Memo>>,
}

impl Lock {
    /// Takes the lock on the database at this true path.
    pub fn take(database: &Path) -> Result<Self, OpenError> {
        let mut path = database.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        // Who can open it can hold it, and keep the store from starting.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options
            .open(&path)
            .map_err(|error| unwritable(&path, error))?;
        let locked = file.try_lock();
        let mut found = Vec::new();
        let limit = (PID_LEN + RECORD_LEN) as u64;
        let read = (&mut file).take(limit).read_to_end(&mut found);
        match locked {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let first = found.split(|byte| *byte == b'\n').next();
                let text = std::str::from_utf8(first.unwrap_or_default());
                let pid = text.ok().and_then(|text| text.trim().parse().ok());
                return Err(OpenError::Locked { lock: path, pid });
            }
            Err(TryLockError::Error(error)) => return Err(unwritable(&path, error)),
        }
        read.map_err(|error| unwritable(&path, error))?;
        let past = match found.get(PID_LEN..).and_then(Record::parse) {
            Some(record) => Past::Known(record),
            None if found.is_empty() => Past::Nothing,
            None => Past::Unknown,
        };
        let lock = Self {
            file,
            path,
            past,
            memo: Mutex::new(None),
        };
        let pid = format!("{:<1$}\n", std::process::id(), PID_LEN - 1);
        lock.write(0, &pid)
            .map_err(|error| unwritable(&lock.path, error))?;
        Ok(lock)
    }

    /// What was found.
    pub fn past(&self) -> Past {
        self.past
    }

    /// A life begins: on disk in the database already, and here when this
    /// returns.
    pub fn begin(&self, memo: Memo) -> Result<(), OpenError> {
        let known = &mut *self.memo.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Some(memo);
        let written = self.put(memo.record()).and_then(|()| match self.past {
            // A new file is there after a power cut if its folder says so.
            Past::Nothing => self.sync_folder(),
            _ => Ok(()),
        });
        written.map_err(|error| unwritable(&self.path, error))
    }

    /// Puts a lease on record, durably, before it is granted.
    pub fn grant(&self, lease_ms: u32) -> std::io::Result<()> {
        self.update(|memo| memo.grant(lease_ms))
    }

    /// See [`Memo::settle`].
    pub fn settle(&self) -> std::io::Result<()> {
        self.update(Memo::settle)
    }

    fn update(&self, change: impl FnOnce(&mut Memo) -> Option<Record>) -> std::io::Result<()> {
        let mut known = self.memo.lock().unwrap_or_else(PoisonError::into_inner);
        let record = known.as_mut().and_then(change);
        self.put(record)
    }

    fn put(&self, record: Option<Record>) -> std::io::Result<()> {
        match record {
            Some(record) => {
                self.write(PID_LEN as u64, &record.text())?;
                self.file.sync_data()
            }
            None => Ok(()),
        }
    }

    fn write(&self, at: u64, text: &str) -> std::io::Result<()> {
        let mut file = &self.file;
        file.seek(SeekFrom::Start(at))?;
        file.write_all(text.as_bytes())
    }

    fn sync_folder(&self) -> std::io::Result<()> {
        match self.path.parent() {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: Record = Record {
        incarnation: Incarnation([7; 16]),
        longest_lease_ms: 30_000,
    };

    fn served() -> Memo {
        Memo {
            record: Some(RECORD),
            granted_ms: 500,
        }
    }

    fn past(path: &Path) -> Past {
        Lock::take(path).unwrap().past()
    }

    #[test]
    fn s9_the_record_outlives_the_lock_and_who_only_looked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rekey.db");
        let lock = Lock::take(&path).unwrap();
        assert_eq!(lock.past(), Past::Nothing);
        lock.begin(served()).unwrap();
        drop(lock);
        // A start that fails early leaves it as it was.
        assert_eq!(past(&path), Past::Known(RECORD));
        assert_eq!(past(&path), Past::Known(RECORD));
    }

    #[test]
    fn s9_a_torn_record_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rekey.db");
        Lock::take(&path).unwrap().begin(served()).unwrap();
        let file = folder.path().join("rekey.db.lock");
        let whole = std::fs::read(&file).unwrap();
        assert_eq!(whole.len(), PID_LEN + RECORD_LEN);
        for at in PID_LEN..whole.len() {
            let mut torn = whole.clone();
            torn[at] ^= 1;
            std::fs::write(&file, &torn).unwrap();
            assert_eq!(past(&path), Past::Unknown, "byte {at}");
            std::fs::write(&file, &whole[..at]).unwrap();
            assert_eq!(past(&path), Past::Unknown, "cut at {at}");
        }
        // As a version without the record left it.
        std::fs::write(&file, "1234567\n").unwrap();
        assert_eq!(past(&path), Past::Unknown);
        std::fs::write(&file, &whole).unwrap();
        assert_eq!(past(&path), Past::Known(RECORD));
    }

    #[test]
    fn s9_what_is_granted_is_on_record_and_what_was_supposed_is_settled() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rekey.db");
        let on_record = || {
            let bytes = std::fs::read(folder.path().join("rekey.db.lock")).unwrap();
            Record::parse(&bytes[PID_LEN..]).unwrap().longest_lease_ms
        };
        let lock = Lock::take(&path).unwrap();
        lock.begin(served()).unwrap();
        lock.grant(3_000).unwrap();
        assert_eq!(on_record(), 30_000, "former lives may have granted it");
        lock.settle().unwrap();
        assert_eq!(on_record(), 3_000);
        lock.grant(5_000).unwrap();
        lock.grant(4_000).unwrap();
        assert_eq!(on_record(), 5_000);
    }

    #[test]
    fn s8_a_life_that_serves_nothing_is_not_on_record() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rekey.db");
        Lock::take(&path).unwrap().begin(served()).unwrap();
        let lock = Lock::take(&path).unwrap();
        let refused = Memo {
            record: None,
            granted_ms: 0,
        };
        lock.begin(refused).unwrap();
        lock.grant(1_000).unwrap();
        lock.settle().unwrap();
        drop(lock);
        assert_eq!(past(&path), Past::Known(RECORD));
    }
}
