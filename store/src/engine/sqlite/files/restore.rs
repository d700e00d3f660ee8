//! Puts a backup in the place of the database, in steps of which each leaves the
//! old state, the new one, or one that no store serves.
//!
//! The restore owns the database meanwhile (S10). It does to the backup
//! what a start with `--accept-restore` does, and leaves it on record: the next start
//! holds every 200 for the longest lease there is (S9), and takes cursors of the lost
//! history for what they are (S8).

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rusqlite::OpenFlags;
use tempfile::NamedTempFile;

use crate::clock::UnixMillis;
use crate::crash;
use crate::engine::sqlite::backup::{
    Contents, CopyError, copy_whole, inspect, private_file, reading,
};
use crate::engine::sqlite::files::loss::{Loss, loss};
use crate::engine::sqlite::files::{beside, folder_of, sync_folder};
use crate::engine::sqlite::incarnation::{begin_incarnation, random_incarnation};
use crate::engine::sqlite::lock::Lock;
use crate::engine::sqlite::open::{OpenError, absolute, connect, unwritable};
use crate::engine::sqlite::schema;
use crate::operations::incarnation::{Begin, Begun, OlderData};

/// What SQLite keeps beside a database, the log before what indexes it.
const COMPANIONS: [&str; 2] = ["-wal", "-shm"];
/// Of the file that says that a restore is under way, and what it moves away.
const MARKER: &str = ".restoring";

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The backup cannot be used.
    #[error("{} cannot be restored: {error}", .path.display())]
    Backup {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        error: OpenError,
    },
    /// There is no backup of that name.
    #[error("there is no file {}", .0.display())]
    NoBackup(PathBuf),
    /// A backup of itself.
    #[error("{} is the database itself; name the backup", .0.display())]
    Itself(PathBuf),
    /// A raw copy, which SQLite would mix with whatever log lies there.
    #[error("{} lies beside the backup and may not belong to it: it is a raw copy of a database; make a backup of it with `rekey-store backup`", .0.display())]
    WithLog(PathBuf),
    /// The place of the database cannot be used.
    #[error("{}: {error}", .path.display())]
    Place {
        /// Where the database is to be.
        path: PathBuf,
        /// Why not.
        error: OpenError,
    },
    /// It broke off.
    #[error("the restore broke off: {error}; {}", broken_off(.marker))]
    BrokenOff {
        /// The file that keeps the store from serving.
        marker: PathBuf,
        /// Why.
        error: OpenError,
    },
}

/// What a store says that finds a restore under way, by the file that says so.
pub(crate) fn broken_off(marker: &Path) -> String {
    let database = marker.with_extension("");
    let aside = fs::read_to_string(marker).unwrap_or_default();
    let aside = aside.trim();
    let back = match aside {
        "" => String::new(),
        aside => format!(
            "; to go back instead, move {aside} to {0}, {aside}-wal to {0}-wal if it is there, remove {1}, and \
             if nothing is served then, start with --accept-restore",
            database.display(),
            marker.display(),
        ),
    };
    format!(
        "a restore of {} was broken off, so nothing is served: run `rekey-store restore` once more{back}",
        database.display()
    )
}

/// Refuses a database whose restore did not get to its end.
pub(crate) fn is_none_under_way(database: &Path) -> Result<(), OpenError> {
    let database = absolute(database)?;
    let marker = beside(&database, MARKER);
    match marker.symlink_metadata() {
        Ok(_) => Err(OpenError::BrokenRestore(marker)),
        Err(_) => Ok(()),
    }
}

/// A restore that may be carried out. Nobody else owns the database meanwhile.
pub struct Restore {
    lock: Lock,
    database: PathBuf,
    file: PathBuf,
    backup: Contents,
    loss: Loss,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// Where the history stands now.
    pub revision: u64,
    /// Where the database is that was there before.
    pub aside: Option<PathBuf>,
}

/// The database to be, beside the present one.
struct Prepared {
    copy: NamedTempFile,
    begun: Begun,
}

