//! What a flood of guessed keys costs those whose keys are good: a gateway on one
//! core of its own, at 60 % of what it can refuse, beside a steady load.
//!
//! Fails if a good key was not served, if the store was asked about more unknown
//! keys than the budget allows, or if the gateway has grown.

use std::{
    process,
    sync::Arc,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow, ensure};
use rekey_load::{
    Book, Connection, Flood, Flooded, Guess, Key, Memory, get, import, refused_per_second,
};
use rekey_testbed::{Fleet, FleetOptions, Gateway};
use serde_json::json;

use crate::{Length, cores, cpu::Cpu, tell, times::Times};

/// The share of what the gateway can refuse.
const SHARE: f64 = 0.6;
/// The budget, which is the default one, and what may be asked at once.
const PER_SECOND: f64 = 100.0;
const BURST: f64 = 200.0;
/// Users whose keys are good, and in the table.
const USERS: usize = 200;
/// Threads that ask with them, and how often each does.
const CLIENTS: usize = 4;
const PAUSE: Duration = Duration::from_millis(10);
/// What the process may grow by after the first round, in bytes: its allocators
/// breathe.
const BREATH: u64 = 8 << 20;

const UNKNOWN: &str =
    r#"rekey_store_requests_total{listener="gateway",endpoint="/v1/keys/resolve",status="404"}"#;

/// One kind of flood, and what its rounds have shown.
struct Case {
    name: &'static str,
    guess: Guess,
    /// Guesses a second.
    rate: f64,
    p99: Vec<Duration>,
    /// Of the quiet run before it, to the same round's.
    ratios: Vec<f64>,
    asked: u64,
    flooded: Vec<Flooded>,
}

/// Measures and tells.
pub(crate) fn run(length: Length) -> anyhow::Result<()> {
    let (rounds, lasts) = match length {
        Length::Short => (1, Duration::from_secs(2)),
        Length::Full => (7, Duration::from_secs(4)),
    };
    let fleet = Fleet::start(FleetOptions {
        concurrency: 1,
        plugin: json!({ "checksum": "off", "unknown_keys_per_second": PER_SECOND as u32 }),
        ..FleetOptions::default()
    })?;
    let gateway = fleet.gateways.first().context("no gateway")?;
    let _pinned = pin(&fleet, gateway)?;
    let keys = import(&fleet.store, "f", USERS, &Book::default())?;
    steady(gateway, &keys, lasts / 2)?;
    let mut cases = [
        Case::new("malformed", Guess::Malformed, gateway, lasts)?,
        Case::new("well-formed, unknown", Guess::WellFormed, gateway, lasts)?,
    ];
    let (begin, mut first) = (Memory::of(gateway)?, None);
    let mut quiets = Vec::new();
    for _ in 0..rounds {
        for case in &mut cases {
            let quiet = steady(gateway, &keys, lasts)?.quantile(0.99);
            case.round(&fleet, gateway, &keys, lasts, quiet)?;
            quiets.push(quiet);
        }
        first.get_or_insert(Memory::of(gateway)?);
    }
    let end = Memory::of(gateway)?;
    tell(format_args!(
        "floods, quiet: p99 {:.2} ms",
        median(&mut quiets).as_secs_f64() * 1e3
    ));
    for case in &mut cases {
        case.tell();
    }
    tell(format_args!("floods, memory before: {begin}; after: {end}"));
    let first = first.map_or(begin.resident, |memory| memory.resident);
    ensure!(
        end.resident <= first + BREATH,
        "the gateway has grown from {first} to {} bytes",
        end.resident
    );
    Ok(())
}

impl Case {
    fn new(
        name: &'static str,
        guess: Guess,
        gateway: &Gateway,
        lasts: Duration,
    ) -> anyhow::Result<Self> {
        let cpu = Cpu::of(gateway.process.pid())?;
        let most = refused_per_second(gateway.address(), guess, lasts)?;
        let used = cpu.percent()?;
        tell(format_args!(
            "floods, {name}: {most:.0} a second refused by one core, of which {used:.0} % was used"
        ));
        Ok(Self {
            name,
            guess,
            rate: SHARE * most,
            p99: Vec::new(),
            ratios: Vec::new(),
            asked: 0,
            flooded: Vec::new(),
        })
    }

