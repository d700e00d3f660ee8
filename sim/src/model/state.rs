//! What the model's world consists of at one moment: the store, the gateways,
//! the messages between them, and what clients have been told.
//!
//! Numbers are small: times are ticks, revisions and generations count from 1,
//! lives of the store and of gateways are numbered.

use rekey_store::feed::leases::{Leases, Registered};

use super::gateway::request::Arrival;
use super::gateway::slot::{Slot, View};

/// A key, by number.
pub type Key = u8;
/// A revision of the store.
pub type Revision = u8;
/// A time in ticks.
pub type Tick = u8;

/// Keys, gateways, feeders and workers of the largest world.
pub const MOST: usize = 2;

/// A point in the store's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cursor {
    /// The incarnation, by number.
    pub life: u8,
    /// The revision.
    pub revision: Revision,
}

/// The store's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Disk {
    /// When each key was revoked; 0: it is active.
    pub revoked: [Revision; MOST],
    /// The counter of changes.
    pub revision: Revision,
    /// Its incarnations: id, first and last revision; the present one has no
    /// last.
    pub lives: [Option<(u8, Revision, Option<Revision>)>; 4],
    /// The longest lease on record, in ticks.
    pub longest: Tick,
    /// Unknown cursors below it are of a history whose loss was accepted.
    pub accepted_before: Revision,
}

/// The store: file and process.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Store {
    /// What is on disk.
    pub disk: Disk,
    /// What its feed knows; behind the disk between commit and publication.
    pub head: Revision,
    /// Without S2: a key whose revocation the feed tells before it is on disk.
    pub early: Option<Key>,
    /// Whether a gateway was seen to know more than the file (S8).
    pub is_restored: bool,
    /// How far the file was, by the lock file, which no backup carries (S8).
    pub mark: Revision,
    /// The longest lease that was granted, by the lock file (S9).
    pub lease_beside: Tick,
    /// Whether the file is less far than that, and nobody has accepted it.
    pub is_behind: bool,
    /// Leases and barrier: the store's own code.
    pub leases: Leases,
    /// Lives begun so far, by any file.
    pub lives: u8,
    /// The highest revision ever used, by any file.
    pub highest: Revision,
    /// Without S10: a former owner that still answers polls, from this head.
    pub ghost: Option<Revision>,
}

/// The revocation of one key, as its client sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Rotation {
    /// The first call is still under way, in this life of the store.
    pub waits: bool,
    /// When it was committed, where the world measures that.
    pub since: Option<Tick>,
    /// The client has received a 200.
    pub told: bool,
}

/// A generation of a gateway's cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Generation {
    /// Its number.
    pub number: u8,
    /// The revision at which it began.
    pub began: Revision,
}

/// A moment by a gateway's clocks, in ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Moment {
    /// Monotonic.
    pub monotonic: Tick,
    /// Of the wall clock.
    pub wall: Tick,
}

impl Moment {
    /// The moment that is so far behind.
    pub fn before(self, now: Tick) -> Self {
        Self {
            monotonic: now.saturating_sub(self.monotonic),
            wall: now.saturating_sub(self.wall),
        }
    }

    /// Clocks that were behind by this are a tick less behind.
    pub fn catch_up(&mut self) {
        self.monotonic = self.monotonic.saturating_sub(1);
        self.wall = self.wall.saturating_sub(1);
    }

    /// Whether either clock has passed it: the clocks never go back.
    pub(super) fn is_over(self, now: Self) -> bool {
        self.monotonic <= now.monotonic || self.wall <= now.wall
    }
}

/// A gateway's control record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Control {
    /// The gateway's id.
    pub id: u8,
    /// The present generation.
    pub generation: Generation,
    /// Up to where all changes are written.
    pub applied: Option<Cursor>,
    /// Up to where they were in a generation that was ended; for the next poll.
    pub former: Option<Cursor>,
    /// When trust ends.
    pub deadline: Moment,
}

/// A poll as its feeder remembers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sent {
    /// Id, generation and cursor at sending.
    pub control: Control,
    /// When.
    pub at: Moment,
    /// The lease it asks for, in ticks.
    pub lease: Tick,
}

/// The store's answer to a poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Page {
    /// The keys revoked since, with their revisions; 0: not among them.
    pub revoked: [Revision; MOST],
    /// Up to where.
    pub upto: Cursor,
    /// Whether that is the head.
    pub is_head: bool,
    /// Whether a generation begins with it.
    pub is_reset: bool,
    /// The lease, in ticks.
    pub granted: Tick,
}

/// Where a poll is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// On its way to the store.
    Travelling,
    /// Without S3: the answer was read, the poll is not registered yet.
    ReadTooEarly(Page),
    /// Registered, its answer not read; and whether its cursor can be served.
    Held(Registered, bool),
}

