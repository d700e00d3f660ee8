//! Worlds of several leases, gateways or configurations, and of clocks that go wrong.

use crate::model::state::Budget;
use crate::model::world::{BASE, World};

/// Leases of several lengths and holders.
pub(super) fn of_leases() -> Vec<World> {
    vec![
        World {
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
        World {
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
        World {
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
        World {
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
    ]
}

/// A network or a clock that works one way only.
pub(super) fn of_bad_ways() -> Vec<World> {
    vec![
        World {
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
        World {
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
        World {
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