    fn round(
        &mut self,
        fleet: &Fleet,
        gateway: &Gateway,
        keys: &[Arc<Key>],
        lasts: Duration,
        quiet: Duration,
    ) -> anyhow::Result<()> {
        let (before, began) = (fleet.store.metric(UNKNOWN)?, Instant::now());
        let flood = Flood::start(gateway.address(), self.guess, self.rate)?;
        let times = steady(gateway, keys, lasts)?;
        self.flooded.push(flood.end()?);
        let asked = fleet.store.metric(UNKNOWN)? - before;
        let budget = match self.guess {
            Guess::Malformed => 0.0,
            Guess::WellFormed => BURST + PER_SECOND * began.elapsed().as_secs_f64(),
        };
        ensure!(
            asked <= budget,
            "{}: the store was asked {asked} times, {budget:.0} are allowed",
            self.name
        );
        self.asked += asked as u64;
        let p99 = times.quantile(0.99);
        self.ratios.push(p99.as_secs_f64() / quiet.as_secs_f64());
        self.p99.push(p99);
        Ok(())
    }

    fn tell(&mut self) {
        let lasted: Duration = self.flooded.iter().map(|flooded| flooded.lasted).sum();
        let seconds = lasted.as_secs_f64();
        let all: u64 = self.flooded.iter().map(|flooded| flooded.seen.all()).sum();
        self.ratios.sort_by(f64::total_cmp);
        let ratio = self.ratios.get(self.ratios.len() / 2);
        let (least, most) = (self.ratios.first(), self.ratios.last());
        let or_nan = |ratio: Option<&f64>| ratio.copied().unwrap_or(f64::NAN);
        tell(format_args!(
            "floods, {}: {:.0} a second for {seconds:.0} s; the store was asked {:.1} times a \
             second; 0 failures; p99 of the good {:.2} ms, {:.2} times the quiet one ({:.2} to \
             {:.2})",
            self.name,
            all as f64 / seconds,
            self.asked as f64 / seconds,
            median(&mut self.p99).as_secs_f64() * 1e3,
            or_nan(ratio),
            or_nan(least),
            or_nan(most),
        ));
    }
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// A steady load of good keys, each of which is served; how long each waited
/// since it was due.
fn steady(gateway: &Gateway, keys: &[Arc<Key>], lasts: Duration) -> anyhow::Result<Times> {
    let (address, ended) = (gateway.address(), AtomicBool::new(false));
    let work = |number: usize| -> anyhow::Result<Vec<Duration>> {
        let mut connection = Connection::to(address);
        let began = Instant::now() + PAUSE.mul_f64(number as f64 / CLIENTS as f64);
        let mut times = Vec::new();
        let mut mine = keys.iter().skip(number).step_by(CLIENTS).cycle();
        while !ended.load(Ordering::Relaxed)
            && let Some(key) = mine.next()
        {
            let due = began + PAUSE * u32::try_from(times.len())?;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let answer = connection.exchange(&get(&key.text))?;
            let status = answer.status;
            ensure!(
                status == 200,
                "a good key was answered {status}: {}",
                answer.body
            );
            times.push(answer.received.saturating_duration_since(due));
        }
        Ok(times)
    };
    let all = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| scope.spawn(move || work(number)))
            .collect();
        thread::sleep(lasts);
        ended.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for client in clients {
            let ended = client.join();
            all.extend(ended.map_err(|_| anyhow!("a client panicked"))??);
        }
        anyhow::Ok(all)
    })?;
    Ok(Times::of(all))
}

/// Gives the gateway the first core, and all the rest to the others.
fn pin(fleet: &Fleet, gateway: &Gateway) -> anyhow::Result<cores::Released> {
    let others = [fleet.store.process.pid(), fleet.upstream.process.pid()];
    let released = cores::Released(process::id());
    cores::pin_alone(
        gateway.process.pid(),
        others.into_iter().chain([process::id()]),
    )?;
    Ok(released)
}
