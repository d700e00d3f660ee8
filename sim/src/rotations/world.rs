//! A world of rotations: who asks for what, and what may go wrong.

use rekey_engine::attempts::Attempts;

use super::rules::Rules;
use super::state::{
    ATTEMPTS, Attempt, Broken, Disk, GATEWAYS, KEYS, Key, Left, OLD, Phase, REQUESTS, Record,
    Request, State,
};
use super::store::MOST_FAILURES;

/// Who sends a request, always with the old key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// The client whose key it is, with this Idempotency-Key.
    Client(Option<u8>),
    /// Whoever has found the old key after it was replaced.
    Thief(Option<u8>),
}

impl Who {
    /// What the request bears.
    pub fn idempotency_key(self) -> Option<u8> {
        match self {
            Self::Client(key) | Self::Thief(key) => key,
        }
    }
}

/// Requests and troubles.
#[derive(Debug, Clone)]
pub struct World {
    /// Its name.
    pub name: &'static str,
    /// The rules that hold.
    pub rules: Rules,
    /// Who sends which request, and to which gateway.
    pub requests: &'static [(Who, usize)],
    /// Whether all of them may be under way at once; else a client sends the
    /// next when it has given the last one up.
    pub at_once: bool,
    /// Whether a call may be refused by the gateway itself, or by the store
    /// before it has begun.
    pub refuses: bool,
    /// Attempts that a gateway makes for a request.
    pub attempts: usize,
    /// Whether the user's hour is not over at the beginning.
    pub limited: bool,
    /// Failed openings that a record begins with, to come to its end sooner.
    pub guessed: u8,
    /// What else may happen.
    pub left: Left,
}

/// The client, with its Idempotency-Key.
pub const OURS: Who = Who::Client(Some(1));

const QUIET: Left = Left {
    crashes: 0,
    operator: false,
    expiry: false,
    hour: false,
};

const fn world(name: &'static str, requests: &'static [(Who, usize)], left: Left) -> World {
    World {
        name,
        rules: Rules::ALL,
        requests,
        at_once: false,
        refuses: false,
        attempts: 2,
        limited: false,
        guessed: 0,
        left,
    }
}

/// Another Idempotency-Key.
const ANOTHER: u8 = 2;
const BARE: Who = Who::Client(None);

impl World {
    /// All of them.
    pub fn all() -> Vec<Self> {
        let restarts = Left {
            crashes: 2,
            ..QUIET
        };
        let changes = Left {
            operator: true,
            expiry: true,
            hour: true,
            ..QUIET
        };
        vec![
            world("lost-answers", &[(OURS, 0), (OURS, 1)], restarts),
            World {
                refuses: true,
                ..world("unsent", &[(OURS, 0), (OURS, 1)], QUIET)
            },
            World {
                at_once: true,
                ..world("race", &[(OURS, 0), (OURS, 1)], restarts)
            },
            World {
                at_once: true,
                ..world(
                    "two-programs",
                    &[(OURS, 0), (Who::Client(Some(ANOTHER)), 1)],
                    QUIET,
                )
            },
            World {
                refuses: true,
                ..world("no-header", &[(BARE, 0), (BARE, 1)], changes)
            },
            World {
                guessed: MOST_FAILURES - 2,
                attempts: 1,
                ..world(
                    "thief",
                    &[
                        (OURS, 0),
                        (Who::Thief(Some(ANOTHER)), 0),
                        (Who::Thief(Some(ANOTHER)), 1),
                        (OURS, 1),
                    ],
                    QUIET,
                )
            },
            world("replaced", &[(OURS, 0), (OURS, 1)], changes),
            World {
                attempts: 1,
                ..world("repeats", &[(OURS, 0), (OURS, 1), (OURS, 0)], restarts)
            },
            World {
                attempts: 3,
                ..world("lost-replays", &[(OURS, 0), (OURS, 1)], QUIET)
            },
            World {
                limited: true,
                ..world("hour", &[(BARE, 0), (BARE, 1)], changes)
            },
        ]
    }

    /// One of them.
    pub fn named(name: &str) -> Option<Self> {
        Self::all().into_iter().find(|world| world.name == name)
    }

    /// The same without some rules.
    pub fn with(self, rules: Rules) -> Self {
        Self { rules, ..self }
    }

    /// Who sends this request, and to which gateway.
    pub fn who(&self, state: &State, place: usize) -> (Who, usize) {
        let probe = (OURS, state.probed);
        self.requests.get(place).copied().unwrap_or(probe)
    }

    /// Before anything was asked.
    pub fn first(&self) -> State {
        let mut keys = [Key::None; KEYS];
        keys[OLD] = Key::Active;
        State {
            disk: Disk {
                revision: 0,
                keys,
                recorded: [None; REQUESTS],
                records: [None::<Record>; REQUESTS],
                limited: self.limited,
            },
            open: 0,
            requests: [Request {
                phase: Phase::Unsent,
                course: Attempts::for_active_key(),
                attempts: [Attempt::None; ATTEMPTS],
            }; REQUESTS],
            buried: [false; GATEWAYS],
            probed: 0,
            left: self.left,
            broken: Broken::default(),
        }
    }
}
