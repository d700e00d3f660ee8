//! What a restore would lose of the database that is there.

use std::path::Path;

use rusqlite::Connection;

use super::restore::marked;
use crate::engine::sqlite::backup::{Contents, reading};
use crate::engine::sqlite::open::OpenError;

/// What is lost by a restore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loss {
    /// There is no database yet.
    Nothing,
    /// The database there is a later state of the backup.
    Later(Box<Later>),
    /// All of it: the backup is of another history.
    All(Box<Contents>),
    /// The database there cannot be read.
    Unreadable(String),
}

/// What has happened since a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Later {
    /// The database that is there.
    pub contents: Contents,
    /// Keys that were replaced or revoked, and are valid again.
    pub revived: u64,
    /// Keys that were made or imported, and are unknown again.
    pub forgotten: u64,
    /// Passwords that were set or changed, and are the old ones again.
    pub passwords: u64,
}

/// Compares the backup with the database that is there.
pub(crate) fn loss(database: &Path, backup: &Contents) -> Loss {
    // It may have been moved away by a restore that was broken off.
    let there = marked(database).unwrap_or_else(|| database.to_owned());
    if !there.exists() {
        return Loss::Nothing;
    }
    let read = reading(&there).and_then(|connection| Ok(compared(&connection, &there, backup)?));
    match read {
        Ok(loss) => loss,
        // Somebody has begun a store here and made no user yet.
        Err(OpenError::Empty) => Loss::Nothing,
        Err(error) => Loss::Unreadable(error.to_string()),
    }
}

fn compared(there: &Connection, file: &Path, backup: &Contents) -> rusqlite::Result<Loss> {
    let contents = Contents::of(there, file)?;
    let knows = "SELECT 1 FROM incarnations WHERE id = ?1";
    let is_later = match backup.incarnation {
        Some(incarnation) => there.prepare(knows)?.exists([incarnation.0])?,
        None => false,
    };
    if !is_later || contents.revision < backup.revision {
        return Ok(Loss::All(Box::new(contents)));
    }
    // Not those that were made since: the backup does not know them.
    let revived = "SELECT count(*) FROM keys k WHERE revision > ?1 AND state = 'revoked'
                   AND NOT EXISTS (SELECT 1 FROM audit a WHERE a.user_id = k.user_id
                                   AND a.id > ?2 AND a.new_digest = k.digest)";
    let since = |which| {
        let count = format!("SELECT count(*) FROM audit WHERE id > ?1 AND {which}");
        there.query_row(&count, [backup.last_event], |row| row.get(0))
    };
    Ok(Loss::Later(Box::new(Later {
        revived: there.query_row(revived, (backup.revision, backup.last_event), |row| {
            row.get(0)
        })?,
        forgotten: since("new_digest IS NOT NULL")?,
        passwords: since("action IN ('password_set', 'password_changed')")?,
        contents,
    })))
}
