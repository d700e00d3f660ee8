//! What there is in a world of several stores: etcd, what is on its way there, the
//! stores and the gateways.

use super::parties::etcd::{Beat, Data, Etcd, LINES, Revision, STORES};

/// A time in ticks.
pub type Tick = u8;

/// Gateways of the largest world.
pub const GATEWAYS: usize = 2;

/// A transaction that was sent. It may be carried out at any later moment, also when
/// its sender has given it up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transaction {
    /// Creates a line.
    Create(Beat, History),
    /// Beats the line that was created at this revision.
    Beat(Beat, Revision, History),
    /// Deletes a line that seemed to stand still at this revision.
    Condemn(usize, Revision, History),
    /// Deletes the sender's line, which was created at this revision.
    End(usize, Revision, History),
    /// Revokes the key; without R4 for this store, which has read these lines before.
    Rotate(usize, Lines, History),
    /// Reads the lines once more, with a write.
    Reread(usize, History),
}

/// The history that a transaction was made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct History(pub u8);

/// A set of lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Lines(pub [bool; LINES]);

impl Lines {
    /// Those that stand.
    pub fn of(data: &Data) -> Self {
        Self(data.lines.map(|line| line.is_some()))
    }
}

/// What a store does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// It has read nothing yet.
    New,
    /// It serves while it is in the fence.
    Running,
    /// It ends, or gives its line up: it grants nothing more.
    Ending,
    /// It has found another history.
    Halted,
}

/// A lease that a store has granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Held {
    /// What its gateway has acknowledged.
    pub acked: Revision,
    /// When it is over, with the margin, by the store's clock.
    pub until: Tick,
}

/// A rotation whose 200 is owed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Owed {
    /// Its revision.
    pub revision: Revision,
    /// The lines to wait for (R4).
    pub lines: Lines,
}

/// A line that a store has seen standing still.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Observed {
    /// Whose.
    pub slot: usize,
    /// At which revision.
    pub modified: Revision,
    /// Since when, by the observer's clock.
    pub since: Tick,
}

/// A store.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Store {
    /// What it does.
    pub phase: Phase,
    /// What its watch has shown so far.
    pub memory: Data,
    /// The end of the fence by its clock (R2); 0: it never was in it.
    pub fence: Tick,
    /// Leases by gateway.
    pub held: [Option<Held>; GATEWAYS],
    /// The number of its last beat.
    pub beats: u8,
    /// When that was sent, in worlds where all is prompt.
    pub beaten: Option<Tick>,
    /// What it owes a client.
    pub owed: Option<Owed>,
    /// The line that it observes.
    pub observed: Option<Observed>,
    /// Ticks that its clock is behind. It only grows: the clock is slow.
    pub lag: Tick,
    /// Without a part of R2: a revision that it believes to have seen.
    pub claimed: Revision,
    /// Without a part of R8: no 200 before.
    pub embargo: Tick,
}

/// A place in a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cursor {
    /// Which history.
    pub history: u8,
    /// Where in it.
    pub revision: Revision,
}

/// A poll on its way. An answer to it is heard at once or never, because a late one is
/// worth less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Poll {
    /// The store that is asked.
    pub store: usize,
    /// When it was sent, by the gateway's clock.
    pub sent: Tick,
}

/// A gateway.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Gateway {
    /// Up to where it has applied all changes.
    pub applied: Cursor,
    /// Whether its cache has the tombstone.
    pub knows: bool,
    /// Whether it ever had, and so has refused the key.
    pub has_refused: bool,
    /// When its trust ends, by its clock.
    pub deadline: Tick,
    /// The poll under way. A late answer to an earlier one is thrown away.
    pub poll: Option<Poll>,
    /// Ticks that its clock is behind.
    pub lag: Tick,
}

/// How often the rest can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Left {
    /// Polls of each gateway.
    pub polls: [u8; GATEWAYS],
    /// Beats of each store.
    pub beats: [u8; STORES],
    /// Lines that each store creates.
    pub joins: [u8; STORES],
    /// Rotations.
    pub rotations: u8,
    /// Answers to a rotation that are lost.
    pub lost: u8,
    /// Repeats by another store.
    pub repeats: u8,
    /// Planned stops.
    pub stops: u8,
    /// Watches that break and are opened again, or read everything again.
    pub broken_watches: u8,
    /// Restores of the first snapshot.
    pub restores: u8,
}

/// What must not have happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Broken {
    /// A gateway trusts a key that it has refused.
    pub i1: bool,
    /// A key was called active after the 200.
    pub i2: bool,
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    /// True time.
    pub now: Tick,
    /// The cluster.
    pub etcd: Etcd,
    /// What is on its way there, in order.
    pub sent: Vec<Transaction>,
    /// The stores.
    pub stores: [Store; STORES],
    /// The gateways.
    pub gateways: [Gateway; GATEWAYS],
    /// A client has the 200, in the present history.
    pub told: bool,
    /// When the key was revoked, in worlds where all is prompt.
    pub revoked_at: Option<Tick>,
    /// What may still happen.
    pub left: Left,
    /// What went wrong.
    pub broken: Broken,
}

impl State {
    /// A store's clock.
    pub fn clock(&self, store: usize) -> Tick {
        self.now.saturating_sub(self.stores[store].lag)
    }

    /// A gateway's clock.
    pub fn gateway_clock(&self, gateway: usize) -> Tick {
        self.now.saturating_sub(self.gateways[gateway].lag)
    }

    /// Whether a gateway trusts its cache now.
    pub fn trusts(&self, gateway: usize) -> bool {
        self.gateway_clock(gateway) < self.gateways[gateway].deadline
    }
}
