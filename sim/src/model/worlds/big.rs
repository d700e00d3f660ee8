//! Larger worlds, to be explored by hand.

use crate::model::state::Budget;
use crate::model::world::{BASE, World};

fn small(name: &str) -> World {
    World::named(name).unwrap_or(BASE)
}

pub(super) fn slow() -> Vec<World> {
    vec![
        World {
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
        World {
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
        World {
            name: "big-eviction",
            until: 2,
            budget: Budget {
                polls: 3,
                calls: 3,
                ..BASE.budget
            },
            ..small("eviction")
        },
        World {
            name: "big-gateways",
            budget: Budget {
                polls: 4,
                calls: 2,
                gateway_crashes: 1,
                ..BASE.budget
            },
            ..small("two-gateways")
        },
    ]
}

pub(super) fn starts() -> Vec<World> {
    vec![
        World {
            name: "big-unaccepted-restore",
            budget: Budget {
                store_crashes: 1,
                ..small("unaccepted-restore").budget
            },
            ..small("unaccepted-restore")
        },
        World {
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
        World {
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
