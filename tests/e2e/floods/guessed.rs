//! Random keys by the thousand. How fast they are refused, and what it costs the
//! others, is `cargo xtask bench floods`.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use rekey_load::{Book, Connection, get, import, random_key, regenerate};
use rekey_protocol::{RESOLVE_PATH, ROTATE_PATH};
use rekey_testbed::FleetOptions;
use serde_json::json;

use crate::support::fleet::{self, TestFleet, eventually, stat};
use crate::support::store_view::{answered, metric};

/// Users whose keys are asked for in the midst of it; more than the table holds.
const USERS: usize = 200;
/// Slots of the table: with four keys each most of the users are evicted.
const SLOTS: u32 = 8;
/// The budget, and what may be asked at once.
const PER_SECOND: u32 = 40;
const BURST: f64 = 80.0;
/// How often each user asks while it lasts.
const ROUNDS: usize = 12;
/// Threads that guess.
const GUESSERS: usize = 3;

/// What the store answered about keys that it does not know.
const UNKNOWN: &str =
    r#"rekey_store_requests_total{listener="gateway",endpoint="/v1/keys/resolve",status="404"}"#;
const OVER_BUDGET: &str = "wasmcustom.rekey.misses.event.over_budget";

/// Everything that is no key, or not one of ours.
fn nonsense(random: &mut fastrand::Rng, number: usize) -> String {
    let key = random_key(random);
    match number % 6 {
        // A wrong checksum; once in 57 billion it is right.
        0 => key,
        1 => key[..random.usize(1..key.len())].to_owned(),
        2 => format!("{key}{}", random.alphanumeric()),
        3 => key.replace("sb_live_", "sb_test_"),
        4 => key.replacen(random.alphanumeric(), "-", 1) + "_",
        _ => (0..random.usize(1..200))
            .map(|_| random.alphanumeric())
            .collect(),
    }
}

fn calls(fleet: &TestFleet) -> u64 {
    answered(&fleet.store, RESOLVE_PATH) + answered(&fleet.store, ROTATE_PATH)
}

#[test]
fn malformed_keys_and_wrong_checksums_cost_no_call() {
    let fleet = fleet::start(FleetOptions::default());
    let before = calls(&fleet);
    let mut random = fastrand::Rng::new();
    let mut connection = Connection::to(fleet.gateways[0].address());
    for number in 0..6_000 {
        let key = nonsense(&mut random, number);
        let request = match number % 7 {
            0 => regenerate(&key),
            _ => get(&key),
        };
        let answer = connection.exchange(&request).unwrap();
        assert_eq!(answer.status, 401, "{}", answer.body);
        assert!(answer.body.contains("invalid_api_key"), "{}", answer.body);
    }
    assert_eq!(calls(&fleet), before);
    assert_eq!(stat(&fleet.gateways[0], OVER_BUDGET), 0);
    fleet.assert_no_trap();
}

#[test]
fn unknown_keys_stay_within_their_budget_and_hold_up_nobody() {
    let options = FleetOptions {
        plugin: json!({
            "checksum": "off", "cache_slots": SLOTS, "unknown_keys_per_second": PER_SECOND,
            // The store shares a busy machine.
            "store": { "resolve_timeout_ms": 20_000 },
        }),
        ..FleetOptions::default()
    };
    let fleet = fleet::start(options);
    let gateway = fleet.gateways[0].address();
    let keys = import(&fleet.store, "u", USERS, &Book::default()).unwrap();
    let mut user = Connection::to(gateway);
    let mut served = |key: &str| {
        let answer = user.exchange(&get(key)).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
    };
    keys.iter().for_each(|key| served(&key.text));
    let missed = || {
        stat(
            &fleet.gateways[0],
            "wasmcustom.rekey.misses.event.acquaintance",
        )
    };
    let (began, before) = (Instant::now(), metric(&fleet.store, UNKNOWN));
    let (ended, guessed) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..GUESSERS {
            scope.spawn(|| {
                let mut random = fastrand::Rng::new();
                let mut connection = Connection::to(gateway);
                while !ended.load(Ordering::Relaxed) {
                    let request = get(&random_key(&mut random));
                    let answer = connection.exchange(&request).unwrap();
                    // I7: what was not asked about is not refused for good.
                    let code = match answer.status {
                        401 => "invalid_api_key",
                        _ => "key_store_unavailable",
                    };
                    assert!(answer.body.contains(code), "{}", answer.body);
                    guessed.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        // An assertion in here must not leave the others waiting.
        let _end = End(&ended);
        eventually("a budget that is used up", || {
            (stat(&fleet.gateways[0], OVER_BUDGET) > 0).then_some(())
        });
        let evicted = missed();
        for _ in 0..ROUNDS {
            keys.iter().for_each(|key| served(&key.text));
            // One that was just made, and never seen here: its checksum is right.
            served(&fleet.user().api_key);
        }
        let asked = missed() - evicted;
        assert!(asked > USERS as u64, "{asked}: nobody was evicted");
    });
    let unknown = metric(&fleet.store, UNKNOWN) - before;
    let budget = BURST + f64::from(PER_SECOND) * began.elapsed().as_secs_f64();
    let guessed = guessed.into_inner();
    println!("{guessed} guesses, {unknown} calls, {budget:.0} allowed");
    assert!(unknown <= budget, "{unknown} calls, {budget} allowed");
    assert!(unknown >= BURST, "{unknown}: there was no flood");
    assert!(guessed as f64 > unknown, "{guessed} guesses");
    fleet.assert_no_trap();
}

/// Says that it is over, also where a test fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
