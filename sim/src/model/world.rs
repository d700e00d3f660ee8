//! The worlds that are explored: each a small fleet, what may happen in it and
//! how often.

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
    /// Whether answers are given at once, so that the barrier has a bound.
    pub prompt: bool,
    /// Whether recovery is tried from every state.
    pub recovers: bool,
}

const BASE: World = World {
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

    /// The small worlds, all of them explored by the tests.
    pub fn small() -> Vec<Self> {
        vec![
            Self {
                name: "cold",
                about: "a gateway from its start on",
                warm: false,
                recovers: true,
                ..BASE
            },
            Self {
                name: "fills",
                about: "late fills and shared calls of two workers",
                workers: 2,
                recovers: true,
                ..BASE
            },
            Self {
                name: "late-polls",
                about: "polls that are late, lost and doubled",
                budget: Budget {
                    polls: 3,
                    calls: 0,
                    late: 1,
                    doubled: 1,
                    ..BASE.budget
                },
                ..BASE
            },
            Self {
                name: "drift",
                about: "a gateway whose clocks are slow",
                drift: 1,
                until: 4,
                budget: Budget {
                    calls: 0,
                    ..BASE.budget
                },
                ..BASE
            },
            Self {
                name: "unwritable",
                about: "tombstones that cannot be written",
                budget: Budget {
                    unwritable: 1,
                    calls: 1,
                    ..BASE.budget
                },
                ..BASE
            },
            Self {
                name: "eviction",
                about: "two keys that push each other out of one slot",
                workers: 2,
                revocable: &[true, false],
                shared_slot: true,
                until: 1,
                budget: Budget {
                    polls: 2,
                    calls: 3,
                    ..BASE.budget
                },
                ..BASE
            },
            Self {
                name: "pages",
                about: "answers that hold one revocation each",
                revocable: &[true, true],
                page: 1,
                budget: Budget {
                    calls: 0,
                    ..BASE.budget
                },
                recovers: true,
                ..BASE
            },
            Self {
                name: "two-feeders",
                about: "a feeder that wakes after its successor has taken over",
                feeders: 2,
                restarted: true,
                until: 1,
                budget: Budget {
                    polls: 3,
                    calls: 1,
                    ..BASE.budget
                },
                ..BASE
            },
            Self {
                name: "frozen-feeder",
                about: "the same, and requests and calls that are as slow",
                feeders: 2,
                workers: 2,
                restarted: true,
                until: 0,
                budget: Budget {
                    polls: 2,
                    calls: 2,
                    ..BASE.budget
                },
                ..BASE
            },
            Self {
                name: "generations",
                about: "calls of two workers while a generation ends",
                workers: 2,
                restarted: true,
                until: 0,
                budget: Budget {
                    polls: 2,
                    calls: 3,
                    ..BASE.budget
                },
                ..BASE
            },
            Self {
                name: "evicted-generations",
                about: "the same, with evictions",
                workers: 2,
                revocable: &[true, false],
                shared_slot: true,
                until: 0,
                budget: Budget {
                    polls: 1,
                    calls: 3,
                    store_crashes: 1,
                    ..BASE.budget
                },
                ..BASE
            },
            Self {
                name: "gateway-restart",
                about: "a gateway crashes and starts again",
                budget: Budget {
                    polls: 3,
                    calls: 1,
                    gateway_crashes: 1,
                    ..BASE.budget
                },
                recovers: true,
                ..BASE
            },
            Self {
                name: "store-restart",
                about: "the store crashes and starts again",
                budget: Budget {
                    polls: 2,
                    calls: 1,
                    store_crashes: 1,
                    ..BASE.budget
                },
                recovers: true,
                ..BASE
            },
            Self {
                name: "restore",
                about: "an older backup is restored, and that is accepted",
                revocable: &[true, true],
                until: 2,
                budget: Budget {
                    polls: 2,
                    calls: 0,
                    restores: 1,
                    ..BASE.budget
                },
                backup_lease: 0,
                ..BASE
            },
            Self {
                name: "backup",
                about: "a backup that still knows the cursor of a gateway that has seen more",
                budget: Budget {
                    polls: 2,
                    calls: 1,
                    restores: 1,
                    ..BASE.budget
                },
                until: 2,
                backup_lease: 0,
                recovers: true,
                ..BASE
            },
            Self {
                name: "lease-lengths",
                about: "polls that ask for leases of different length",
                leases: &[1, 3],
                until: 4,
                budget: Budget {
                    calls: 0,
                    ..BASE.budget
                },
                ..BASE
            },
            Self {
                name: "two-leases",
                about: "the same, and the store restarts",
                leases: &[1, 3],
                until: 4,
                budget: Budget {
                    polls: 2,
                    calls: 0,
                    store_crashes: 1,
                    ..BASE.budget
                },
                ..BASE
            },
            Self {
                name: "two-gateways",
                about: "two gateways of one store",
                gateways: 2,
                budget: Budget {
                    polls: 3,
                    calls: 0,
                    ..BASE.budget
                },
                ..BASE
            },
            Self {
                name: "namespaces",
                about: "two configurations in one process",
                gateways: 2,
                one_process: true,
                budget: Budget {
                    polls: 2,
                    calls: 0,
                    gateway_crashes: 1,
                    ..BASE.budget
                },
                ..BASE
            },
            Self {
                name: "one-way",
                about: "polls arrive and answers do not: how long the barrier takes",
                until: 7,
                budget: Budget {
                    polls: 7,
                    calls: 0,
                    ..BASE.budget
                },
                prompt: true,
                ..BASE
            },
            Self {
                name: "suspended",
                about: "the machine is suspended: its monotonic clock stands still",
                suspends: true,
                budget: Budget {
                    polls: 2,
                    calls: 1,
                    ..BASE.budget
                },
                recovers: true,
                ..BASE
            },
            Self {
                name: "set-back",
                about: "the wall clock is set back",
                set_back: true,
                budget: Budget {
                    polls: 2,
                    calls: 1,
                    ..BASE.budget
                },
                ..BASE
            },
        ]
    }

    /// What the protocol does not promise: worlds in which an invariant, read
    /// more strictly than it is meant, breaks.
    pub fn limits() -> Vec<Self> {
        vec![
            Self {
                name: "refused-by-the-other-namespace",
                about: "one namespace has refused a key by the store's word, before the \
                        revocation is answered; the other still trusts its cache (I1 by process)",
                gateways: 2,
                one_process: true,
                process_wide: true,
                budget: Budget {
                    polls: 1,
                    calls: 1,
                    ..BASE.budget
                },
                ..BASE
            },
            Self {
                name: "unnoticed-restore",
                about: "a backup from before the first lease on record is started without \
                        --accept-restore, and no gateway polls in time to show it (I2)",
                revocable: &[true, true],
                budget: Budget {
                    polls: 1,
                    calls: 0,
                    restores: 1,
                    ..BASE.budget
                },
                backup_lease: 0,
                unaccepted: true,
                ..BASE
            },
        ]
    }

    /// Larger worlds, to be explored by hand.
    pub fn big() -> Vec<Self> {
        let small = |name: &str| Self::named(name).unwrap_or(BASE);
        vec![
            Self {
                name: "big-fills",
                until: 4,
                drift: 1,
                budget: Budget {
                    polls: 4,
                    calls: 3,
                    late: 1,
                    ..BASE.budget
                },
                recovers: false,
                ..small("fills")
            },
            Self {
                name: "big-feeders",
                until: 3,
                budget: Budget {
                    polls: 4,
                    calls: 2,
                    store_crashes: 1,
                    ..BASE.budget
                },
                ..small("two-feeders")
            },
            Self {
                name: "big-eviction",
                until: 2,
                budget: Budget {
                    polls: 3,
                    calls: 3,
                    ..BASE.budget
                },
                ..small("eviction")
            },
            Self {
                name: "big-gateways",
                budget: Budget {
                    polls: 4,
                    calls: 2,
                    gateway_crashes: 1,
                    ..BASE.budget
                },
                ..small("two-gateways")
            },
            Self {
                name: "big-restart",
                drift: 1,
                budget: Budget {
                    polls: 3,
                    calls: 2,
                    store_crashes: 2,
                    late: 1,
                    ..BASE.budget
                },
                recovers: false,
                ..small("store-restart")
            },
            Self {
                name: "big-restore",
                budget: Budget {
                    polls: 3,
                    calls: 2,
                    restores: 1,
                    store_crashes: 1,
                    ..BASE.budget
                },
                recovers: false,
                ..small("restore")
            },
        ]
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
