//! A copy of the database in one file, made beside a running store or without
//! one: what `rekey-store backup` writes and what a restore begins with.
//!
//! Takes no ownership (S10), and changes nothing of what it copies. The
//! lock file, the write-ahead log and what is kept for replays stay out.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rekey_protocol::Incarnation;
use rusqlite::backup::{Backup, StepResult};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension};
use tempfile::NamedTempFile;

use crate::clock::UnixMillis;
use crate::engine::sqlite::files::{beside, folder_of, sync_folder};
use crate::engine::sqlite::open::{OpenError, connect, quick_check};
use crate::engine::sqlite::schema;

/// How often a copy begins again where another program holds a lock.
const TRIES: u32 = 5;

/// Why there is no backup. Nothing was written then.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Nothing to copy.
    #[error("there is no database at {}; name it with --database", .0.display())]
    NoDatabase(PathBuf),
    /// The source is not sound, or not ours.
    #[error("{}: {error}", .path.display())]
    Source {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        error: OpenError,
    },
    /// There is a file of that name.
    #[error("{} exists already; choose another name, or replace it with --force", .0.display())]
    Exists(PathBuf),
    /// A backup over what it is a backup of.
    #[error("{} is the database itself; choose another name for the backup", .0.display())]
    Itself(PathBuf),
    /// SQLite would lay this log over the backup.
    #[error("{} lies there, the write-ahead log of another database; choose another name for the backup", .0.display())]
    ForeignLog(PathBuf),
    /// The copy cannot be written.
    #[error("cannot write {}: {error}; nothing was written there", .path.display())]
    Unwritable {
        /// Which file.
        path: PathBuf,
        /// The system's word.
        error: std::io::Error,
    },
    /// What was written is not what it should be.
    #[error(
        "the copy is not sound ({0}), so it was removed; check the disk that it was written to"
    )]
    Unsound(OpenError),
}

/// What an operator is told of a database in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// Where its history stands.
    pub revision: u64,
    /// How many users there are.
    pub users: u64,
    /// When it was changed last; `None`: never.
    pub changed: Option<UnixMillis>,
    /// The size of the file.
    pub bytes: u64,
    /// The incarnation of the store that changed it last; `None`: never started.
    pub incarnation: Option<Incarnation>,
    /// The number of the last row of the audit log.
    pub last_event: i64,
}

impl Contents {
    /// Of an open database, whatever the version that wrote it.
    pub fn of(connection: &Connection, file: &Path) -> rusqlite::Result<Self> {
        // Of a version that knew one clock.
        let has_wall = connection.prepare("SELECT wall_ms FROM meta").is_ok();
        let time = match has_wall {
            true => "coalesce(wall_ms, time_ms)",
            false => "time_ms",
        };
        let (revision, time) =
            connection.query_row(&format!("SELECT revision, {time} FROM meta"), [], |row| {
                Ok((row.get(0)?, row.get::<_, i64>(1)?))
            })?;
        let number = |sql| connection.query_row(sql, [], |row| row.get(0));
        let has_imports = "SELECT 1 FROM sqlite_schema WHERE name = 'live_users'";
        let users = match connection.prepare(has_imports)?.exists([])? {
            true => "SELECT count(*) FROM live_users",
            false => "SELECT count(*) FROM users",
        };
        let incarnation = connection
            .query_row(
                "SELECT id FROM incarnations ORDER BY first_revision DESC LIMIT 1",
                [],
                |row| row.get(0).map(Incarnation),
            )
            .optional()?;
        Ok(Self {
            revision,
            users: u64::try_from(number(users)?).unwrap_or_default(),
            changed: (time > 0).then_some(UnixMillis(time)),
            bytes: std::fs::metadata(file).map_or(0, |found| found.len()),
            incarnation,
            last_event: number("SELECT coalesce(max(id), 0) FROM audit")?,
        })
    }
}

/// Where a backup goes.
#[derive(Debug, Clone)]
pub enum BackupTarget {
    /// Into a new file.
    New(PathBuf),
    /// Into a file, in place of what may be there.
    Replace(PathBuf),
    /// Nowhere yet: the caller sends it on. It takes the room beside the database
    /// for so long.
    Sent,
}

/// A backup that was made and found sound.
#[derive(Debug)]
pub struct MadeBackup {
    /// What it holds.
    pub contents: Contents,
    /// For [`BackupTarget::Sent`]: the file, which goes with this value.
    pub to_send: Option<NamedTempFile>,
}

