//! Worlds in which a gateway or the store starts again, also on a backup.

use crate::model::state::Budget;
use crate::model::world::{BASE, World};

/// A process crashes.
pub(super) fn crashes() -> Vec<World> {
    vec![
        World {
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
        World {
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
    ]
}

/// The store starts on a backup.
pub(super) fn restores() -> Vec<World> {
    vec![
        World {
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
        World {
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
        World {
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
        World {
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
    ]
}
