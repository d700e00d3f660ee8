//! What is noted about a record after it was made. Where another program holds a
//! lock on the file, notes wait in memory, and count there already (X4): nobody
//! who waits for the database waits for that program.

use rekey_protocol::{Digest, RotationId};
use rusqlite::Connection;

use super::Found;
use crate::clock::UnixMillis;

/// Notes that wait (I8): more than come in a minute of the worst day.
const MOST: usize = 8192;

/// Something that happened to a record.
#[derive(Debug, Clone, Copy)]
pub(super) enum Note {
    /// An opening failed.
    Failed(RotationId),
    /// The last one did: the record is of no use any more.
    Destroyed(RotationId),
    /// It was handed out.
    HandedOut(RotationId),
    /// A client has used the new key.
    Used(Digest, UnixMillis),
    /// The new key was revoked.
    Revoked(Digest),
}

impl Note {
    /// Writes it down.
    pub(super) fn write(&self, records: &Connection) -> rusqlite::Result<()> {
        let run = |sql, key: &[u8]| records.prepare_cached(sql)?.execute([key]).map(drop);
        match self {
            Self::Failed(id) => run(
                "UPDATE records SET failures = failures + 1 WHERE rotation_id = ?1",
                &id.0,
            ),
            Self::Destroyed(id) => run("DELETE FROM records WHERE rotation_id = ?1", &id.0),
            Self::HandedOut(id) => run(
                "UPDATE records SET handed_out = handed_out + 1 WHERE rotation_id = ?1",
                &id.0,
            ),
            Self::Used(digest, at) => records
                .prepare_cached(
                    "UPDATE records SET used_ms = ?2 WHERE new_digest = ?1 AND used_ms IS NULL",
                )?
                .execute((digest.as_bytes(), at.0))
                .map(drop),
            Self::Revoked(digest) => run(
                "DELETE FROM records WHERE new_digest = ?1",
                digest.as_bytes(),
            ),
        }
    }
}

/// Notes that are not written down yet, in their order.
#[derive(Debug, Default)]
pub(super) struct Notes {
    notes: Vec<Note>,
    /// Some had no room. Until all is written down, no record is handed out.
    has_lost: bool,
}

impl Notes {
    /// Takes one more.
    pub(super) fn push(&mut self, note: Note) {
        match self.notes.len() < MOST {
            true => self.notes.push(note),
            false => self.has_lost = true,
        }
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.notes.is_empty()
    }

    /// Takes them all, to be written down.
    pub(super) fn take(&mut self) -> Vec<Note> {
        self.has_lost = false;
        std::mem::take(&mut self.notes)
    }

    /// The record as it is with them; none if it is of no use any more.
    pub(super) fn applied(&self, id: RotationId, mut found: Found) -> Option<Found> {
        if self.has_lost {
            return None;
        }
        for note in &self.notes {
            match note {
                Note::Failed(of) if *of == id => found.failures += 1,
                Note::HandedOut(of) if *of == id => found.handed_out += 1,
                Note::Used(key, at) if *key == found.new_digest => {
                    found.used = found.used.or(Some(*at));
                }
                Note::Destroyed(of) if *of == id => return None,
                Note::Revoked(key) if *key == found.new_digest => return None,
                _ => {}
            }
        }
        Some(found)
    }
}
