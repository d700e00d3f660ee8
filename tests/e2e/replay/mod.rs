//! Lost answers (X1 to X6, I4): whatever breaks in whatever moment,
//! the client that repeats its rotation with the same `Idempotency-Key` ends
//! with one working key, the same each time, and nobody else gets it.
//!
//! A proxy between gateway and store cuts exchanges at every byte; clients cut
//! their own. Each position has a user of its own, and many go side by side.

mod client_side;
mod every_byte;
mod http2;
mod moved;
mod other_exchanges;
mod owner;
mod places;
mod racing;
mod sealed;
mod thief;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rekey_testbed::FleetOptions;
use serde_json::json;

use self::owner::Owner;
use super::support::faults::tcp_proxy::TcpProxy;
use super::support::fleet::{self, TestFleet};
use super::support::wire::raw_http::RawConnection;

/// Users served side by side: each waits most of the time.
const SIDE_BY_SIDE: usize = 24;

/// What a dead or cut gateway trusts is waited out often here; nothing else may
/// run out of time on a busy machine, or of the calls that unknown and dead keys
/// may cost, of which some hundred users in a second have many.
fn options() -> FleetOptions {
    FleetOptions {
        gateways: 0,
        plugin: json!({
            "lease_ms": 300, "store": { "resolve_timeout_ms": 20_000 },
            "unknown_keys_per_second": 100_000,
        }),
        ..FleetOptions::default()
    }
}

/// A fleet whose gateways reach the store through proxies: one each, in the same
/// order.
struct Cuttable {
    fleet: TestFleet,
    proxies: Vec<TcpProxy>,
}

impl Cuttable {
    fn start(gateways: usize) -> Self {
        Self::start_with(gateways, options())
    }

    fn start_with(gateways: usize, options: FleetOptions) -> Self {
        let mut fleet = fleet::start(options.clone());
        let mut proxies = Vec::new();
        for _ in 0..gateways {
            let proxy = TcpProxy::start(fleet.store.address());
            let mut gateway = fleet.gateway_options(&options);
            gateway.store = proxy.address();
            fleet.add_gateway(gateway).expect("a gateway");
            proxies.push(proxy);
        }
        Self { fleet, proxies }
    }

    /// Sends the owner's request to a gateway, and leaves when so many of the
    /// planned exchanges were cut.
    fn give_up(&self, gateway: usize, owner: &Owner, cuts: u32) {
        let mut connection = RawConnection::open(self.fleet.gateways[gateway].address());
        connection.send(owner.raw_request());
        self.proxies[gateway].cuts().wait(&owner.old_digest(), cuts);
    }
}

/// Does this with all cases, many at a time, and returns what came of each, in
/// their order.
///
/// # Panics
/// One does: the first to, when those beside it have ended.
fn side_by_side<C: Sync, R: Send>(cases: &[C], act: impl Fn(&C) -> R + Sync) -> Vec<R> {
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let done = Mutex::new(Vec::new());
    let work = || {
        while !failed.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(case) = cases.get(number) else {
                return Ok(());
            };
            // Else the others would go on to the end before anybody is told.
            let result = catch_unwind(AssertUnwindSafe(|| act(case))).inspect_err(|_| {
                failed.store(true, Ordering::Relaxed);
            })?;
            done.lock().unwrap().push((number, result));
        }
        Ok(())
    };
    thread::scope(|scope| {
        let name = thread::current().name().unwrap_or("a test").to_owned();
        let workers = (0..SIDE_BY_SIDE).map(|_| {
            let worker = thread::Builder::new().name(name.clone());
            worker.spawn_scoped(scope, work).unwrap()
        });
        let workers: Vec<_> = workers.collect();
        for worker in workers {
            if let Err(panic) = worker.join().unwrap() {
                resume_unwind(panic);
            }
        }
    });
    let mut done = done.into_inner().unwrap();
    done.sort_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, result)| result).collect()
}

/// How long something took, for people.
fn timed<R>(act: impl FnOnce() -> R) -> (R, Duration) {
    let began = Instant::now();
    (act(), began.elapsed())
}
