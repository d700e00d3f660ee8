//! The worlds that are explored. Each has the troubles that some rules are there for.

use super::parties::etcd::LOST;
use super::state::Left;
use super::world::{BASE, Goal, Restore, World};

impl World {
    /// The small worlds, all of them explored by the tests.
    pub fn small() -> Vec<Self> {
        [of_lines(), of_joining(), of_reads(), of_histories()].concat()
    }

    /// What is not promised: worlds that break.
    pub fn limits() -> Vec<Self> {
        let unnoticed = World {
            name: "unnoticed-restore",
            about: "a store of the lost history writes before the restore is accepted",
            restore: Restore::Repeated,
            running: &[0],
            joining: &[2],
            rotates: &[2],
            observes: &[2],
            until: 2,
            left: Left {
                beats: [2, 0, 0],
                restores: 1,
                ..BASE.left
            },
            ..BASE
        };
        let higher = World {
            name: "unnoticed-higher",
            about: "the same, and the restored cluster begins with higher revisions",
            restore: Restore::Higher,
            ..unnoticed.clone()
        };
        vec![unnoticed, higher]
    }

    /// Larger worlds, to be explored by hand.
    pub fn big() -> Vec<Self> {
        let beats = World {
            name: "big-beats",
            until: 4,
            left: Left {
                polls: [2, 0],
                beats: [2, 1, 0],
                ..BASE.left
            },
            ..small("beats")
        };
        let clocks = World {
            name: "big-clocks",
            until: 6,
            left: Left {
                polls: [2, 0],
                beats: [1, 0, 0],
                ..BASE.left
            },
            ..small("clocks")
        };
        let moving = World {
            name: "big-moving",
            left: Left {
                polls: [3, 0],
                beats: [1, 1, 0],
                ..BASE.left
            },
            ..small("moving")
        };
        let joining = World {
            name: "big-joining",
            running: &[0, 1],
            follows: &[0, 2],
            stale: false,
            left: Left {
                polls: [1, 0],
                beats: [1, 0, 1],
                lost: 0,
                repeats: 0,
                ..small("joining").left
            },
            ..small("joining")
        };
        let restored = World {
            name: "big-restored",
            left: Left {
                beats: [1, 0, 0],
                joins: [0, 1, 1],
                ..small("restored-cursors").left
            },
            joining: &[1, 2],
            until: 3,
            ..small("restored-cursors")
        };
        vec![beats, clocks, moving, joining, restored]
    }
}

fn small(name: &str) -> World {
    World::named(name).unwrap_or(BASE)
}

/// Lines, fences and verdicts.
fn of_lines() -> Vec<World> {
    vec![
        World {
            name: "beats",
            about: "beats and verdicts that are late",
            until: 3,
            left: Left {
                polls: [2, 0],
                beats: [2, 0, 0],
                ..BASE.left
            },
            goals: &[Goal::ToldByAll, Goal::ToldWithoutTheDead],
            ..BASE
        },
        World {
            name: "clocks",
            about: "clocks that are slower than others",
            ttl: 3,
            drift: 1,
            until: 5,
            left: Left {
                polls: [1, 0],
                beats: [1, 0, 0],
                ..BASE.left
            },
            ..BASE
        },
        World {
            name: "moving",
            about: "a gateway that moves between the stores",
            follows: &[0, 1],
            until: 3,
            left: Left {
                polls: [2, 0],
                beats: [1, 0, 0],
                ..BASE.left
            },
            goals: &[Goal::Told, Goal::Moved],
            ..BASE
        },
        World {
            name: "planned-stop",
            about: "a store that stops as planned",
            left: Left {
                stops: 1,
                beats: [1, 0, 0],
                ..BASE.left
            },
            goals: &[Goal::Told, Goal::Stopped],
            ..BASE
        },
        World {
            name: "silent-watch",
            about: "beats that are answered while the watch is silent: how long a rotation takes",
            silent: Some(0),
            prompt: true,
            until: 8,
            left: Left {
                polls: [0, 0],
                beats: [8, 8, 0],
                ..BASE.left
            },
            goals: &[Goal::Told, Goal::ToldWithoutTheDead],
            ..BASE
        },
    ]
}

/// Stores that join.
fn of_joining() -> Vec<World> {
    vec![
        World {
            name: "joining",
            about: "a store joins by stale reads while a key is revoked",
            stale: true,
            running: &[1],
            joining: &[2],
            follows: &[2],
            observes: &[],
            until: 3,
            left: Left {
                beats: [0, 0, 1],
                joins: [0, 0, 1],
                lost: 1,
                repeats: 1,
                ..BASE.left
            },
            goals: &[Goal::ToldByAll, Goal::Joined],
            ..BASE
        },
        World {
            name: "joining-again",
            about: "a store whose line is gone joins again",
            left: Left {
                joins: [1, 0, 0],
                beats: [1, 0, 0],
                ..BASE.left
            },
            goals: &[Goal::Told, Goal::ToldWithoutTheDead],
            ..BASE
        },
    ]
}

/// Reads that are stale, watches that break.
fn of_reads() -> Vec<World> {
    vec![World {
        name: "stale-reads",
        about: "watches that begin again, and plain reads that are stale",
        stale: true,
        until: 2,
        observes: &[],
        left: Left {
            polls: [1, 0],
            beats: [2, 0, 0],
            broken_watches: 1,
            ..BASE.left
        },
        ..BASE
    }]
}

/// Restored clusters. The third store is begun on the restored one.
fn of_histories() -> Vec<World> {
    let base = World {
        running: &[0],
        joining: &[2],
        rotates: &[2],
        observes: &[2],
        observed: &[LOST],
        until: 2,
        left: Left {
            polls: [1, 0],
            beats: [1, 0, 0],
            restores: 1,
            ..BASE.left
        },
        ..BASE
    };
    vec![
        World {
            name: "restored",
            about: "an older snapshot is restored, and that is accepted",
            until: 3,
            ..base.clone()
        },
        World {
            name: "restored-cursors",
            about: "the same, and a gateway goes on at a store of the new history",
            follows: &[0, 2],
            left: Left {
                polls: [2, 0],
                beats: [0, 0, 0],
                joins: [0, 0, 1],
                ..base.left
            },
            ahead: 2,
            ..base.clone()
        },
        World {
            name: "restored-joining",
            about: "the same while a store joins",
            joining: &[1, 2],
            left: Left {
                polls: [0, 0],
                beats: [0, 0, 0],
                joins: [0, 1, 0],
                ..base.left
            },
            ahead: 2,
            ..base.clone()
        },
        World {
            name: "restored-and-rotated",
            about: "another store than the one that accepts gives the 200",
            joining: &[1, 2],
            rotates: &[2],
            left: Left {
                polls: [0, 0],
                ..base.left
            },
            ..base
        },
    ]
}
