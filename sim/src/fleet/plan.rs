//! What one seed decides beforehand: the size of the world, how bad its
//! network is, and which faults strike when.

pub use fastrand::Rng;

/// A bug that is put in on purpose, to see that it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Sabotage {
    /// The store answers rotations and revocations without the barrier.
    SkipBarrier,
    /// The store reads a poll's answer first and registers the poll then (S3).
    ReadBeforeRegister,
    /// The store forgets a revocation on its way to a gateway.
    LoseChange,
    /// A restarted store does not wait for the leases of its earlier life (S9).
    NoRestartHold,
    /// Shared data is written whatever the compare-and-swap says (G2).
    IgnoreCas,
    /// Tombstones that follow from the feed are not kept (G3).
    DropWrites,
    /// A revocation is not told to the worker's own streams and the other workers.
    TellNobody,
    /// The store keeps nothing for clients that lose their answers (X4).
    KeepNoRecord,
    /// An answer that is repeated does not wait for the barrier (S7).
    RepeatEarly,
    /// A gateway's clocks run slower than the protocol assumes.
    SlowClock,
    /// The gateway's wall clock stands still with the monotonic one while the
    /// machine is suspended (G1).
    WallSuspended,
    /// The store does not find a valid key now and then (I7).
    RefuseValid,
    /// A start does not look at the mark in the lock file (S8).
    IgnoreMark,
    /// A start lays whatever log there is over the database (S8).
    IgnoreAnchor,
    /// The rows of an import count before all of it does.
    ImportByHalves,
    /// An owner whose lock file was removed goes on (S10).
    GoOnWithoutLock,
}

/// How calls between gateway and store fare.
#[derive(Debug, Clone, Copy)]
pub struct Network {
    /// Chance that a request gets lost.
    pub lose_request: f64,
    /// Chance that an answer gets lost.
    pub lose_answer: f64,
    /// Chance that a request arrives twice.
    pub double: f64,
    /// Chance that a message takes long.
    pub slow: f64,
    /// How long that is at most, in microseconds.
    pub slow_micros: u64,
    /// Chance that a gateway does not even send a call.
    pub unsent: f64,
}

/// Something bad.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// A gateway stands still (`SIGSTOP`).
    Freeze(usize, u64),
    /// A gateway's machine is suspended: its monotonic clock stands still.
    Suspend(usize, u64),
    /// A gateway dies and is started again after so long.
    Crash(usize, u64),
    /// One worker's VM traps and is made anew.
    Trap(usize),
    /// A gateway's wall clock is set, in milliseconds.
    SetWall(usize, i64),
    /// A gateway gets another configuration beside the old one for so long.
    Update(usize, u64),
    /// Nothing passes between a gateway and the store; or no answer only.
    Partition(usize, u64, bool),
    /// The store dies and is started again after so long.
    StoreCrash(u64),
    /// The store stands still.
    StoreFreeze(u64),
    /// A backup is made.
    Backup,
    /// A backup is put in the place of the database.
    Restore(Restoration),
    /// The lock file is removed while the store runs, and another one starts; how
    /// long the first one can still be reached.
    LoseLock(u64),
    /// The log is folded into the database file.
    Fold,
    /// The operator imports keys.
    Import,
    /// The operator revokes somebody's key.
    Revoke,
}

/// How a backup is restored.
#[derive(Debug, Clone, Copy)]
pub struct Restoration {
    /// How long the store is down.
    pub span: u64,
    /// Which of the backups; of each age.
    pub which: usize,
    /// Whether the log of the present state is left beside it.
    pub log_is_left: bool,
    /// Whether the lock file is lost.
    pub lock_is_lost: bool,
    /// Whether the gateways start again, too, and none knows a cursor.
    pub gateways_start: bool,
}

/// The settings of one configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Settings {
    /// Of the plugin configuration.
    pub lease_ms: u32,
    /// Of the plugin configuration.
    pub cache_slots: u32,
}

/// The plan of a schedule.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Gateway processes.
    pub gateways: usize,
    /// Workers that serve requests, in each.
    pub workers: usize,
    /// Users, each with a key.
    pub users: usize,
    /// The configurations, in the order in which they come.
    pub settings: [Settings; 3],
    /// How the network is.
    pub network: Network,
    /// How long the bad time lasts, in microseconds.
    pub chaos: u64,
    /// How often a user does something, in microseconds.
    pub act_every: u64,
    /// Chance that what a user does is a rotation.
    pub regenerate: f64,
    /// Chance that a rotation is asked for in the dashboard, and that who has
    /// lost a key helps himself there.
    pub dashboard: f64,
    /// Chance that a rotation bears an `Idempotency-Key`.
    pub repeats: f64,
    /// Chance that a client soon gives a request up.
    pub impatience: f64,
    /// Chance that thieves try a key that was replaced.
    pub thieves: f64,
    /// Chance that another worker's event comes between two accesses to shared
    /// data.
    pub interleave: f64,
    /// Chance that a worker stands still between two accesses.
    pub stall: f64,
    /// Whether nothing bad happens at all.
    pub calm: bool,
    /// When what strikes, in world time.
    pub faults: Vec<(u64, Fault)>,
    /// A bug that was put in.
    pub sabotage: Option<Sabotage>,
}

