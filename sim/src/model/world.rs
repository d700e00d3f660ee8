//! A world: a small fleet, what may happen in it and how often.

use super::rules::Rules;
use super::state::{Budget, Tick};

/// A fleet and its troubles.
#[derive(Debug, Clone)]
pub struct World {
    /// Its name.
    pub name: &'static str,
    /// What it is for.
    pub about: &'static str,
    /// The rules that hold.
    pub rules: Rules,
    /// Gateways, or namespaces of one process.
    pub gateways: usize,
    /// Whether the gateways are namespaces of one process.
    pub one_process: bool,
    /// Feeders of each gateway that may be at work at once.
    pub feeders: usize,
    /// Workers of each gateway.
    pub workers: usize,
    /// Which keys may be revoked; the length says how many there are.
    pub revocable: &'static [bool],
    /// Whether the keys share one slot.
    pub shared_slot: bool,
    /// Whether a refusal by one gateway binds the others: I1 by process where
    /// the gateways are namespaces. It does not hold (see [`Self::limits`]).
    pub process_wide: bool,
    /// Records in a slot.
    pub ways: usize,
    /// The leases that a poll may ask for, in ticks.
    pub leases: &'static [Tick],
    /// Revocations in one answer.
    pub page: u8,
    /// How long it goes on.
    pub until: Tick,
    /// How far the gateways' clocks may fall behind within it.
    pub drift: Tick,
    /// Whether the gateways' monotonic clocks may stand still.
    pub suspends: bool,
    /// Whether the gateways' wall clocks may be set back.
    pub set_back: bool,
    /// Whether it begins with gateways that follow and have cached the keys.
    pub warm: bool,
    /// Whether the store has been restarted since, and all leases are over.
    pub restarted: bool,
    /// How often things happen.
    pub budget: Budget,
    /// The longest lease on record in the backup.
    pub backup_lease: Tick,
    /// Whether a restored backup may be started without being accepted.
    pub unaccepted: bool,
    /// Whether the lock file does not survive a restore.
    pub lock_is_lost: bool,
    /// Whether answers are given at once, so that the barrier has a bound.
    pub prompt: bool,
    /// Whether recovery is tried from every state.
    pub recovers: bool,
}

/// What worlds have in common unless they say otherwise.
pub const BASE: World = World {
    name: "",
    about: "",
    rules: Rules::ALL,
    gateways: 1,
    one_process: false,
    feeders: 1,
    workers: 1,
    revocable: &[true],
    shared_slot: false,
    process_wide: false,
    ways: 1,
    leases: &[1],
    page: 9,
    until: 3,
    drift: 0,
    suspends: false,
    set_back: false,
    warm: true,
    restarted: false,
    budget: Budget {
        polls: 3,
        calls: 2,
        doubled: 0,
        late: 0,
        unwritable: 0,
        gateway_crashes: 0,
        store_crashes: 0,
        restores: 0,
    },
    backup_lease: 1,
    unaccepted: false,
    lock_is_lost: false,
    prompt: false,
    recovers: false,
};

impl World {
    /// Longest lease of this world, in ticks: its cap.
    pub fn cap(&self) -> Tick {
        self.leases.iter().copied().max().unwrap_or(1)
    }

    /// The slot of a key.
    pub fn slot_of(&self, key: u8) -> usize {
        if self.shared_slot {
            0
        } else {
            usize::from(key)
        }
    }

    /// The world of this name.
    pub fn named(name: &str) -> Option<Self> {
        let mut worlds = Self::small().into_iter().chain(Self::limits());
        worlds.find(|world| world.name == name)
    }

    /// The same world with other rules.
    pub fn with(self, rules: Rules) -> Self {
        Self { rules, ..self }
    }
}