/// A poll on the network.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Poll {
    /// The gateway that sent it.
    pub gateway: u8,
    /// Its feeder, if it still waits for the answer.
    pub feeder: Option<u8>,
    /// The id it bears.
    pub id: u8,
    /// Its cursor.
    pub cursor: Option<Cursor>,
    /// The lease it asks for, in ticks.
    pub lease: Tick,
    /// Where it is.
    pub stage: Stage,
}

/// How far a feeder is with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Work {
    /// The generation of its tombstones: control's when it began with them.
    pub generation: Option<Generation>,
    /// The tombstones that are still to be written; 0: none for this key.
    pub left: [Revision; MOST],
    /// Whether control is written.
    pub is_applied: bool,
}

/// What a feeder is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Feeder {
    /// Nothing.
    Idle,
    /// It has sent a poll.
    Waiting(Sent),
    /// It has an answer, and is at this place of its work.
    Applying(Sent, Page, Work),
}

/// What is owed to a request: why it must be refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Owed {
    /// It arrived after a client got the 200 (I2).
    pub told: bool,
    /// It arrived after this gateway had refused the key (I1).
    pub refused: bool,
}

impl Owed {
    /// Whether it must be refused at all.
    pub fn anything(self) -> bool {
        self.told || self.refused
    }

    /// What is owed to both together.
    pub fn and(self, other: Self) -> Self {
        Self {
            told: self.told || other.told,
            refused: self.refused || other.refused,
        }
    }
}

/// A request that has arrived and read control, but not its slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Request {
    /// Its key.
    pub key: Key,
    /// What is owed to it.
    pub owed: Owed,
    /// What it read of control.
    pub control: Arrival,
    /// Without G4: what it read of the slot before.
    pub early: Option<View>,
}

/// The store's answer to a resolve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Resolved {
    /// When the key was revoked; 0: it is active.
    pub revoked: Revision,
    /// The head of the snapshot.
    pub head: Cursor,
}

/// Where a call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    /// Waits for the root to send it.
    Queued,
    /// Sent.
    Sent,
    /// Without S1: the state was read, the revision was not.
    HalfRead(Revision),
    /// The answer is on its way, or there.
    Answered(Resolved),
    /// The gateway has compared it with control, which said this generation.
    Checked(Resolved, Generation),
}

/// A resolve of one worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Call {
    /// Of which key.
    pub key: Key,
    /// Where it is.
    pub step: Step,
    /// The generation it was sent in, if that had applied anything.
    pub generation: Option<Generation>,
    /// What is owed to those who came before it was sent.
    pub asker: Owed,
    /// One who joined later: what is owed to him, and what he had read of control.
    pub waiter: Option<(Owed, Arrival)>,
}

/// A gateway, or one namespace of a process.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Gateway {
    /// The control record.
    pub control: Control,
    /// The table.
    pub slots: [Slot; MOST],
    /// The feeders; any of them may be frozen at any moment.
    pub feeders: [Feeder; MOST],
    /// The calls of its workers.
    pub calls: [Option<Call>; MOST],
    /// A request between its two reads.
    pub request: Option<Request>,
    /// How far its clocks are behind the store's, in ticks.
    pub lag: Moment,
    /// The keys it has refused since they were revoked (I1).
    pub refused: [bool; MOST],
    /// Its restarts.
    pub life: u8,
}

/// How much of each disturbance is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Budget {
    /// Polls to be sent.
    pub polls: u8,
    /// Resolves to be sent.
    pub calls: u8,
    /// Polls that arrive twice.
    pub doubled: u8,
    /// Polls that arrive after their feeder has given up.
    pub late: u8,
    /// Tombstones that cannot be written.
    pub unwritable: u8,
    /// Restarts of gateways.
    pub gateway_crashes: u8,
    /// Restarts of the store.
    pub store_crashes: u8,
    /// Restores of the first backup.
    pub restores: u8,
}

/// What was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Broken {
    /// A request was accepted after this gateway had refused its key.
    pub i1: bool,
    /// A request was accepted after a client had the 200.
    pub i2: bool,
    /// A key that the store holds active was refused.
    pub lock_out: bool,
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    /// The store's clock.
    pub now: Tick,
    /// The store.
    pub store: Store,
    /// The revocations, by key.
    pub rotations: [Rotation; MOST],
    /// The gateways.
    pub gateways: [Gateway; MOST],
    /// Polls on the network, in order.
    pub polls: Vec<Poll>,
    /// What may still happen.
    pub budget: Budget,
    /// What went wrong.
    pub broken: Broken,
}

impl Rotation {
    /// Its client has the 200.
    pub const TOLD: Self = Self {
        waits: false,
        since: None,
        told: true,
    };
}

impl State {
    /// A poll arrives once more later; nobody waits for that answer.
    pub fn double(&mut self, poll: usize) {
        let mut double = self.polls[poll].clone();
        double.feeder = None;
        self.polls.push(double);
        self.budget.doubled -= 1;
    }

    /// A gateway's clocks.
    pub fn moment(&self, gateway: usize) -> Moment {
        self.gateways[gateway].lag.before(self.now)
    }
}
