//! The engine that the operator chose with `--database`. Here alone the server names
//! its engines; a new one is a variant of each type, and the compiler asks for the rest.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rekey_protocol::{Digest, UserId};

use super::import::{ImportError, Importing, Staging};
use super::rows::ImportedRow;
use super::serve::{EngineSettings, NotReady, Serve, Started};
use super::sqlite::{Sqlite, StagingTable};
use super::{Engine, Listener, Patience, ReadError, RecordsError, WriteError};
use crate::api::BadRow;
use crate::feed::core::Start;
use crate::feed::{LaterRevocations, Records};
use crate::metrics::DiskUse;
use crate::operations::{Context, Operation, Read};

/// Where the data is, and so which engine keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Database {
    /// In this file.
    Sqlite(PathBuf),
}

impl Database {
    /// Reads `sqlite:PATH` or a bare path. A path whose first part looks like a scheme
    /// can be written as `./a:b`.
    pub fn parse(text: &OsStr) -> Result<Self, BadDatabase> {
        let bytes = text.as_bytes();
        let named = bytes.iter().position(|byte| *byte == b':');
        let Some(end) = named.filter(|end| is_scheme(&bytes[..*end])) else {
            return Self::in_file(text);
        };
        let rest = OsStr::from_bytes(&bytes[end + 1..]);
        match bytes[..end].eq_ignore_ascii_case(b"sqlite") {
            true if rest.as_bytes().starts_with(b"//") => Err(BadDatabase::Url),
            true => Self::in_file(rest),
            false => Err(BadDatabase::OtherScheme(
                String::from_utf8_lossy(&bytes[..end]).into_owned(),
            )),
        }
    }

    fn in_file(path: &OsStr) -> Result<Self, BadDatabase> {
        match path.is_empty() {
            true => Err(BadDatabase::NoPath),
            false => Ok(Self::Sqlite(path.into())),
        }
    }

    /// As [`Self::parse`], for the command line.
    pub fn from_flag(text: OsString) -> Result<Self, BadDatabase> {
        Self::parse(&text)
    }
}

/// As RFC 3986 has it.
fn is_scheme(bytes: &[u8]) -> bool {
    let is_inner = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
    bytes.first().is_some_and(u8::is_ascii_alphabetic) && bytes.iter().all(is_inner)
}

/// As the operator may write it.
impl fmt::Display for Database {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(out, "{}", path.display()),
        }
    }
}

/// Why a text names no database.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadDatabase {
    /// Another engine's.
    #[error(
        "there is no engine for '{0}:'; possible are sqlite:PATH and a bare PATH (a file whose name begins like that is written ./{0}:…)"
    )]
    OtherScheme(String),
    /// Two slashes begin the name of a machine in a URL, and a path too.
    #[error("after 'sqlite:' comes a path, with one '/' at the most in front")]
    Url,
    /// None.
    #[error("the path of the SQLite file is missing")]
    NoPath,
}

/// The engine that the server stands on. Cheap to clone.
#[derive(Clone)]
pub enum ChosenEngine {
    /// One file, one process.
    Sqlite(Sqlite),
}

impl Engine for ChosenEngine {
    async fn run_within<O>(&self, patience: Patience, operation: O) -> Result<O::Out, WriteError>
    where
        O: Operation + Send + 'static,
        O::Out: Send + 'static,
    {
        match self {
            Self::Sqlite(engine) => engine.run_within(patience, operation).await,
        }
    }

    async fn read<R>(&self, read: R) -> Result<R::Out, ReadError>
    where
        R: Read + Send + 'static,
        R::Out: Send + 'static,
    {
        match self {
            Self::Sqlite(engine) => engine.read(read).await,
        }
    }

    async fn stop(&self) {
        match self {
            Self::Sqlite(engine) => engine.stop().await,
        }
    }
}

impl Records for ChosenEngine {
    type Error = RecordsError;

    async fn changes_after(&self, revision: u64) -> Result<LaterRevocations, RecordsError> {
        match self {
            Self::Sqlite(engine) => engine.changes_after(revision).await,
        }
    }

    fn is_owned(&self) -> bool {
        match self {
            Self::Sqlite(engine) => engine.is_owned(),
        }
    }

    async fn record_lease(&self, lease_ms: u32) -> Result<(), RecordsError> {
        match self {
            Self::Sqlite(engine) => engine.record_lease(lease_ms).await,
        }
    }
}

impl Serve for ChosenEngine {
    type Location = Database;

