//! Who has half of the pair gets nothing, and not for long; and what else ends
//! a replay (X4).

use std::thread;
use std::time::{Duration, Instant};

use rekey_protocol::ChecksumSecrets;
use rekey_testbed::FleetOptions;
use serde_json::Value;

use super::options;
use super::owner::{Owner, is_replay};
use crate::support::client::{Answer, Client, REGENERATE, SCRAPE, bearer};
use crate::support::fleet::{self, TestFleet, eventually};
use crate::support::store_view;

const GATEWAYS: usize = 2;
/// Wrong proofs that end it.
const TRIES: usize = 5;
/// For how long a replay outlives the first use of the new key.
const AFTER_USE: Duration = Duration::from_secs(30);
/// How late a test may see that on a busy machine.
const SLACK: Duration = Duration::from_secs(10);

fn start() -> TestFleet {
    start_with(options())
}

fn start_with(options: FleetOptions) -> TestFleet {
    fleet::start(FleetOptions {
        gateways: GATEWAYS,
        ..options
    })
}

fn revoked() -> (u16, String) {
    (401, "api_key_revoked".to_owned())
}

fn with(client: &Client, key: &str, idempotency_key: &str) -> Answer {
    let mut headers = bearer(key);
    headers.push(("idempotency-key", idempotency_key.to_owned()));
    client.send("POST", REGENERATE, &headers, "")
}

fn guess(number: usize) -> String {
    format!("a-guess-of-the-thief-{number:04}")
}

/// The owner's events of this kind.
fn events(fleet: &TestFleet, owner: &Owner, action: &str) -> Vec<Value> {
    let mut events = store_view::audit(&fleet.store, &owner.user.user_id);
    events.retain(|event| event["action"] == action);
    events
}

#[test]
fn x4_the_old_key_alone_gets_nothing_and_uses_nothing_up() {
    let fleet = start();
    let owner = Owner::new(&fleet, "owner");
    let old = &owner.user.api_key;
    let key = owner.ask(&fleet.client()).new_key();
    for gateway in 0..GATEWAYS {
        let client = fleet.client_of(gateway);
        for _ in 0..2 * TRIES {
            assert_eq!(client.regenerate(old).outcome(), revoked());
            let short = with(&client, old, "too-short");
            assert_eq!(short.outcome(), (400, "invalid_idempotency_key".to_owned()));
            // Everywhere but on the endpoint the pair is good for nothing.
            let elsewhere = client.send("POST", SCRAPE, &owner.headers(), "");
            assert_eq!(elsewhere.outcome(), revoked());
        }
        owner.is_told_again(&client, &key);
    }
    assert_eq!(events(&fleet, &owner, "replay_refused").len(), 0);
    owner.has(&fleet, &fleet.client(), &key);
    fleet.assert_no_trap();
}

#[test]
fn x4_five_wrong_idempotency_keys_end_it_on_every_gateway() {
    let fleet = start();
    let owner = Owner::new(&fleet, "owner");
    let old = &owner.user.api_key;
    let key = owner.ask(&fleet.client()).new_key();
    for number in 0..TRIES {
        for gateway in 0..GATEWAYS {
            owner.is_told_again(&fleet.client_of(gateway), &key);
        }
        let client = fleet.client_of(number % GATEWAYS);
        let tried = with(&client, old, &guess(number));
        assert_eq!(tried.outcome(), revoked(), "try {number}");
    }
    for gateway in 0..GATEWAYS {
        let client = fleet.client_of(gateway);
        assert_eq!(owner.ask(&client).outcome(), revoked(), "the right one");
        assert_eq!(with(&client, old, &guess(9)).outcome(), revoked());
    }
    let refused = events(&fleet, &owner, "replay_refused");
    assert_eq!(refused.len(), TRIES);
    for event in refused {
        let address = event["client_address"].as_str().unwrap_or_default();
        assert!(address.starts_with("127.0.0.1:"), "{event}");
        assert!(event["client_request_id"].is_string(), "{event}");
    }
    owner.has(&fleet, &fleet.client(), &key);
    fleet.assert_no_trap();
}

#[test]
fn x2_the_idempotency_key_without_the_old_key_gets_nothing() {
    let fleet = start();
    let owner = Owner::new(&fleet, "owner");
    let once = &owner.idempotency_key;
    let client = fleet.client();
    let key = owner.ask(&client).new_key();
    // A user of the same API, who gets a key of his own.
    let mut thief = Owner::new(&fleet, "thief");
    thief.idempotency_key.clone_from(once);
    let answer = thief.ask(&client);
    assert!(!is_replay(&answer) && answer.new_key() != key);
    thief.is_told_again(&client, &answer.new_key());
    // Nobody's key, and the new one, whose hour has begun.
    let secrets = ChecksumSecrets::parse(&fleet.secrets.checksum_secret).unwrap();
    let made_up = secrets.issue(&[7; rekey_protocol::RANDOM_BYTES]).unwrap();
    let unknown = with(&client, made_up.expose(), once);
    assert_eq!(unknown.outcome(), (401, "invalid_api_key".to_owned()));
    let limited = with(&client, &key, once);
    assert_eq!(limited.outcome(), (429, "rate_limited".to_owned()));
    assert_eq!(events(&fleet, &owner, "replay_refused").len(), 0);
    owner.is_told_again(&client, &key);
    owner.has(&fleet, &client, &key);
    fleet.assert_no_trap();
}

