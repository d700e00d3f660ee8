//! The worlds that are explored. Several small ones, each with the troubles that
//! some rules are there for, see more than a large one that has them all.

use super::state::Budget;
use super::world::{BASE, World};

impl World {
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
                name: "restored-and-restarted",
                about: "the same, and the store restarts soon after",
                revocable: &[true, true],
                until: 2,
                budget: Budget {
                    polls: 1,
                    calls: 0,
                    restores: 1,
                    store_crashes: 1,
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
                name: "unaccepted-restore",
                about: "a backup is started without --accept-restore, and gateways start, too",
                revocable: &[true, false],
                until: 2,
                budget: Budget {
                    polls: 1,
                    calls: 1,
                    gateway_crashes: 1,
                    restores: 1,
                    ..BASE.budget
                },
                backup_lease: 0,
                unaccepted: true,
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
                about: "a backup is started without its lock file and without --accept-restore, \
                        and no gateway polls in time to show it (I2)",
                revocable: &[true, true],
                budget: Budget {
                    polls: 1,
                    calls: 0,
                    restores: 1,
                    ..BASE.budget
                },
                backup_lease: 0,
                unaccepted: true,
                lock_is_lost: true,
                ..BASE
            },
        ]
    }

    /// Larger worlds, to be explored by hand.
    pub fn big() -> Vec<Self> {
        let small = |name: &str| Self::named(name).unwrap_or(BASE);
        vec![
            Self {
                name: "big-unaccepted-restore",
                budget: Budget {
                    store_crashes: 1,
                    ..small("unaccepted-restore").budget
                },
                ..small("unaccepted-restore")
            },
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
}
