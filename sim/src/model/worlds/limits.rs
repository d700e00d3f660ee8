//! What is not promised, as worlds that break.

use crate::model::state::Budget;
use crate::model::world::{BASE, World};

pub(super) fn limits() -> Vec<World> {
    vec![
        World {
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
        World {
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
