//! A world of several stores: who takes part, and what may go wrong.

use super::parties::etcd::{Beat, Data, Etcd, Event, LINES, Line, Revision, STORES};
use super::rules::Rules;
use super::state::{Broken, Cursor, GATEWAYS, Gateway, Left, Phase, State, Store, Tick};

/// What a restore is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restore {
    /// Accepted before any other store reaches the restored cluster.
    Accepted,
    /// Accepted by nobody; its revisions are higher than those of the lost history.
    Higher,
    /// Accepted by nobody; revisions are given out for the second time.
    Repeated,
}

/// What should happen in some schedule of a world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// A client has the 200.
    Told,
    /// It has it while all lines stand.
    ToldByAll,
    /// It has it although a store is dead, frozen or cut off: its line was deleted.
    ToldWithoutTheDead,
    /// A store that joined grants a lease after the 200.
    Joined,
    /// A planned stop is complete, and the 200 is out.
    Stopped,
    /// A gateway trusts by a lease of another store than at first, with the tombstone.
    Moved,
}

/// Who takes part, and what may happen.
#[derive(Debug, Clone)]
pub struct World {
    /// Its name.
    pub name: &'static str,
    /// What happens in it.
    pub about: &'static str,
    /// The rules that hold.
    pub rules: Rules,
    /// Which stores run from the beginning. The others have read nothing yet.
    pub running: &'static [usize],
    /// Which stores join.
    pub joining: &'static [usize],
    /// Gateways.
    pub gateways: usize,
    /// The stores that each gateway polls.
    pub follows: &'static [usize],
    /// The stores that rotate, wait and tell.
    pub rotates: &'static [usize],
    /// The stores that observe lines, and which lines.
    pub observes: &'static [usize],
    /// The lines that they observe.
    pub observed: &'static [usize],
    /// How long a line stands without a beat.
    pub ttl: Tick,
    /// The lease.
    pub lease: Tick,
    /// How much slower a clock can be than another.
    pub drift: Tick,
    /// Time goes on until then.
    pub until: Tick,
    /// Whether plain reads may be stale.
    pub stale: bool,
    /// A store whose watch is silent.
    pub silent: Option<usize>,
    /// Whether all does at once what it can.
    pub prompt: bool,
    /// What a restore is like.
    pub restore: Restore,
    /// Beats of the first store that are not in the snapshot, and that its gateways have
    /// acknowledged.
    pub ahead: u8,
    /// What may happen.
    pub left: Left,
    /// What should happen in some schedule.
    pub goals: &'static [Goal],
}

/// Where the log begins.
const FIRST: Revision = 3;
/// The first history.
pub const HISTORY: u8 = 1;

/// Two stores, one gateway, one rotation.
pub const BASE: World = World {
    name: "",
    about: "",
    rules: Rules::ALL,
    running: &[0, 1],
    joining: &[],
    gateways: 1,
    follows: &[0],
    rotates: &[1],
    observes: &[1],
    observed: &[0],
    ttl: 2,
    lease: 1,
    drift: 0,
    until: 4,
    stale: false,
    silent: None,
    prompt: false,
    restore: Restore::Accepted,
    ahead: 0,
    left: Left {
        polls: [1, 0],
        beats: [1, 0, 0],
        joins: [0, 0, 0],
        rotations: 1,
        lost: 0,
        repeats: 0,
        stops: 0,
        broken_watches: 0,
        restores: 0,
    },
    goals: &[Goal::Told],
};

impl World {
    /// The same world with other rules.
    pub fn with(self, rules: Rules) -> Self {
        Self { rules, ..self }
    }

    /// The world of this name.
    pub fn named(name: &str) -> Option<Self> {
        let mut worlds = Self::small().into_iter().chain(Self::limits());
        worlds.find(|world| world.name == name)
    }

    /// The stores of this world.
    pub fn stores(&self) -> impl Iterator<Item = usize> {
        self.running.iter().chain(self.joining).copied()
    }

    /// A margin for drift, if the rule has one.
    pub fn margin(&self, is_kept: Margin) -> Tick {
        match is_kept {
            Margin::Kept => self.drift,
            Margin::Forgotten => 0,
        }
    }

    /// At the beginning the running stores have just beaten.
    pub fn first(&self) -> State {
        let mut lines = [None; LINES];
        for store in self.running {
            lines[*store] = Some(Line {
                created: 1,
                modified: FIRST,
                beat: 0,
                upto: FIRST,
            });
        }
        let data = Data {
            revision: FIRST,
            history: HISTORY,
            revoked: 0,
            lines,
        };
        let mut etcd = Etcd::new(data);
        for number in 1..=self.ahead {
            etcd.write(Event::Beaten(Beat {
                store: 0,
                number,
                upto: etcd.head.revision,
                sent: 0,
            }));
        }
        let store = |store: usize| {
            let runs = self.running.contains(&store);
            Store {
                phase: if runs { Phase::Running } else { Phase::New },
                memory: etcd.head,
                fence: if runs { self.ttl } else { 0 },
                held: [None; GATEWAYS],
                beats: if store == 0 { self.ahead } else { 0 },
                beaten: None,
                owed: None,
                observed: None,
                lag: 0,
                claimed: 0,
                embargo: 0,
            }
        };
        let gateway = Gateway {
            applied: Cursor {
                history: HISTORY,
                revision: etcd.head.revision,
            },
            knows: false,
            has_refused: false,
            deadline: 0,
            poll: None,
            lag: 0,
        };
        State {
            now: 0,
            sent: Vec::new(),
            stores: std::array::from_fn::<_, STORES, _>(store),
            etcd,
            gateways: std::array::from_fn(|_| gateway.clone()),
            told: false,
            revoked_at: None,
            left: self.left,
            broken: Broken::default(),
        }
    }
}

/// Whether a rule's margin is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Margin {
    /// It is.
    Kept,
    /// A mutant lacks it.
    Forgotten,
}

impl Margin {
    /// From a switch.
    pub fn when(is_kept: bool) -> Self {
        if is_kept { Self::Kept } else { Self::Forgotten }
    }
}
