//! Opens the database: who owns it, whether it is sound and ours, and the
//! incarnation row that every start writes (S8, S10).

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::anchor::{self, Fold, FoldError};
use super::files::beside;
use super::incarnation::{begin_incarnation, is_restored, random_incarnation};
use super::lock::Lock;
use super::schema;
use crate::clock::{StoreTime, UnixMillis};
use crate::engine::record::{Mark, Past};
use crate::feed::core::Start;
use crate::operations::incarnation::{Begin, OlderData};

/// How long a statement waits for a lock of another program, such as a backup
/// tool; the store's own connections never wait for each other's reads.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// What is kept of the write-ahead log's file when it is used again, in bytes.
const LOG_KEPT: u32 = 16 << 20;

/// Why a database was not opened. The operator's or the machine's fault; each
/// text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process owns it (S10).
    #[error(
        "the database is in use by another rekey-store{}; stop that one first (the lock is held on {})",
        .pid.map(|pid| format!(" (process {pid})")).unwrap_or_default(),
        .lock.display()
    )]
    Locked {
        /// The lock file.
        lock: PathBuf,
        /// The owner, where it could be read.
        pid: Option<u32>,
    },
    /// The folder is not there.
    #[error("the folder {} does not exist; create it, or choose another --database", .0.display())]
    NoFolder(PathBuf),
    /// The file has more than one name (S10).
    #[error("{} has more than one hard link, and another rekey-store could open it by another name; give it a file of its own", .0.display())]
    HardLinked(PathBuf),
    /// A file cannot be created or written.
    #[error("cannot write {}: {error}; check the folder's owner and permissions, and the disk", .path.display())]
    Unwritable {
        /// Which file.
        path: PathBuf,
        /// The system's word.
        error: std::io::Error,
    },
    /// Not a SQLite file.
    #[error("the file is not a SQLite database; choose another --database, or restore a backup")]
    NotADatabase,
    /// SQLite, but not ours.
    #[error("the file is a SQLite database of another program; choose another --database")]
    Foreign,
    /// Nothing in it yet.
    #[error("the file is empty; choose another one")]
    Empty,
    /// Damaged.
    #[error("the database is corrupt ({0}); keep a copy of the file and restore a backup")]
    Corrupt(String),
    /// Written by a later version.
    #[error(
        "the database has schema {found}, this rekey-store knows up to {known}: a newer version wrote it; use that version, or restore a backup made before it"
    )]
    NewerSchema {
        /// In the file.
        found: i32,
        /// The newest here.
        known: i32,
    },
    /// The write-ahead log is of another database than the one that it lies
    /// beside (S8).
    #[error(
        "{log} does not belong to the {database} that was served here last, so nothing was changed. If you put both here \
         together, they are one database: make one file of them with `rekey-store backup --database {database} copy.db`, \
         and then `rekey-store restore copy.db --database {database}`. If you put only a backup here and the log was left, remove {log} \
         and {index}, because together they would revive replaced keys unnoticed, and start with --accept-restore",
        log = .log.display(), database = .database.display(), index = .index.display()
    )]
    LeftoverLog {
        /// Whose log it is not.
        database: PathBuf,
        /// Its write-ahead log.
        log: PathBuf,
        /// The index of the log.
        index: PathBuf,
    },
    /// Locked within SQLite, by some other tool.
    #[error("another program holds a lock on the database; close it and try again")]
    Busy,
    /// A restore did not get to its end.
    #[error("{}", super::restore::broken_off(.0))]
    BrokenRestore(PathBuf),
    /// No room.
    #[error(
        "the disk is full; make room where the database is, and start the store again; nothing was changed"
    )]
    Full,
    /// Anything else that SQLite says.
    #[error("the database cannot be opened: {0}")]
    Other(rusqlite::Error),
}

impl From<rusqlite::Error> for OpenError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => Self::NotADatabase,
            Some(ErrorCode::DatabaseCorrupt) => Self::Corrupt(error.to_string()),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy,
            _ if super::fate::is_full(&error) => Self::Full,
            _ => Self::Other(error),
        }
    }
}

/// A database that is opened, owned, sound and up to date.
pub(super) struct Opened {
    /// What the change feed begins with.
    pub feed: Start,
    /// The one connection that writes.
    pub writer: Connection,
    /// Whose existence is the ownership; dropped last.
    pub lock: Lock,
    /// Where it is.
    pub path: PathBuf,
    /// The last moment that was acted upon; none in a new database.
    pub time: Option<StoreTime>,
    /// How far the history is.
    pub mark: Mark,
}

