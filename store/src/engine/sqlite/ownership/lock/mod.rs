//! The lock file beside the database: who owns the database (S10), and
//! what is on record of the incarnation that was served last (S8, S9; see
//! [`crate::engine::record`]).
//!
//! A backup of the database does not carry this file. So what it says and the
//! database does not know is a history that was lost.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::watch;

use crate::engine::record::{
    Anchor, Mark, Memo, Numbered, OLD_RECORD_LEN, Past, RECORD_LEN, Record,
};
use crate::engine::sqlite::files::{beside, folder_of, sync_folder};
use crate::engine::sqlite::open::{OpenError, unwritable};
use crate::feed::core::Start;

/// The owner's process id, padded with spaces, and a line's end. It is written
/// at other bytes than the records, so that it cannot harm them.
const PID_LEN: usize = 11;
/// Where the records are, in turn: the one before is whole while one is written.
/// Each is within a sector of the disk.
const PLACES: [u64; 2] = [512, 1024];
/// Its place among the watched files.
const DATABASE: usize = 1;

/// A file's identity, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    fn of(path: &Path) -> std::io::Result<Self> {
        Ok(Self::from(&std::fs::metadata(path)?))
    }

    fn from(found: &std::fs::Metadata) -> Self {
        Self {
            device: found.dev(),
            inode: found.ino(),
        }
    }
}

/// A file that has to stay where it is while the store runs.
#[derive(Debug)]
struct Watched {
    path: PathBuf,
    id: FileId,
}

/// When and how long the database file was after the last checkpoint. Nothing but a
/// checkpoint writes into it, and readers do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Left {
    length: u64,
    seconds: i64,
    nanoseconds: i64,
}

impl Left {
    fn of(path: &Path) -> std::io::Result<Self> {
        let found = std::fs::metadata(path)?;
        Ok(Self {
            length: found.len(),
            seconds: found.mtime(),
            nanoseconds: found.mtime_nsec(),
        })
    }
}

/// The database is not surely ours any more (S10).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} was removed, replaced or written over while this store ran: another rekey-store may own the \
     database now. This one stops; start one again, and leave the database's files to it", .file.display()
)]
pub(crate) struct Lost {
    /// Which file.
    pub file: PathBuf,
}

/// The exclusive lock on `<database>.lock` (S10). The file stays when the
/// lock goes: removing it would let two owners lock two files. For the same
/// reason it is written in place, and never replaced.
pub(crate) struct Lock {
    file: File,
    path: PathBuf,
    past: Past,
    written: Mutex<Written>,
    /// The lock file, the database and its log.
    watched: OnceLock<Vec<Watched>>,
    /// The database file as this store left it; none while it writes into it.
    left: Mutex<Option<Left>>,
    lost: watch::Sender<Option<Lost>>,
}

struct Written {
    memo: Memo,
    /// Of the last record.
    sequence: u64,
}

impl Lock {
    /// Takes the lock on the database at this true path.
    pub(crate) fn take(database: &Path) -> Result<Self, OpenError> {
        let path = beside(database, ".lock");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        // Who can open it can hold it, and keep the store from starting.
        options.mode(0o600);
        let mut file = options
            .open(&path)
            .map_err(|error| unwritable(&path, error))?;
        let locked = file.try_lock();
        let mut found = Vec::new();
        let limit = PLACES[1] + RECORD_LEN as u64;
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
        let last = last_record(&found);
        let past = match last.map(|last| last.record).or_else(|| old_record(&found)) {
            Some(record) => Past::Known(record),
            None if found.is_empty() => Past::Nothing,
            None => Past::Unknown,
        };
        let lock = Self {
            file,
            path,
            past,
            written: Mutex::new(Written {
                memo: Memo::found(past),
                sequence: last.map_or(0, |last| last.sequence),
            }),
            watched: OnceLock::new(),
            left: Mutex::new(None),
            lost: watch::Sender::new(None),
        };
        let pid = format!("{:<1$}\n", std::process::id(), PID_LEN - 1);
        lock.write(0, &pid)
            .map_err(|error| unwritable(&lock.path, error))?;
        Ok(lock)
    }

    /// What was found.
    pub(crate) fn past(&self) -> Past {
        self.past
    }

    /// The lock file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// An incarnation begins: on disk in the database already, and here when this
    /// returns.
    pub(crate) fn begin(&self, start: &Start, mark: Mark) -> Result<(), OpenError> {
        let old = " ".repeat(OLD_RECORD_LEN);
        let begun = self
            .update(|memo| memo.begin(start, mark))
            // An older version must not believe what it wrote itself.
            .and_then(|()| self.write(PID_LEN as u64, &old))
            .and_then(|()| match self.past {
                // A new file is there after a power cut if its folder says so.
                Past::Nothing => sync_folder(folder_of(&self.path)),
                _ => Ok(()),
            });
        begun.map_err(|error| unwritable(&self.path, error))
    }

