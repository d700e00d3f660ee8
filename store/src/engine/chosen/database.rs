//! Where the data is: what `--database` says.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

#[cfg(feature = "etcd")]
use crate::engine::etcd;

/// Where the data is, and so which engine keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Database {
    /// In this file.
    Sqlite(PathBuf),
    /// In etcd.
    #[cfg(feature = "etcd")]
    Etcd(Box<etcd::address::Address>),
}

/// Where the data is, and what is needed to reach it.
#[derive(Debug, Clone)]
pub struct Location {
    /// Which database.
    pub database: Database,
    /// For etcd only.
    #[cfg(feature = "etcd")]
    pub etcd: etcd::Access,
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
        match &*bytes[..end].to_ascii_lowercase() {
            b"sqlite" if rest.as_bytes().starts_with(b"//") => Err(BadDatabase::Url),
            b"sqlite" => Self::in_file(rest),
            #[cfg(feature = "etcd")]
            b"etcd" | b"etcds" => Ok(Self::Etcd(Box::new(text.to_string_lossy().parse()?))),
            scheme => Err(BadDatabase::OtherScheme(
                String::from_utf8_lossy(scheme).into_owned(),
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
            #[cfg(feature = "etcd")]
            Self::Etcd(address) => address.fmt(out),
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
    /// Of etcd, but no address.
    #[cfg(feature = "etcd")]
    #[error("no address of etcd: {0}")]
    Etcd(#[from] etcd::address::BadAddress),
    /// Two slashes begin the name of a machine in a URL, and a path too.
    #[error("after 'sqlite:' comes a path, with one '/' at the most in front")]
    Url,
    /// None.
    #[error("the path of the SQLite file is missing")]
    NoPath,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<PathBuf, String> {
        let database = Database::parse(OsStr::new(text)).map_err(|error| error.to_string())?;
        match database {
            Database::Sqlite(path) => Ok(path),
            #[cfg(feature = "etcd")]
            Database::Etcd(address) => panic!("{address}"),
        }
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
            #[cfg(not(feature = "etcd"))]
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