    async fn start<L: Listener + Clone>(
        settings: EngineSettings<Database>,
        listen: impl FnOnce(Start) -> L + Send,
    ) -> anyhow::Result<Started<Self, L>> {
        match settings.place.clone() {
            Database::Sqlite(path) => {
                let started = Sqlite::start(settings.at(path), listen).await?;
                Ok(started.map(Self::Sqlite))
            }
        }
    }

    fn context(&self) -> Context {
        match self {
            Self::Sqlite(engine) => engine.context(),
        }
    }

    async fn ready(&self) -> Result<(), NotReady> {
        match self {
            Self::Sqlite(engine) => engine.ready().await,
        }
    }

    fn disk_use(&self) -> Option<DiskUse> {
        match self {
            Self::Sqlite(engine) => engine.disk_use(),
        }
    }

    fn takes_first_use(&self, digest: &Digest) -> bool {
        match self {
            Self::Sqlite(engine) => engine.takes_first_use(digest),
        }
    }

    fn await_first_use(&self, digest: &Digest) {
        match self {
            Self::Sqlite(engine) => engine.await_first_use(digest),
        }
    }
}

impl Importing for ChosenEngine {
    type Staging = ChosenStaging;

    fn stage(&self) -> Result<ChosenStaging, ImportError> {
        match self {
            Self::Sqlite(engine) => engine.stage().map(ChosenStaging::Sqlite),
        }
    }

    fn free_bytes(&self) -> Option<u64> {
        match self {
            Self::Sqlite(engine) => engine.free_bytes(),
        }
    }
}

/// Where the rows of an import wait.
pub enum ChosenStaging {
    /// In a temporary table.
    Sqlite(StagingTable),
}

impl Staging for ChosenStaging {
    fn rows(&self) -> u64 {
        match self {
            Self::Sqlite(staging) => staging.rows(),
        }
    }

    fn add(&mut self, line: u64, row: &ImportedRow) -> Result<(), ImportError> {
        match self {
            Self::Sqlite(staging) => staging.add(line, row),
        }
    }

    fn add_bad(&mut self, line: u64, reason: &str) -> Result<(), ImportError> {
        match self {
            Self::Sqlite(staging) => staging.add_bad(line, reason),
        }
    }

    fn check(&mut self) -> Result<u64, ImportError> {
        match self {
            Self::Sqlite(staging) => staging.check(),
        }
    }

    fn rows_after(
        &self,
        user: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<ImportedRow>, ImportError> {
        match self {
            Self::Sqlite(staging) => staging.rows_after(user, limit),
        }
    }

    fn bad_rows(&self, take: impl FnMut(BadRow) -> bool) -> Result<(), ImportError> {
        match self {
            Self::Sqlite(staging) => staging.bad_rows(take),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<PathBuf, String> {
        let database = Database::parse(OsStr::new(text)).map_err(|error| error.to_string())?;
        let Database::Sqlite(path) = database;
        Ok(path)
    }

    #[test]
    fn a_bare_path_and_one_behind_its_scheme_are_a_sqlite_file() {
        for (text, path) in [
            ("rekey.db", "rekey.db"),
            ("/data/rekey.db", "/data/rekey.db"),
            ("sqlite:rekey.db", "rekey.db"),
            ("SQLite:/data/rekey.db", "/data/rekey.db"),
            ("./etcd:a", "./etcd:a"),
            ("a/b:c", "a/b:c"),
            ("2026:a", "2026:a"),
            (":memory:", ":memory:"),
        ] {
            assert_eq!(parsed(text), Ok(path.into()), "{text}");
        }
        // Also one that is no UTF-8.
        let odd = OsStr::from_bytes(b"sqlite:a\xff.db");
        let path = OsStr::from_bytes(b"a\xff.db").into();
        assert_eq!(Database::parse(odd), Ok(Database::Sqlite(path)));
    }

    #[test]
    fn another_scheme_is_refused_by_name_with_what_is_possible() {
        for (text, scheme) in [
            ("etcd:127.0.0.1:2379", "'etcd:'"),
            ("postgres://host/rekey", "'postgres:'"),
            ("file:rekey.db", "'file:'"),
            ("a+b-c.d:e", "'a+b-c.d:'"),
        ] {
            let told = parsed(text).unwrap_err();
            assert!(told.contains(scheme), "{text}: {told}");
            assert!(told.contains("sqlite:PATH"), "{text}: {told}");
        }
        for (text, part) in [
            ("sqlite:", "missing"),
            ("", "missing"),
            ("sqlite://a/b", "path"),
        ] {
            let told = parsed(text).unwrap_err();
            assert!(told.contains(part), "{text}: {told}");
        }
    }
}