/// Opens or creates the database at `path` and begins a new incarnation.
pub(super) fn open(path: &Path, older_data: OlderData) -> Result<Opened, OpenError> {
    // Before a database is made where a restore has just moved one away.
    super::restore::is_none_under_way(path)?;
    // S10: created before its true path is asked for, because a link to a file
    // that does not exist yet has none, and its owner would lock the link.
    create_private(&absolute(path)?)?;
    let path = absolute(path)?;
    super::restore::is_none_under_way(&path)?;
    one_name(&path)?;
    let lock = Lock::take(&path)?;
    anchor::check(&path, lock.past())?;
    let mut writer = connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    // S8: by the writer alone, and the anchor goes first.
    writer.pragma_update(None, "wal_autocheckpoint", 0)?;
    writer.pragma_update(None, "journal_size_limit", LOG_KEPT)?;
    schema::check(&writer)?;
    quick_check(&writer)?;
    writer.pragma_update(None, "journal_mode", "wal")?;
    // In KiB. A change of an import touches some thousand pages, all over the indexes.
    writer.pragma_update(None, "cache_size", -16384)?;
    if older_data == OlderData::Refused && is_restored(&writer, lock.past())? {
        lock.look_only();
    }
    warn_without_record(&writer, lock.past())?;
    let failed = |error| match error {
        FoldError::Sqlite(error) => OpenError::from(error),
        FoldError::Lock(error) => unwritable(&beside(&path, ".lock"), error),
    };
    anchor::expect_none(&writer, &lock).map_err(failed)?;
    schema::migrate(&mut writer)?;
    // S8: the log is empty before this incarnation writes into it.
    anchor::fold(&writer, &lock, Fold::Empty).map_err(failed)?;
    let begin = Begin {
        id: random_incarnation()?,
        wall: UnixMillis::wall(),
        past: lock.past(),
        older_data,
    };
    // S9: on disk in the database before it is in the lock file: the other way
    // round, a crash in between would look like a restore.
    let begun = begin_incarnation(&mut writer, &begin)?;
    lock.begin(&begun.feed, begun.mark)?;
    lock.watch(&path)?;
    Ok(Opened {
        feed: begun.feed,
        writer,
        lock,
        path,
        time: begun.time,
        mark: begun.mark,
    })
}

/// Says that an older backup would not be noticed (S8).
fn warn_without_record(connection: &Connection, past: Past) -> Result<(), OpenError> {
    let tables = "SELECT 1 FROM sqlite_schema WHERE name = 'incarnations'";
    let was_served = connection.prepare(tables)?.exists([])?
        && connection
            .prepare("SELECT 1 FROM incarnations")?
            .exists([])?;
    let missing = match past {
        Past::Known(_) => return Ok(()),
        Past::Nothing if !was_served => return Ok(()),
        Past::Nothing => "there is no lock file beside the database",
        Past::Unknown => "the lock file beside the database has no record",
    };
    tracing::warn!(
        "{missing}: if the database is an older backup, replaced keys are valid again, and only a \
         gateway can show it"
    );
    Ok(())
}

/// A connection with the settings that all of ours have.
pub(super) fn connect(path: &Path, access: OpenFlags) -> Result<Connection, OpenError> {
    let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// The true path, so that two names of one file meet at one lock.
pub(super) fn absolute(path: &Path) -> Result<PathBuf, OpenError> {
    if let Ok(path) = path.canonicalize() {
        return Ok(path);
    }
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    match (folder.canonicalize(), path.file_name()) {
        (Ok(folder), Some(name)) => Ok(folder.join(name)),
        _ => Err(OpenError::NoFolder(folder.to_owned())),
    }
}

/// Creates the file readable by its owner only; SQLite gives its other files
/// the same permissions.
pub(super) fn create_private(path: &Path) -> Result<(), OpenError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
        .open(path)
        .map(drop)
        .map_err(|error| unwritable(path, error))
}

/// S10: a file with a second name could be opened under that one, too.
fn one_name(path: &Path) -> Result<(), OpenError> {
    #[cfg(unix)]
    {
        let found = std::fs::metadata(path).map_err(|error| unwritable(path, error))?;
        if std::os::unix::fs::MetadataExt::nlink(&found) > 1 {
            return Err(OpenError::HardLinked(path.to_owned()));
        }
    }
    Ok(())
}