impl Restore {
    /// Takes the ownership, and looks at both files. Changes nothing yet.
    pub fn prepare(file: &Path, database: &Path) -> Result<Self, RestoreError> {
        let place = |error| RestoreError::Place {
            path: database.to_owned(),
            error,
        };
        let database = &absolute(database).map_err(place)?;
        let lock = Lock::take(database).map_err(place)?;
        let true_file = match file.canonicalize() {
            Ok(path) => path,
            Err(_) => return Err(RestoreError::NoBackup(file.to_owned())),
        };
        if true_file == *database {
            return Err(RestoreError::Itself(file.to_owned()));
        }
        let log = beside(&true_file, "-wal");
        if fs::metadata(&log).is_ok_and(|found| found.len() > 0) {
            return Err(RestoreError::WithLog(log));
        }
        let backup = inspect(&true_file).map_err(|error| RestoreError::Backup {
            path: file.to_owned(),
            error,
        })?;
        remove_leftovers(database);
        let broken = |error| RestoreError::BrokenOff {
            marker: beside(database, MARKER),
            error,
        };
        if let Some(aside) = marked(database) {
            // Or the log and its database would have two names.
            move_aside(database, &aside).map_err(broken)?;
        }
        let loss = loss(database, &backup);
        Ok(Self {
            lock,
            database: database.clone(),
            file: true_file,
            backup,
            loss,
        })
    }

    /// What is to be restored.
    pub fn backup(&self) -> &Contents {
        &self.backup
    }

    /// What is lost by it.
    pub fn loss(&self) -> &Loss {
        &self.loss
    }

    /// Does it.
    pub fn carry_out(self) -> Result<Restored, RestoreError> {
        let place = |error| RestoreError::Place {
            path: self.database.clone(),
            error,
        };
        let Prepared { copy, begun } = self.copy()?;
        crash::point("restore.prepared");
        let marker = beside(&self.database, MARKER);
        let aside = match marked(&self.database) {
            Some(aside) => aside,
            None => free_name(&self.database).map_err(place)?,
        };
        let is_marked = self.mark(&marker, &aside);
        is_marked.map_err(|error| place(unwritable(&marker, error)))?;
        crash::point("restore.marked");
        // From here on no store serves before the end is reached.
        let broken = |error| RestoreError::BrokenOff {
            marker: marker.clone(),
            error,
        };
        move_aside(&self.database, &aside).map_err(broken)?;
        crash::point("restore.moved_aside");
        let kept = copy.persist(&self.database);
        kept.map_err(|error| broken(unwritable(&self.database, error.error)))?;
        crash::point("restore.renamed");
        // Of rotations that this history does not know.
        crate::engine::sqlite::replays::Replays::give_up(&self.database);
        self.lock.begin(&begun.feed, begun.mark).map_err(broken)?;
        crash::point("restore.recorded");
        let folder = folder_of(&self.database);
        let ended = sync_folder(folder)
            .and_then(|()| fs::remove_file(&marker))
            .and_then(|()| sync_folder(folder));
        ended.map_err(|error| broken(unwritable(&marker, error)))?;
        crash::point("restore.done");
        Ok(Restored {
            revision: begun.mark.revision,
            aside: aside.exists().then_some(aside),
        })
    }

    /// The backup as the database that it is to be, on disk beside the old one.
    fn copy(&self) -> Result<Prepared, RestoreError> {
        let of_backup = |error: OpenError| RestoreError::Backup {
            path: self.file.clone(),
            error,
        };
        let place = |error| RestoreError::Place {
            path: self.database.clone(),
            error,
        };
        let written = |error| place(unwritable(&self.database, error));
        let folder = folder_of(&self.database);
        let copy = private_file(folder, &leftover(&self.database)).map_err(written)?;
        let source = reading(&self.file).map_err(of_backup)?;
        copy_whole(&source, copy.path()).map_err(|error| match error {
            CopyError::Source(error) => of_backup(error.into()),
            CopyError::Copy(error) => written(error),
        })?;
        let begun = self.begin(copy.path()).map_err(place)?;
        inspect(copy.path()).map_err(place)?;
        give_to_owner(copy.as_file(), &self.database).map_err(written)?;
        copy.as_file().sync_all().map_err(written)?;
        Ok(Prepared { copy, begun })
    }

