//! A fleet in virtual time: N gateways of M workers each, users, an operator,
//! a bad network, and one key store.
//!
//! The gateways' decisions are `rekey-engine`, the store's are `rekey-store`:
//! its feed core, its answers and its operations on an engine in memory. Made up
//! here are only clocks, the network, shared data, people and faults. One
//! number, the seed, decides everything, so a schedule that breaks a rule can
//! be run again.
//!
//! The parts: [`plan`] (what a seed decides beforehand), [`world`] (the queue of
//! events), [`gateway`] (a process, what its workers share, and its engines), [`store`]
//! (what it does, its lives and its restores), [`people`] (clients, thieves and the
//! operator), [`network`], [`clock`], [`oracle`] (what must never happen), and here the
//! course of one schedule.

pub mod clock;
pub mod gateway;
pub mod network;
pub mod oracle;
pub mod people;
pub mod plan;
pub mod store;
pub mod world;

use people::clients::Ending;
use people::errands::Errand;
use plan::Sabotage;
use world::{Event, Stats, World};

const SECOND: u64 = 1_000_000;
/// By then everything must have come to rest after the last fault: the hold
/// after a restore, and a rotation's patience after that.
const SETTLED_WITHIN: u64 = 150 * SECOND;
/// How long after a rotation its streams are open at most, in a healthy fleet
/// in which a ring may be lost: a tick, and what a slow worker adds.
const STREAMS_END: u64 = SECOND / 5;
/// How long a request of a healthy fleet may take.
const PROMPT: u64 = SECOND;

/// What came of one schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The rule that was broken, if one was.
    pub violation: Option<String>,
    /// What was done.
    pub stats: Stats,
    /// What happened, if asked for.
    pub trace: Vec<String>,
}

/// Runs the schedule of a seed: first a bad time, then a good one.
///
/// Fails only if the simulator itself is at fault.
pub fn run(seed: u64, sabotage: Option<Sabotage>, trace: bool) -> anyhow::Result<Outcome> {
    let mut world = World::new(seed, sabotage, trace)?;
    let chaos = world.plan.chaos;
    world.run_until(chaos);
    heal(&mut world);
    settle(&mut world);
    // An old backup may be noticed only now, by the first poll that gets through.
    while world.store.is_restored() && !world.is_over() {
        settle(&mut world);
    }
    if !world.is_over() {
        world.check_streams();
    }
    if !world.is_over() {
        prove(&mut world);
    }
    if !world.is_over() {
        world.check_bounds();
    }
    world.stats.resolves = world.store.resolves;
    Ok(Outcome {
        violation: world.oracle.violation,
        stats: world.stats,
        trace: world.trace.unwrap_or_default(),
    })
}

/// All faults are over.
fn heal(world: &mut World) {
    world.healed = true;
    world
        .queue
        .retain(|_, event| !matches!(event, Event::Fault(_)));
    for index in 0..world.gateways() {
        let now = world.now;
        let process = world.process_mut(index);
        process.cut_until = (now, now);
        process.frozen_until = process.frozen_until.min(now + SECOND);
    }
    world.store.frozen_until = world.store.frozen_until.min(world.now + SECOND);
}

/// Waits until nobody waits any more.
fn settle(world: &mut World) {
    let until = world.now + SETTLED_WITHIN;
    while !world.is_over() {
        world.run_until(world.now + SECOND);
        if world.store.is_restored() && world.store.life.is_some() {
            world.store_dies(SECOND, true);
        }
        let users = world.users.iter();
        let at_rest = users
            .clone()
            .all(|user| user.certain && user.regenerating == 0);
        let is_settled = world.lost.is_none() && world.store.life.is_some();
        if at_rest && is_settled && world.requests.is_empty() {
            break;
        }
        if world.now > until {
            let users: Vec<_> = users.collect();
            let text = format!("never came to rest: {users:?}, {:?}", world.requests);
            world.violate(text);
        }
    }
    // Leases come back: a poll's pause, a turn of the feeder, a poll.
    let longest = world.plan.settings.iter().map(|set| set.lease_ms).max();
    let longest = u64::from(longest.unwrap_or_default());
    world.run_until(world.now + 5 * SECOND + 2 * longest * 1_000);
    // A store that starts meanwhile holds for longer.
    while world.now < world.held_until && !world.is_over() {
        world.run_until(world.held_until);
    }
}

