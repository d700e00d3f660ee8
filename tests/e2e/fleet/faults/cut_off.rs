//! A gateway and its store that are cut off from each other, both ways or one:
//! rotations wait for its lease and no longer, it serves from its cache until
//! then, says 503 afterwards, and comes back by itself.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Instant;

use rekey_load::{Key, Probe};
use rekey_testbed::FleetOptions;

use crate::fleet::run::{
    LEASE_MS, Run, SLACK, accepted, expiry, gateways, no_fault, plugin, refused,
};
use crate::support::client::{Client, SCRAPE};
use crate::support::faults::network::Network;
use crate::support::faults::tcp_proxy::{Silence, TcpProxy};
use crate::support::fleet::{SOON, eventually};

/// How often it is cut off.
const ROUNDS: usize = 2;
/// The gateway that is cut off, beside two that are not.
const CUT_OFF: usize = 2;

/// Two gateways at the store, and a third one behind a proxy.
fn start(proxy: impl FnOnce(SocketAddr) -> TcpProxy) -> (Run, TcpProxy) {
    let mut run = Run::start(gateways(2, LEASE_MS), ROUNDS);
    let options = FleetOptions {
        // Short, for what can only wait.
        plugin: plugin(LEASE_MS, 400),
        ..FleetOptions::default()
    };
    let mut far = run.fleet.gateway_options(&options);
    let proxy = proxy(run.fleet.store.address());
    far.store = proxy.address();
    run.add_gateway(far);
    (run, proxy)
}

/// Cuts and heals, and checks what must hold in between.
fn cut_and_heal(run: &Run, cut: impl Fn(), heal: impl Fn()) {
    let traffic = run.traffic();
    let steady = run.new_key();
    for key in &run.keys {
        let mut probe = run.probe();
        let mut far = run.probe_of(CUT_OFF);
        run.until_trusted(CUT_OFF);
        accepted(&mut probe, &steady);
        accepted(&mut probe, key);

        cut();
        let began = Instant::now();
        // What it knows it serves on, without the store.
        accepted(&mut far, &steady);
        accepted(&mut far, key);
        let rotated = run.rotate(0, key);
        let bound = expiry(LEASE_MS);
        println!("cut off: a rotation took {:?}, of {bound:?}", rotated.took);
        assert!(rotated.took <= bound + SLACK, "{:?}", rotated.took);
        // I2 at the very moment: the lease is over.
        for answer in far.ask(&key.text).unwrap() {
            assert!(matches!(answer.status, 401 | 503), "{}", answer.body);
        }
        says_unavailable(run, &steady, began);
        // The others serve all the while.
        accepted(&mut run.probe_of(1), &rotated.new);

        heal();
        comes_back(&mut far, &steady);
        refused(&mut far, key);
        accepted(&mut far, &rotated.new);
    }
    let tally = no_fault(traffic);
    let address = run.gateway(CUT_OFF).address();
    assert!(
        tally.unavailable.keys().eq([&address]),
        "{:?}",
        tally.unavailable
    );
    run.fleet.assert_no_trap();
}

/// I7: after its lease, the cut-off gateway refuses even what it knows, and
/// says why.
fn says_unavailable(run: &Run, steady: &Key, cut: Instant) {
    let client = Client::new(&run.gateway(CUT_OFF).url());
    let answer = eventually("the end of the lease", || {
        let answer = client.get(SCRAPE, &steady.text);
        (answer.status != 200).then_some(answer)
    });
    let after = cut.elapsed();
    println!("it said 503 {after:?} after the cut");
    let unavailable = (503, "key_store_unavailable".to_owned());
    assert_eq!(answer.outcome(), unavailable);
    assert_eq!(answer.header("retry-after"), "1");
    assert!(after <= expiry(LEASE_MS) + SLACK, "{after:?}");
    let regenerate = client.regenerate(&steady.text);
    assert_eq!(regenerate.outcome(), unavailable, "and nothing happened");
}

fn comes_back(far: &mut Probe, steady: &Key) {
    eventually("the gateway to serve again", || {
        let statuses = far.statuses(&steady.text).unwrap();
        assert!(!statuses.contains(&401), "a good key is refused");
        statuses.iter().all(|status| *status == 200).then_some(())
    });
}

/// Connections stay open and nothing passes; what was held back comes late.
#[test]
fn by_a_proxy_that_passes_nothing_on() {
    let (run, proxy) = start(TcpProxy::start);
    cut_and_heal(
        &run,
        || proxy.fall_silent(Silence::Both),
        || proxy.fall_silent(Silence::None),
    );
}

/// Connections are closed and refused.
#[test]
fn by_a_proxy_that_refuses() {
    let (run, proxy) = start(TcpProxy::start);
    cut_and_heal(&run, || proxy.refuse(), || proxy.accept());
}

/// The store hears the gateway and the gateway does not hear the store (S6):
/// polls that arrive must not hold rotations up for ever.
#[test]
fn by_a_proxy_that_passes_no_answer_on() {
    let (run, proxy) = start(TcpProxy::start);
    cut_and_heal(
        &run,
        || proxy.fall_silent(Silence::Answers),
        || proxy.fall_silent(Silence::None),
    );
}

/// As between two machines: packets are lost without a word.
#[test]
fn by_a_pulled_cable() {
    let network = match Network::make() {
        Ok(network) => network,
        Err(why) => {
            skipped(&why);
            return;
        }
    };
    let at_the_far_end = |store| TcpProxy::start_at(network.listen(), store);
    let (run, _proxy) = start(at_the_far_end);
    cut_and_heal(&run, || network.pull(), || network.plug());
}

/// Says that a test that machines need not be able to run is skipped: it takes
/// root. Not by a macro, because the harness hides what those print.
fn skipped(why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED by_a_pulled_cable: {why}");
}

/// The requests of a cut-off gateway that wait for the store must not be let
/// in by what they find when it is healed: rotated in the meantime, refused.
#[test]
fn what_waited_through_the_cut_is_decided_by_what_holds_after_it() {
    let (run, proxy) = start(TcpProxy::start);
    let key = &run.keys[0];
    accepted(&mut run.probe(), key);
    proxy.fall_silent(Silence::Both);
    let rotated = run.rotate(0, key);
    let (ended, asked) = (AtomicBool::new(false), AtomicU32::new(0));
    let client = Client::new(&run.gateway(CUT_OFF).url());
    // Also where the test fails.
    let at_the_latest = Instant::now() + 2 * SOON;
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) && Instant::now() < at_the_latest {
                    let status = client.get(SCRAPE, &key.text).status;
                    assert!(matches!(status, 401 | 503), "{status}");
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        eventually("answers before the cut is healed", || {
            (asked.load(Ordering::Relaxed) >= 8).then_some(())
        });
        proxy.fall_silent(Silence::None);
        let mut far = run.probe_of(CUT_OFF);
        comes_back(&mut far, &rotated.new);
        refused(&mut far, key);
        ended.store(true, Ordering::Relaxed);
    });
    run.fleet.assert_no_trap();
}
