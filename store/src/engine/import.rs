//! What an import asks of an engine before its rows go in.

use rekey_protocol::{ResolvedState, UserId};

use super::rows::ImportedRow;
use super::{Engine, ReadError, WriteError};
use crate::api::BadRow;

/// An engine that takes imports.
pub trait Importing: Engine {
    /// Where the rows wait.
    type Staging: Staging;

    /// An empty place for rows. Blocks.
    fn stage(&self) -> Result<Self::Staging, ImportError>;

    /// What may still be written where the data is; `None`: nobody knows.
    fn free_bytes(&self) -> Option<u64>;
}

/// Rows of an import before they go into the data: as many as anybody sends, in no
/// order. All of it blocks.
pub trait Staging: Send + 'static {
    /// How many rows there are, good and bad.
    fn rows(&self) -> u64;
    /// Takes a row that is good by itself.
    fn add(&mut self, line: u64, row: &ImportedRow) -> Result<(), ImportError>;
    /// Notes a row that is bad by itself.
    fn add_bad(&mut self, line: u64, reason: &str) -> Result<(), ImportError>;
    /// Compares the rows with each other and with what counts in the data; returns
    /// how many lines are bad.
    fn check(&mut self) -> Result<u64, ImportError>;
    /// At most `limit` good rows after this user, in the order of the users.
    fn rows_after(
        &self,
        user: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<ImportedRow>, ImportError>;
    /// Every bad row, in the order of the lines, one reason each; ends early
    /// where `take` says `false`.
    fn bad_rows(&self, take: impl FnMut(BadRow) -> bool) -> Result<(), ImportError>;
}

/// Why a row cannot be put in beside the other rows and what counts in the data. Every
/// engine says it in these words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RowFault {
    /// An earlier row has it.
    #[error("the same key as in line {first}")]
    SameKey {
        /// That row's line.
        first: u64,
    },
    /// An earlier row has it (I3).
    #[error("the same user as in line {first}, and a user has one active key")]
    SameUser {
        /// That row's line.
        first: u64,
    },
    /// An earlier row has it.
    #[error("the same e-mail address as in line {first}")]
    SameEmail {
        /// That row's line.
        first: u64,
    },
    /// Active or revoked.
    #[error("the store knows this key already ({})", state_name(*.0))]
    KnownKey(ResolvedState),
    /// The id may not stand for somebody else.
    #[error("a user with this id was removed; ids are not used again")]
    RemovedUser,
    /// Another one than the row's (I3).
    #[error("the user has an active key already")]
    HasKey,
    /// However it is spelled.
    #[error("another user has this e-mail address")]
    TakenEmail,
    /// An import changes no user.
    #[error("the user exists, with another e-mail address or none; leave the column empty")]
    OtherEmail,
}

fn state_name(state: ResolvedState) -> &'static str {
    match state {
        ResolvedState::Active => "active",
        ResolvedState::Revoked => "revoked",
    }
}

/// What an import leaves of the disk, in MiB: rotations go on, and an import that is
/// given up can be removed, which needs room, too.
pub const RESERVE_MIB: u64 = 64;

/// Why there was no import. The store's fault; only after [`WriteError::Unknown`]
/// may it have happened.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// One at a time.
    #[error(
        "another import is under way, or the rows of one that was given up are being removed; nothing was imported, try again later"
    )]
    Running,
    /// The rows could not be staged or checked.
    #[error("the store could not stage the rows; nothing was imported; its log says why")]
    Failed,
    /// A row could not be put in, and then all could.
    #[error("users or keys were changed at the same time; nothing was imported, try again")]
    Changed,
    /// It would take the room that rotations and its own removal need.
    #[error(
        "the import needs some {needed_mib} MiB on the store's disk, of which {RESERVE_MIB} MiB have to stay free, and {free_mib} MiB are free; nothing was imported; make room and try again"
    )]
    NoRoom {
        /// For the rows that are not in yet, and what has to stay free.
        needed_mib: u64,
        /// What there is.
        free_mib: u64,
    },
    /// It was the writer's turn.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The database could not be read; nothing was imported.
    #[error(transparent)]
    Read(#[from] ReadError),
}