    /// What a start does that accepts a restore, in the copy.
    fn begin(&self, copy: &Path) -> Result<Begun, OpenError> {
        let mut connection = connect(copy, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        schema::migrate(&mut connection)?;
        // S8: past all that the lost history has used, also where its clock was ahead.
        // So no cursor of it can be taken for one of this history.
        let lost = match &self.loss {
            Loss::Later(later) => later.contents.revision,
            Loss::All(contents) => contents.revision,
            Loss::Nothing | Loss::Unreadable(_) => 0,
        };
        connection.execute("UPDATE meta SET revision = max(revision, ?1)", [lost])?;
        let begin = Begin {
            id: random_incarnation()?,
            wall: UnixMillis::wall(),
            past: self.lock.past(),
            older_data: OlderData::Accepted,
        };
        let begun = begin_incarnation(&mut connection, &begin)?;
        connection.close().map_err(|(_, error)| error)?;
        Ok(begun)
    }

    fn mark(&self, marker: &Path, aside: &Path) -> std::io::Result<()> {
        let mut file = private_file(folder_of(marker), &leftover(&self.database))?;
        writeln!(file, "{}", aside.display())?;
        file.as_file().sync_all()?;
        // Of a restore that was broken off before: this one goes on from there.
        file.persist(marker).map_err(|error| error.error)?;
        sync_folder(folder_of(marker))
    }
}

/// Moves the old database away with its log: SQLite would lay an old log over the new
/// database. What was moved already is the database; what lies in its place then is
/// a copy that never was served, and goes.
fn move_aside(database: &Path, aside: &Path) -> Result<(), OpenError> {
    if aside.exists() {
        for suffix in ["-wal", "-shm", ""] {
            let _ = fs::remove_file(beside(database, suffix));
        }
        return Ok(());
    }
    for companion in COMPANIONS {
        rename_if_there(&beside(database, companion), &beside(aside, companion))?;
        crash::point("restore.log_aside");
    }
    rename_if_there(database, aside)?;
    let folder = folder_of(database);
    sync_folder(folder).map_err(|error| unwritable(folder, error))
}

/// Where a restore that was broken off moves the database.
pub(crate) fn marked(database: &Path) -> Option<PathBuf> {
    let aside = fs::read_to_string(beside(database, MARKER)).ok()?;
    let aside = aside.trim();
    (!aside.is_empty()).then(|| PathBuf::from(aside))
}

fn rename_if_there(from: &Path, to: &Path) -> Result<(), OpenError> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Ok(()) => Ok(()),
        Err(error) => Err(unwritable(from, error)),
    }
}

/// Of a copy that a restore of this database was writing.
fn leftover(database: &Path) -> String {
    let name = database.file_name().unwrap_or_default();
    format!(".{}.restore-", name.to_string_lossy())
}

/// Copies of a restore that was killed: with the ownership nobody else writes one.
fn remove_leftovers(database: &Path) {
    let prefix = leftover(database);
    let entries = fs::read_dir(folder_of(database));
    for entry in entries.into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// A name for the database that was there, which nothing has yet.
fn free_name(database: &Path) -> Result<PathBuf, OpenError> {
    let time = UnixMillis::wall().rfc3339().replace([':', '-'], "");
    let names = (1..100).map(|number| match number {
        1 => beside(database, &format!(".before-restore-{time}")),
        _ => beside(database, &format!(".before-restore-{time}-{number}")),
    });
    let is_free = |name: &PathBuf| {
        let all = ["", "-wal", "-shm"].map(|suffix| beside(name, suffix));
        all.iter().all(|file| file.symlink_metadata().is_err())
    };
    let mut free = names.filter(is_free);
    free.next().ok_or_else(|| {
        let full = std::io::Error::new(ErrorKind::AlreadyExists, "too many restores in one second");
        unwritable(database, full)
    })
}

/// Root restores for the user that runs the store: the owner of the database, or of
/// its folder where there is none.
fn give_to_owner(file: &File, database: &Path) -> std::io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let owner = fs::metadata(database).or_else(|_| fs::metadata(folder_of(database)))?;
    std::os::unix::fs::fchown(file, Some(owner.uid()), Some(owner.gid()))?;
    let lock = beside(database, ".lock");
    std::os::unix::fs::chown(lock, Some(owner.uid()), Some(owner.gid()))
}
