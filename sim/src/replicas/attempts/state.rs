//! What there is in a world of attempts: the user's keys and the ids in etcd, the
//! requests of clients, and all that is on its way.

/// Requests of the largest world.
pub const REQUESTS: usize = 2;
/// The user's first key, and the new key of each request.
pub const KEYS: usize = REQUESTS + 1;
/// The place of the first key.
pub const OLD: usize = 0;

/// The new key of a request.
pub fn new_key(request: usize) -> usize {
    request + 1
}

/// How often a key is there for: a value of the tick key (R6).
pub type Age = u8;

/// What etcd knows of a rotation id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Id {
    /// Nothing.
    Absent,
    /// Its rotation was carried out, when the tick key said so.
    Used(Age),
    /// It is burned, likewise.
    Burned(Age),
}

/// What is in etcd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Records {
    /// The tick key.
    pub tick: Age,
    /// How often the user's record was written.
    pub user: u8,
    /// Which of the user's keys are active.
    pub active: [bool; KEYS],
    /// The ids, one for each request.
    pub ids: [Id; REQUESTS],
}

/// What a client is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum End {
    /// It has a new key.
    Rotated,
    /// Its request has changed nothing, and never will.
    Nothing,
    /// Nobody knows.
    Unknown,
}

/// A client's request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Not sent.
    Unsent,
    /// Under way.
    Open,
    /// Answered.
    Ended(End),
}

/// A request to rotate, with its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Request {
    /// Where it is.
    pub phase: Phase,
    /// What the tick key said when its id was drawn.
    pub born: Age,
    /// Attempts that its gateway may still make.
    pub attempts: u8,
}

/// What a store wants of etcd for an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Wish {
    /// To rotate.
    Rotate,
    /// To burn the id.
    Burn,
}

/// A transaction that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Write {
    /// For which request.
    pub request: usize,
    /// What it does.
    pub wish: Wish,
    /// How often the user's record had been written when it was read.
    pub user: u8,
    /// What the tick key has to say.
    pub tick: Age,
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    /// What is in etcd.
    pub records: Records,
    /// The requests.
    pub requests: [Request; REQUESTS],
    /// Attempts on their way from a gateway to a store, by request. They may come at any
    /// time, also when the client was answered.
    pub calls: Vec<usize>,
    /// Transactions on their way to etcd.
    pub sent: Vec<Write>,
    /// Which rotations were ever carried out.
    pub made: [bool; REQUESTS],
    /// Ticks still to come.
    pub ticks: u8,
}
