//! What there is in a world of rotations: the store's disk, the requests of
//! clients with all their attempts, and what the gateways know.

use rekey_engine::attempts::Attempts;

/// Requests that a world can have.
pub const REQUESTS: usize = 5;
/// The place of the one by which it is tried whether anybody is locked out.
pub const PROBE: usize = REQUESTS - 1;
/// Attempts that a gateway makes for one of them at most.
pub const ATTEMPTS: usize = 3;
/// Gateways.
pub const GATEWAYS: usize = 2;
/// The user's first key, the new ones of the requests, and one that the operator
/// gives.
pub const KEYS: usize = REQUESTS + 2;
/// The place of the first key.
pub const OLD: usize = 0;
/// The place of the operator's.
pub const OPERATORS: usize = REQUESTS + 1;

/// The new key of a request.
pub fn new_key(request: usize) -> usize {
    request + 1
}

/// A world at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    /// What is on the store's disk.
    pub disk: Disk,
    /// The revision up to which all barriers are open: no gateway accepts what it
    /// revoked.
    pub open: u8,
    /// The requests, in the order of the world's plan.
    pub requests: [Request; REQUESTS],
    /// Whether a gateway has the old key's tombstone.
    pub buried: [bool; GATEWAYS],
    /// The gateway that the probe goes to.
    pub probed: usize,
    /// What may still go wrong.
    pub left: Left,
    /// What a client was told that it must not be told.
    pub broken: Broken,
}

/// How often the rest can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Left {
    /// Crashes of the store.
    pub crashes: u8,
    /// The operator replaces the user's key.
    pub operator: bool,
    /// A client uses a new key and half a minute goes by, or ten minutes do.
    pub expiry: bool,
    /// An hour goes by.
    pub hour: bool,
}

/// What must not have happened on the way to a state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Broken {
    /// Told a key that was not active when the store said so, or two different
    /// ones.
    pub wrong_key: bool,
    /// Told a key before its barrier was open (S7).
    pub too_early: bool,
    /// A thief was told a key.
    pub theft: bool,
    /// The client was told "revoked" while its record lives.
    pub turned_away: bool,
    /// Two rotations within an hour.
    pub twice: bool,
}

/// The store's disk: the database, and the records beside it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Disk {
    /// The counter of changes.
    pub revision: u8,
    /// The keys.
    pub keys: [Key; KEYS],
    /// Answers by rotation id, that is by request.
    pub recorded: [Option<Outcome>; REQUESTS],
    /// Sealed records by rotation id. What is here counts only together with a
    /// committed rotation.
    pub records: [Option<Record>; REQUESTS],
    /// Whether the hour since the last rotation is not over.
    pub limited: bool,
}

/// A key in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Key {
    /// Not there.
    None,
    /// The user's.
    Active,
    /// Dead since this revision, by the rotation of this request, or by the
    /// operator.
    Revoked(u8, Option<u8>),
}

/// An answer on record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Committed at this revision.
    Rotated(u8),
    /// Refused and burned: revoked at this revision.
    Revoked(u8),
    /// Refused and burned: too early.
    Limited,
}

/// A sealed record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Record {
    /// The Idempotency-Key that it is sealed with, beside the old key.
    pub sealed_for: u8,
    /// Failed openings.
    pub failures: u8,
    /// Whether its time is over.
    pub expired: bool,
}

/// A client's request for a new key, with the old one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Request {
    /// Where it is.
    pub phase: Phase,
    /// What its attempts may have done.
    pub course: Attempts,
    /// Its calls to the store.
    pub attempts: [Attempt; ATTEMPTS],
}

/// Where a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Not sent yet.
    Unsent,
    /// To be asked for, by the attempt of this number.
    Due(usize),
    /// Asked for, by the attempt of this number.
    Asked(usize),
    /// The client has gone.
    Left,
    /// Answered.
    Ended(End),
}

/// What a client is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum End {
    /// A new key.
    Key(usize),
    /// 401.
    Revoked,
    /// 429.
    Limited,
    /// 503: nothing happened.
    Unavailable,
    /// 503: nobody knows.
    Unconfirmed,
}

/// A call to the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Attempt {
    /// Not made.
    None,
    /// On its way.
    Sent,
    /// The store has answered, and the answer is on its way or waits for the
    /// barrier of this revision.
    Answered(Answer, u8),
    /// Lost, or answered and over.
    Over,
}

/// What the store answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Answer {
    /// The key of the request is active.
    Rotated,
    /// The old key is dead; with the rotation that a record belongs to.
    Revoked(Option<usize>),
    /// Too early.
    Limited,
}