const SECOND: u64 = 1_000_000;

impl Plan {
    /// The plan of a seed.
    pub fn new(rng: &mut Rng, sabotage: Option<Sabotage>) -> Self {
        let calm = rng.f64() < 0.1 && sabotage.is_none();
        let gateways = rng.usize(1..=3);
        let chaos = rng.u64(3 * SECOND..12 * SECOND);
        let mut plan = Self {
            gateways,
            workers: rng.usize(1..=3),
            users: rng.usize(1..=5),
            settings: std::array::from_fn(|_| settings(rng)),
            network: if calm { CLEAN } else { network(rng) },
            chaos,
            act_every: rng.u64(20_000..200_000),
            regenerate: rng.f64() * 0.1 + 0.02,
            dashboard: pick(rng, &[0.0, 0.3, 0.7]),
            repeats: pick(rng, &[0.0, 0.5, 1.0]),
            impatience: pick(rng, &[0.03, 0.03, 0.5]),
            thieves: pick(rng, &[0.0, 0.0, 0.5]),
            interleave: pick(rng, &[0.0, 0.05, 0.3]),
            stall: if calm {
                0.0
            } else {
                pick(rng, &[0.0, 0.0, 0.002])
            },
            calm,
            faults: Vec::new(),
            sabotage,
        };
        match rng.u32(0..6) {
            0 if !calm => plan.late_answers_to_crowded_slots(),
            1 if !calm => plan.many_lives(rng),
            _ => {}
        }
        if !calm {
            plan.faults.extend(faults(rng, gateways, chaos, sabotage));
        }
        plan.look_where_it_hurts(rng);
        plan
    }
}

impl Plan {
    /// Tombstones are evicted while old answers are under way: what floors and
    /// merging (G6, G8) are for.
    fn late_answers_to_crowded_slots(&mut self) {
        self.users = 12;
        (self.act_every, self.regenerate) = (40_000, 0.2);
        self.settings = [Settings {
            cache_slots: 1,
            lease_ms: 3_000,
        }; 3];
        self.network = Network {
            slow: 0.4,
            slow_micros: 900_000,
            ..CLEAN
        };
        self.chaos = self.chaos.min(6 * SECOND);
    }

    /// The store starts again and again, so generations end while answers of
    /// earlier ones are under way (G5, S8).
    fn many_lives(&mut self, rng: &mut Rng) {
        self.late_answers_to_crowded_slots();
        self.users = 6;
        self.settings = [Settings {
            cache_slots: 2,
            lease_ms: 300,
        }; 3];
        for _ in 0..6 {
            let crash = Fault::StoreCrash(rng.u64(1_000..50_000));
            self.faults.push((rng.u64(0..self.chaos), crash));
        }
    }

    /// What an injected bug needs to show itself soon.
    fn look_where_it_hurts(&mut self, rng: &mut Rng) {
        let mut often = |fault: fn(usize, u64) -> Fault| {
            for _ in 0..4 {
                let gateway = rng.usize(0..self.gateways);
                let span = rng.u64(10_000..SECOND);
                self.faults
                    .push((rng.u64(0..self.chaos), fault(gateway, span)));
            }
        };
        match self.sabotage {
            Some(Sabotage::IgnoreCas) => {
                // Many fills of one slot, with five keys for its four places.
                self.interleave = 0.5;
                (self.gateways, self.workers, self.users) = (2, 3, 5);
                (self.act_every, self.regenerate) = (4_000, 0.1);
                (self.network, self.chaos) = (CLEAN, 5 * SECOND);
                self.faults.clear();
                self.settings = self.settings.map(|settings| Settings {
                    cache_slots: 1,
                    ..settings
                });
            }
            Some(Sabotage::NoRestartHold) => {
                often(|_, span| Fault::StoreCrash(span / 4));
                often(|gateway, span| Fault::Partition(gateway, span, false));
            }
            Some(Sabotage::RepeatEarly) => {
                often(|gateway, span| Fault::Partition(gateway, span, false));
                (self.repeats, self.impatience, self.gateways) = (1.0, 0.5, 3);
            }
            Some(Sabotage::GoOnWithoutLock) => {
                // The next owner holds its answers for the cap. What the former one
                // does harms those that come after.
                (self.gateways, self.users, self.chaos) = (3, 5, 45 * SECOND);
                (self.regenerate, self.thieves) = (0.02, 1.0);
                self.network = CLEAN;
                self.faults = vec![(SECOND, Fault::LoseLock(SECOND))];
            }
            Some(Sabotage::WallSuspended) => often(Fault::Suspend),
            Some(Sabotage::SlowClock) => {
                often(|gateway, span| Fault::Partition(gateway, span, false));
            }
            _ => {}
        }
    }
}