/// The fleet is healthy: every key does what it should, everywhere, and a
/// warm one costs no call.
fn prove(world: &mut World) {
    for number in 0..world.imported.len() {
        let key = world.imported[number].key.clone();
        on_every_worker(world, |world, process, worker| {
            let right = world.imported_outcome(number);
            let found = ask(world, (process, worker), 0, &key, None);
            if found != Some(right.clone()) {
                let text = format!("a key of an import got {found:?}, not {right:?}");
                world.violate(text);
            }
        });
    }
    for user in 0..world.users.len() {
        let key = world.users[user].key.clone();
        on_every_worker(world, |world, process, worker| {
            let first = ask(world, (process, worker), user, &key, None);
            let before = world.store.resolves;
            let second = ask(world, (process, worker), user, &key, None);
            let calls = world.store.resolves - before;
            let served = Some(Ending::Served);
            if first != served || second != served {
                let text = format!("a valid key got {first:?}, {second:?} of {process}/{worker}");
                world.violate(text);
            } else if calls > 0 {
                world.violate(format!(
                    "a warm key cost {calls} calls at {process}/{worker}"
                ));
            }
        });
        if world.is_over() {
            return;
        }
        let serving = world.process(0).serving();
        let Some(worker) = serving.first() else {
            return world.violate("nobody serves".to_owned());
        };
        on_every_worker(world, |world, process, worker| {
            hold(world, (process, worker), user, &key);
        });
        let once = world.draw_idempotency_key();
        let (errand, again) = (Errand::Repeatable(once.clone(), 0), Errand::Again(once));
        let ending = ask(world, (0, *worker), user, &key, Some(errand));
        let new = match ending {
            Some(Ending::NewKey(new)) => new,
            other => return world.violate(format!("a rotation in good times: {other:?}")),
        };
        world.run_until(world.now + STREAMS_END);
        world.check_streams();
        on_every_worker(world, |world, process, worker| {
            let old = ask(world, (process, worker), user, &key, None);
            if !matches!(old, Some(Ending::Refused(401, _))) {
                let text = format!("I2: an old key got {old:?} of {process}/{worker}");
                world.violate(text);
            }
            let repeated = ask(world, (process, worker), user, &key, Some(again.clone()));
            if repeated != Some(Ending::NewKey(new.clone())) {
                let text = format!("X3: a repetition got {repeated:?} of {process}/{worker}");
                world.violate(text);
            }
            let fresh = ask(world, (process, worker), user, &new, None);
            if fresh != Some(Ending::Served) {
                world.violate(format!("a new key got {fresh:?} of {process}/{worker}"));
            }
        });
        if world.is_over() {
            return;
        }
    }
}

fn on_every_worker(world: &mut World, mut each: impl FnMut(&mut World, usize, usize)) {
    for process in 0..world.gateways() {
        for worker in world.process(process).serving() {
            if world.is_over() {
                return;
            }
            each(world, process, worker);
        }
    }
}

/// Opens a stream that stays.
fn hold(world: &mut World, at: (usize, usize), user: usize, key: &people::clients::Key) {
    let Some(to) = world.worker_ref(at.0, at.1) else {
        return;
    };
    let id = world.request(user, key.clone(), None, (to, 100));
    if let Some(request) = world.requests.get_mut(&id) {
        request.stays = true;
    }
    world.run_until(world.now + 2_000);
    if !world.streams.contains_key(&id) {
        world.violate(format!("a stream did not open at {at:?}"));
    }
}

/// Sends one request and waits for its end; none if it does not come soon.
fn ask(
    world: &mut World,
    (process, worker): (usize, usize),
    user: usize,
    key: &people::clients::Key,
    errand: Option<Errand>,
) -> Option<Ending> {
    let to = world.worker_ref(process, worker)?;
    let id = world.request(user, key.clone(), errand, (to, 100));
    world.probes.insert(id, None);
    let until = world.now + PROMPT;
    while world.now < until && !world.is_over() && world.probes.get(&id) == Some(&None) {
        world.run_until(world.now + 2_000);
    }
    world.probes.remove(&id).flatten()
}