/// I5: the hour began with the rotation, however often that is answered.
#[test]
fn x3_a_replay_is_no_rotation() {
    let fleet = start();
    let owner = Owner::new(&fleet, "owner");
    let key = owner.ask(&fleet.client()).new_key();
    let left = |gateway| {
        let limited = fleet.client_of(gateway).regenerate(&key);
        assert_eq!(limited.outcome(), (429, "rate_limited".to_owned()));
        let left = limited.header("retry-after");
        left.parse::<u64>().expect("seconds")
    };
    let first = left(0);
    // Rounded up: once it has passed a second, an hour begun anew would show.
    let before = eventually("the hour to go on", || {
        Some(left(0)).filter(|left| *left < first)
    });
    for gateway in 0..GATEWAYS {
        owner.is_told_again(&fleet.client_of(gateway), &key);
    }
    // By a gateway that has not heard of the new key, and asks the store.
    assert!(left(1) <= before);
    assert_eq!(events(&fleet, &owner, "rotated").len(), 1);
    assert_eq!(events(&fleet, &owner, "replayed").len(), GATEWAYS);
    owner.has(&fleet, &fleet.client(), &key);
    fleet.assert_no_trap();
}

#[test]
fn x4_it_ends_half_a_minute_after_the_new_key_was_used() {
    let fleet = start();
    let (owner, unused) = (Owner::new(&fleet, "owner"), Owner::new(&fleet, "unused"));
    let client = fleet.client();
    let key = owner.ask(&client).new_key();
    let unused_key = unused.ask(&client).new_key();
    let used = Instant::now();
    assert_eq!(client.get(SCRAPE, &key).status, 200);
    let limit = used + AFTER_USE + SLACK;
    loop {
        let answer = owner.ask(&client);
        let after = used.elapsed();
        if answer.status == 401 {
            assert!(after >= AFTER_USE, "{after:?}");
            break;
        }
        assert_eq!(answer.new_key(), key);
        assert!(Instant::now() < limit, "still after {after:?}");
        // Each is written down by the store.
        thread::sleep(Duration::from_millis(100));
    }
    for gateway in 0..GATEWAYS {
        let client = fleet.client_of(gateway);
        assert_eq!(owner.ask(&client).outcome(), revoked());
        unused.is_told_again(&client, &unused_key);
    }
    owner.has(&fleet, &client, &key);
    fleet.assert_no_trap();
}

#[test]
fn x4_it_ends_when_the_new_key_is_revoked() {
    let fleet = start();
    let owner = Owner::new(&fleet, "owner");
    let key = owner.ask(&fleet.client()).new_key();
    for gateway in 0..GATEWAYS {
        owner.is_told_again(&fleet.client_of(gateway), &key);
    }
    let operator = |command: &str| {
        let mut cli = fleet.store.cli();
        cli.args(["keys", command, "--user", &owner.user.user_id]);
        let output = cli.output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    operator("revoke");
    assert_dead(&fleet, &owner);
    // Nor does it come back with the next key.
    operator("issue");
    assert_dead(&fleet, &owner);
    for gateway in 0..GATEWAYS {
        let new = fleet.client_of(gateway).get(SCRAPE, &key);
        assert_eq!(new.outcome(), revoked());
    }
    fleet.assert_no_trap();
}

#[test]
fn x4_it_ends_when_the_new_key_is_rotated() {
    let fleet = start_with(FleetOptions {
        rotation_interval: "1s".to_owned(),
        ..options()
    });
    let owner = Owner::new(&fleet, "owner");
    let key = owner.ask(&fleet.client()).new_key();
    for gateway in 0..GATEWAYS {
        owner.is_told_again(&fleet.client_of(gateway), &key);
    }
    let mut next = Owner::new(&fleet, "next");
    next.user.api_key.clone_from(&key);
    let newest = eventually("the end of the hour", || {
        let answer = next.ask(&fleet.client());
        (answer.status == 200).then(|| answer.new_key())
    });
    assert_dead(&fleet, &owner);
    // The second rotation has a replay of its own.
    for gateway in 0..GATEWAYS {
        next.is_told_again(&fleet.client_of(gateway), &newest);
    }
    fleet.assert_no_trap();
}

/// On every gateway, and at once: the answer of what ended it waited for all.
fn assert_dead(fleet: &TestFleet, owner: &Owner) {
    for gateway in 0..GATEWAYS {
        let client = fleet.client_of(gateway);
        assert_eq!(owner.ask(&client).outcome(), revoked());
    }
}

#[test]
fn the_operator_can_switch_it_off() {
    let mut switched_off = options();
    switched_off.store_args = vec!["--no-replay".to_owned()];
    let fleet = start_with(switched_off);
    let owner = Owner::new(&fleet, "owner");
    let answer = owner.ask(&fleet.client());
    assert!(!is_replay(&answer));
    let key = answer.new_key();
    for gateway in 0..GATEWAYS {
        let client = fleet.client_of(gateway);
        assert_eq!(owner.ask(&client).outcome(), revoked());
        owner.has(&fleet, &client, &key);
    }
    fleet.assert_no_trap();
}