fn pick<T: Copy>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.usize(0..from.len())]
}

fn settings(rng: &mut Rng) -> Settings {
    Settings {
        lease_ms: pick(rng, &[300, 1_000, 3_000]),
        cache_slots: pick(rng, &[1, 2, 16, 4096]),
    }
}

const CLEAN: Network = Network {
    lose_request: 0.0,
    lose_answer: 0.0,
    double: 0.0,
    slow: 0.0,
    slow_micros: 1,
    unsent: 0.0,
};

fn network(rng: &mut Rng) -> Network {
    Network {
        lose_request: pick(rng, &[0.0, 0.0, 0.02, 0.2]),
        lose_answer: pick(rng, &[0.0, 0.0, 0.02, 0.2]),
        double: pick(rng, &[0.0, 0.02, 0.1]),
        slow: pick(rng, &[0.0, 0.05, 0.2]),
        slow_micros: pick(rng, &[20_000, 300_000, 2 * SECOND]),
        unsent: pick(rng, &[0.0, 0.0, 0.01]),
    }
}

fn faults(
    rng: &mut Rng,
    gateways: usize,
    chaos: u64,
    sabotage: Option<Sabotage>,
) -> Vec<(u64, Fault)> {
    let mut faults = Vec::new();
    // A machine whose clock is set while another one's stands still is beyond
    // what both deadlines of G1 can catch.
    let suspends = rng.bool() || sabotage == Some(Sabotage::WallSuspended);
    let breaks_store = matches!(
        sabotage,
        Some(Sabotage::IgnoreMark | Sabotage::IgnoreAnchor | Sabotage::GoOnWithoutLock)
    );
    let restores = rng.f64() < 0.2 || breaks_store;
    for _ in 0..rng.u64(0..chaos / SECOND * 2 + 1) {
        let at = rng.u64(0..chaos);
        let gateway = rng.usize(0..gateways);
        let span = pick(rng, &[50_000, 500_000, 4 * SECOND]);
        let span = rng.u64(span / 10..span);
        let fault = match rng.u32(0..12) {
            0 => Fault::Freeze(gateway, span),
            1 if suspends => Fault::Suspend(gateway, span),
            1 => Fault::SetWall(gateway, rng.i64(-3_600_000..3_600_000)),
            2 => Fault::Crash(gateway, span),
            3 | 4 => Fault::Trap(gateway),
            5 => Fault::Update(gateway, span),
            6 | 7 => Fault::Partition(gateway, span, rng.bool()),
            8 => Fault::StoreCrash(span),
            9 => Fault::StoreFreeze(span),
            10 if restores => Fault::Backup,
            11 if restores && rng.bool() => match rng.u32(0..3) {
                0 => Fault::LoseLock(span),
                1 => Fault::Restore(restoration(rng, sabotage)),
                _ => Fault::Fold,
            },
            _ => Fault::Revoke,
        };
        faults.push((at, fault));
    }
    if restores || sabotage == Some(Sabotage::ImportByHalves) {
        faults.push((rng.u64(0..chaos), Fault::Import));
    }
    if restores {
        faults.push((rng.u64(0..chaos / 2), Fault::Backup));
        let restore = Fault::Restore(restoration(rng, sabotage));
        faults.push((rng.u64(chaos / 2..chaos), restore));
        // A log that is left is of another file only after a fold.
        faults.push((rng.u64(chaos / 4..chaos), Fault::Fold));
        if rng.f64() < 0.3 {
            faults.push((rng.u64(0..chaos), Fault::LoseLock(2 * SECOND)));
        }
    }
    faults
}

fn restoration(rng: &mut Rng, sabotage: Option<Sabotage>) -> Restoration {
    let is_watched = matches!(
        sabotage,
        Some(Sabotage::IgnoreMark | Sabotage::IgnoreAnchor)
    );
    Restoration {
        span: rng.u64(1_000..SECOND),
        which: rng.usize(0..8),
        log_is_left: rng.bool() || sabotage == Some(Sabotage::IgnoreAnchor),
        lock_is_lost: rng.f64() < 0.25 && !is_watched,
        gateways_start: rng.bool(),
    }
}