/// Makes a backup. It has its name only when it is whole, sound and on disk.
pub fn backup(database: &Path, target: BackupTarget) -> Result<MadeBackup, BackupError> {
    let source = source(database)?;
    let (folder, clear) = match &target {
        BackupTarget::New(file) => (folder_of(file), free_name(file, database, Taken::Refuse)),
        BackupTarget::Replace(file) => (folder_of(file), free_name(file, database, Taken::Replace)),
        BackupTarget::Sent => (folder_of(database), Ok(())),
    };
    clear?;
    let name: &Path = match &target {
        BackupTarget::New(file) | BackupTarget::Replace(file) => file,
        // The copy is beside the database until it is sent.
        BackupTarget::Sent => folder,
    };
    let failed = |error| BackupError::Unwritable {
        path: name.to_owned(),
        error,
    };
    let copy = private_file(folder, ".rekey-backup-").map_err(failed)?;
    copy_whole(&source, copy.path()).map_err(|error| match error {
        CopyError::Source(error) => BackupError::Source {
            path: database.to_owned(),
            error: error.into(),
        },
        CopyError::Copy(error) => failed(error),
    })?;
    let contents = inspect(copy.path()).map_err(BackupError::Unsound)?;
    copy.as_file().sync_all().map_err(failed)?;
    let to_send = match &target {
        BackupTarget::New(file) => {
            let kept = copy.persist_noclobber(file);
            kept.map_err(|error| match error.error.kind() {
                ErrorKind::AlreadyExists => BackupError::Exists(file.clone()),
                _ => failed(error.error),
            })?;
            None
        }
        BackupTarget::Replace(file) => {
            copy.persist(file).map_err(|error| failed(error.error))?;
            None
        }
        BackupTarget::Sent => Some(copy),
    };
    if to_send.is_none() {
        sync_folder(folder).map_err(failed)?;
    }
    Ok(MadeBackup { contents, to_send })
}

/// What becomes of a file that has the name already.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Taken {
    Refuse,
    Replace,
}

fn free_name(file: &Path, database: &Path, taken: Taken) -> Result<(), BackupError> {
    let is_same = |one: &Path, other: &Path| match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    };
    if is_same(file, database) {
        return Err(BackupError::Itself(file.to_owned()));
    }
    if taken == Taken::Refuse && file.symlink_metadata().is_ok() {
        return Err(BackupError::Exists(file.to_owned()));
    }
    let log = beside(file, "-wal");
    match log.symlink_metadata() {
        Ok(_) => Err(BackupError::ForeignLog(log)),
        Err(_) => Ok(()),
    }
}

/// A connection that reads a database beside its owner, and leaves its log as it is.
fn source(database: &Path) -> Result<Connection, BackupError> {
    if !database.exists() {
        return Err(BackupError::NoDatabase(database.to_owned()));
    }
    reading(database).map_err(|error| BackupError::Source {
        path: database.to_owned(),
        error,
    })
}

/// Opens a database of ours to read it, also where its last owner has crashed:
/// what is in the write-ahead log counts.
pub(crate) fn reading(database: &Path) -> Result<Connection, OpenError> {
    let connection = connect(database, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    // The last connection to close would fold the log into the database.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    schema::check(&connection)?;
    schema::check_begun(&connection)?;
    // A backup of a mixture would make it look whole.
    crate::engine::sqlite::anchor::is_one(&connection, database)?;
    Ok(connection)
}

/// Whose fault it is that a copy failed.
#[derive(Debug)]
pub(crate) enum CopyError {
    /// It cannot be read.
    Source(rusqlite::Error),
    /// It cannot be written.
    Copy(std::io::Error),
}

/// Copies all of a database, as it was at one moment, into a file that is there.
///
/// All pages go in one step and so in one read transaction: between two steps the
/// owner's commits would make it begin again, and under steady writes it would never
/// end. In WAL mode a reader holds nobody up.
pub(crate) fn copy_whole(source: &Connection, file: &Path) -> Result<(), CopyError> {
    let of_copy = |error: rusqlite::Error| CopyError::Copy(std::io::Error::other(error));
    let access = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut copy = Connection::open_with_flags(file, access).map_err(of_copy)?;
    // It is put on disk as a whole, at the end.
    copy.pragma_update(None, "synchronous", "off")
        .map_err(of_copy)?;
    let mut tries = 0;
    let backup = Backup::new(source, &mut copy).map_err(CopyError::Source)?;
    loop {
        match backup.step(-1) {
            Ok(StepResult::Done) => break,
            Ok(_) if tries < TRIES => {
                tries += 1;
                std::thread::sleep(Duration::from_millis(200));
            }
            Ok(_) => return Err(CopyError::Source(busy())),
            // SQLite does not say which of the two failed; only the copy grows.
            Err(error) if is_of_writing(&error) => return Err(of_copy(error)),
            Err(error) => return Err(CopyError::Source(error)),
        }
    }
    drop(backup);
    // The copy says of itself that it has a log, as its source does.
    copy.pragma_update(None, "journal_mode", "delete")
        .and_then(|()| copy.close().map_err(|(_, error)| error))
        .map_err(of_copy)
}

fn busy() -> rusqlite::Error {
    let busy = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
    rusqlite::Error::SqliteFailure(busy, None)
}

fn is_of_writing(error: &rusqlite::Error) -> bool {
    use rusqlite::ffi::{
        SQLITE_FULL, SQLITE_IOERR_FSYNC, SQLITE_IOERR_TRUNCATE, SQLITE_IOERR_WRITE,
    };
    let code = error.sqlite_error().map(|error| error.extended_code);
    matches!(
        code,
        Some(SQLITE_FULL | SQLITE_IOERR_FSYNC | SQLITE_IOERR_TRUNCATE | SQLITE_IOERR_WRITE)
    )
}

/// Whether a copy is sound and ours, and what it holds.
pub(crate) fn inspect(file: &Path) -> Result<Contents, OpenError> {
    let connection = reading(file)?;
    quick_check(&connection)?;
    Ok(Contents::of(&connection, file)?)
}

/// A file of this user's alone, in the folder where it is to stay.
pub(crate) fn private_file(folder: &Path, prefix: &str) -> std::io::Result<NamedTempFile> {
    tempfile::Builder::new().prefix(prefix).tempfile_in(folder)
}
