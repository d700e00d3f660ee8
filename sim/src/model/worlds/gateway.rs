//! Worlds of one gateway that stays up: its cache, its feeders, its calls.

use crate::model::state::Budget;
use crate::model::world::{BASE, World};

/// What is cached, and when.
pub(super) fn of_the_cache() -> Vec<World> {
    vec![
        World {
            name: "cold",
            about: "a gateway from its start on",
            warm: false,
            recovers: true,
            ..BASE
        },
        World {
            name: "fills",
            about: "late fills and shared calls of two workers",
            workers: 2,
            recovers: true,
            ..BASE
        },
        World {
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
        World {
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
        World {
            name: "unwritable",
            about: "tombstones that cannot be written",
            budget: Budget {
                unwritable: 1,
                calls: 1,
                ..BASE.budget
            },
            ..BASE
        },
        World {
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
        World {
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
    ]
}

/// Feeders, and calls that a generation ends under.
pub(super) fn of_the_feeders() -> Vec<World> {
    vec![
        World {
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
        World {
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
        World {
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
        World {
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
    ]
}