    /// From now on [`Self::check`] means something. The log has been written to.
    pub(crate) fn watch(&self, database: &Path) -> Result<(), OpenError> {
        let lock_file = FileId::from(
            &self
                .file
                .metadata()
                .map_err(|error| unwritable(&self.path, error))?,
        );
        let mut watched = vec![Watched {
            path: self.path.clone(),
            id: lock_file,
        }];
        for path in [database.to_owned(), beside(database, "-wal")] {
            let id = FileId::of(&path).map_err(|error| unwritable(&path, error))?;
            watched.push(Watched { path, id });
        }
        let _ = self.watched.set(watched);
        *self.left() = Left::of(database).ok();
        Ok(())
    }

    /// Runs what writes into the database file.
    pub(crate) fn while_folding<T>(&self, fold: impl FnOnce() -> T) -> std::io::Result<T> {
        *self.left() = None;
        let folded = fold();
        if let Some(database) = self.database() {
            *self.left() = Some(Left::of(database)?);
        }
        Ok(folded)
    }

    fn left(&self) -> MutexGuard<'_, Option<Left>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where it is, once it is watched.
    fn database(&self) -> Option<&Path> {
        let watched = self.watched.get()?.get(DATABASE)?;
        Some(&watched.path)
    }

    /// Whether somebody else has written into the database file.
    fn is_written_over(&self) -> bool {
        // Held, so that no checkpoint begins meanwhile.
        let left = self.left();
        match (*left, self.database()) {
            (Some(left), Some(path)) => !Left::of(path).is_ok_and(|now| now == left),
            _ => false,
        }
    }

    /// S10: whether the files that this process holds are still the ones that
    /// another process would find. Two calls of the system for each.
    pub(crate) fn check(&self) -> Result<(), Lost> {
        let mut watched = self.watched.get().into_iter().flatten();
        let gone = watched.find(|file| !FileId::of(&file.path).is_ok_and(|id| id == file.id));
        match (gone, self.database()) {
            (Some(file), _) => Err(self.lose(&file.path)),
            (None, Some(database)) if self.is_written_over() => Err(self.lose(database)),
            (None, _) => Ok(()),
        }
    }

    /// The file that is there will not be served: see [`Memo::look_only`].
    pub(crate) fn look_only(&self) {
        self.lock().memo.look_only();
    }

    /// The database is another process's; `file` shows it.
    pub(crate) fn lose(&self, file: &Path) -> Lost {
        let lost = Lost {
            file: file.to_owned(),
        };
        self.lost.send_if_modified(|known| {
            let is_news = known.is_none();
            known.get_or_insert_with(|| lost.clone());
            is_news
        });
        lost
    }

    /// Returns when the database was lost.
    pub(crate) async fn lost(&self) -> Lost {
        let mut lost = self.lost.subscribe();
        // The sender lives as long as this lock.
        match lost
            .wait_for(Option::is_some)
            .await
            .map(|lost| lost.clone())
        {
            Ok(Some(lost)) => lost,
            _ => std::future::pending().await,
        }
    }

    /// Puts a lease on record, durably, before it is granted (S9).
    pub(crate) fn grant(&self, lease_ms: u32) -> std::io::Result<()> {
        self.update(|memo| memo.grant(lease_ms))
    }

    /// Puts on record, durably, how far the database is (S8).
    pub(crate) fn set_mark(&self, mark: Mark) -> std::io::Result<()> {
        self.update(|memo| memo.committed(mark))
    }

    /// Puts on record, durably, which file the log continues (S8).
    pub(crate) fn set_anchor(&self, anchor: Anchor) -> std::io::Result<()> {
        self.update(|memo| memo.anchored(anchor))
    }

    /// See [`Memo::anchor`].
    pub(crate) fn anchor(&self) -> Option<Anchor> {
        self.lock().memo.anchor()
    }

    /// See [`Memo::settle`].
    pub(crate) fn settle(&self) -> std::io::Result<()> {
        self.update(Memo::settle)
    }

    fn lock(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn update(&self, change: impl FnOnce(&mut Memo) -> Option<Record>) -> std::io::Result<()> {
        let mut written = self.lock();
        let Some(record) = change(&mut written.memo) else {
            return Ok(());
        };
        let sequence = written.sequence + 1;
        self.write(place(sequence), &record.text(sequence))?;
        self.file.sync_data()?;
        written.sequence = sequence;
        Ok(())
    }

    fn write(&self, at: u64, text: &str) -> std::io::Result<()> {
        let mut file = &self.file;
        file.seek(SeekFrom::Start(at))?;
        file.write_all(text.as_bytes())
    }
}

fn place(sequence: u64) -> u64 {
    PLACES[usize::from(sequence % 2 == 1)]
}

/// The later of the two records that are whole.
fn last_record(found: &[u8]) -> Option<Numbered> {
    let records = PLACES.into_iter().filter_map(|at| {
        let at = usize::try_from(at).ok()?;
        Record::parse(found.get(at..at + RECORD_LEN)?)
    });
    records.max_by_key(|numbered| numbered.sequence)
}

fn old_record(found: &[u8]) -> Option<Record> {
    Record::parse_old(found.get(PID_LEN..PID_LEN + OLD_RECORD_LEN)?)
}

#[cfg(test)]
mod tests;
