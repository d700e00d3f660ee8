//! What the barrier costs one store that a thousand gateways poll: how long a
//! rotation takes there, and what the polls cost while nothing happens.

use std::{process, thread, time::Duration};

use anyhow::{Context as _, ensure};
use rekey_load::{Book, Connection, import};
use rekey_testbed::{RunDir, Secrets, Store, StoreBinary, StoreOptions, random};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::{
    Length,
    cpu::Cpu,
    swarm::Swarm,
    tell,
    times::{Rounds, Times},
};

/// The lease that gateways ask for by default, in milliseconds.
const LEASE_MS: u32 = 3_000;
/// The longest lease there is.
const LONG_LEASE_MS: u32 = 30_000;

/// A store without real gateways.
struct Case {
    name: String,
    /// Before the store, so that it goes first.
    swarm: Option<Swarm>,
    store: Store,
    digests: Vec<String>,
    rounds: Rounds,
    /// The store's CPU time for a rotation, of each round.
    cost: Vec<Duration>,
    _run_dir: RunDir,
}

impl Case {
    fn new(gateways: usize, lease_ms: u32, users: usize) -> anyhow::Result<Self> {
        let run_dir = RunDir::temporary()?;
        let options = StoreOptions {
            binary: StoreBinary::Plain,
            rotation_interval: "1h".to_owned(),
            env: Vec::new(),
            args: Vec::new(),
            dashboard_port: 0,
            secrets: Secrets::random()?,
        };
        let store = Store::start(run_dir.path(), options)?;
        let digests = match users {
            0 => Vec::new(),
            _ => import(&store, "b", users, &Book::default())?
                .iter()
                .map(|key| hex::encode(Sha256::digest(&key.text)))
                .collect(),
        };
        let swarm = match gateways {
            0 => None,
            _ => Some(Swarm::start(&store, gateways, lease_ms)?),
        };
        Ok(Self {
            name: format!("{gateways} gateways with a lease of {lease_ms} ms"),
            store,
            swarm,
            digests,
            rounds: Rounds::default(),
            cost: Vec::new(),
            _run_dir: run_dir,
        })
    }

    /// Rotates so many keys at the store itself, one after another.
    fn round(&mut self, rotations: usize) -> anyhow::Result<()> {
        let mut connection = Connection::to(self.store.address());
        let cpu = Cpu::of(self.store.process.pid())?;
        let mut times = Vec::new();
        for _ in 0..rotations {
            let digest = self.digests.pop().context("no more users")?;
            let answer = connection.exchange(&self.rotation(&digest)?)?;
            ensure!(answer.status == 200, "{}: {}", answer.status, answer.body);
            ensure!(answer.body.contains("rotated"), "{}", answer.body);
            times.push(answer.received.duration_since(answer.sent));
        }
        let rotations = u32::try_from(times.len().max(1))?;
        self.cost.push(cpu.used()? / rotations);
        self.rounds.push(Times::of(times));
        self.swarm.as_ref().map_or(Ok(()), Swarm::check)
    }

    fn rotation(&self, digest: &str) -> anyhow::Result<Vec<u8>> {
        let new = format!("{}{}", random::hex(16)?, random::hex(16)?);
        let body = json!({
            "rotation_id": random::hex(16)?, "attempt": 1,
            "old_digest": digest, "new_digest": new, "hint": "0000",
        });
        let body = body.to_string();
        let (token, length) = (&self.store.options.secrets.store_token, body.len());
        let head = format!(
            "POST /v1/keys/rotate HTTP/1.1\r\nhost: store\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n"
        );
        Ok((head + &body).into_bytes())
    }

    /// Watches polls that nothing happens to.
    fn idle(&self, lasts: Duration) -> anyhow::Result<()> {
        let swarm = self.swarm.as_ref().context("nobody polls")?;
        let (store, own) = (Cpu::of(self.store.process.pid())?, Cpu::of(process::id())?);
        let before = swarm.polls();
        thread::sleep(lasts);
        let polls = (swarm.polls() - before) as f64 / lasts.as_secs_f64();
        swarm.check()?;
        tell(format_args!(
            "barrier, {}, idle: {polls:.0} polls a second, the store uses {:.1} % of a core \
             (the simulated gateways {:.1} %)",
            self.name,
            store.percent()?,
            own.percent()?
        ));
        Ok(())
    }
}

/// Measures and tells.
pub(crate) fn run(length: Length) -> anyhow::Result<()> {
    let (rounds, rotations, watched) = match length {
        Length::Short => (2, 10, Duration::from_secs(2)),
        Length::Full => (9, 100, Duration::from_secs(20)),
    };
    let mut cases = [
        Case::new(0, LEASE_MS, rounds * rotations)?,
        Case::new(1_000, LEASE_MS, rounds * rotations)?,
    ];
    let [_, polled] = &cases;
    polled.idle(watched)?;
    for _ in 0..rounds {
        for case in &mut cases {
            case.round(rotations)?;
        }
    }
    for case in &mut cases {
        case.cost.sort_unstable();
        let cost = case.cost.get(rounds / 2).copied().unwrap_or_default();
        tell(format_args!(
            "barrier, {}, rotating: {}; {cost:.1?} of the store's CPU each",
            case.name, case.rounds
        ));
    }
    drop(cases);
    for (gateways, lease_ms) in [
        (1_000, LONG_LEASE_MS),
        (5_000, LONG_LEASE_MS),
        (5_000, LEASE_MS),
    ] {
        Case::new(gateways, lease_ms, 0)?.idle(watched)?;
    }
    Ok(())
}