/// For an error of the system.
pub(super) fn unwritable(path: &Path, error: std::io::Error) -> OpenError {
    OpenError::Unwritable {
        path: path.to_owned(),
        error,
    }
}

pub(super) fn quick_check(connection: &Connection) -> Result<(), OpenError> {
    let started = std::time::Instant::now();
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    tracing::debug!(took = ?started.elapsed(), "database checked");
    if verdict == "ok" {
        Ok(())
    } else {
        Err(OpenError::Corrupt(verdict.replace('\n', " ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(path: &Path) -> String {
        open(path, OlderData::Refused).err().unwrap().to_string()
    }

    #[test]
    fn s8_every_start_is_a_new_incarnation_past_the_last_revision() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rekey.db");
        let before = UnixMillis::wall().0 * 1000;
        let first = open(&path, OlderData::Refused).unwrap();
        assert!(first.mark.revision >= before as u64 && first.mark.revision < 1 << 53);
        // As if more changes had been made than microseconds passed.
        let ahead = first.mark.revision + 1_000_000_000_000;
        first
            .writer
            .execute("UPDATE meta SET revision = ?1", [ahead])
            .unwrap();
        drop(first);
        let second = open(&path, OlderData::Refused).unwrap();
        assert_eq!(second.mark.revision, ahead + 1);
        let count: i64 = second
            .writer
            .query_row("SELECT count(DISTINCT id) FROM incarnations", [], |row| {
                row.get(0)
            })
            .unwrap();
        assert_eq!(count, 2);
    }

    #[test]
    fn s10_a_second_owner_is_told_who_the_first_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rekey.db");
        let _first = open(&path, OlderData::Refused).unwrap();
        let text = refusal(&path);
        let pid = format!("process {}", std::process::id());
        assert!(text.contains(&pid), "{text}");
        // Another name of the same file is the same database.
        let alias = folder.path().join("alias.db");
        std::os::unix::fs::symlink(&path, &alias).unwrap();
        assert!(refusal(&alias).contains("in use"), "{}", refusal(&alias));
    }

    #[test]
    fn s10_another_name_of_the_same_file_is_no_way_around_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let (path, alias) = (
            folder.path().join("rekey.db"),
            folder.path().join("alias.db"),
        );
        // A link to a file that is not there yet.
        std::os::unix::fs::symlink(&path, &alias).unwrap();
        let first = open(&alias, OlderData::Refused).unwrap();
        assert!(refusal(&path).contains("in use"), "{}", refusal(&path));
        drop(first);
        let twin = folder.path().join("twin.db");
        std::fs::hard_link(&path, &twin).unwrap();
        for name in [&path, &twin] {
            assert!(refusal(name).contains("hard link"), "{}", refusal(name));
        }
    }

    #[test]
    fn what_is_no_database_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rekey.db");
        let text = "This is a letter to a friend. ".repeat(99);
        std::fs::write(&path, &text).unwrap();
        assert!(refusal(&path).contains("not a SQLite database"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }

    #[test]
    fn a_damage_that_no_start_would_meet_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rekey.db");
        let opened = open(&path, OlderData::Refused).unwrap();
        let fill = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
                    INSERT INTO audit (at_ms, user_id, action, revision, source)
                    SELECT i, 'u', 'rotated', i, 'gateway' FROM n";
        opened.writer.execute(fill, []).unwrap();
        drop(opened);
        drop(open(&path, OlderData::Refused).unwrap());
        let mut bytes = std::fs::read(&path).unwrap();
        let last_page = bytes.len() - 4096;
        for byte in bytes.iter_mut().skip(last_page) {
            *byte = 0x5a;
        }
        std::fs::write(&path, bytes).unwrap();
        assert!(refusal(&path).contains("corrupt"), "{}", refusal(&path));
    }

    #[test]
    fn a_missing_folder_is_named() {
        let text = refusal(Path::new("/nonexistent-folder/rekey.db"));
        assert!(text.contains("/nonexistent-folder"), "{text}");
    }

    #[cfg(unix)]
    #[test]
    fn the_file_is_private() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rekey.db");
        let _opened = open(&path, OlderData::Refused).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
