//! Once per hour: what counts, what does not, and when the hour is over. The
//! hour is `--rotation-interval`, and 3 s here where a test has to wait for it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rekey_testbed::{FleetOptions, until};

use super::options;
use crate::support::client::{Answer, REGENERATE, bearer};
use crate::support::{fleet, store_view};

const INTERVAL: Duration = Duration::from_secs(3);

fn of_three_seconds() -> FleetOptions {
    FleetOptions {
        rotation_interval: "3s".to_owned(),
        ..options()
    }
}

/// `retry_after` of a 429, checked against its header.
fn retry_after(answer: &Answer) -> u64 {
    assert_eq!(answer.outcome(), (429, "rate_limited".to_owned()));
    let seconds = answer.json()["error"]["retry_after"].as_u64();
    let seconds = seconds.expect("whole seconds");
    assert_eq!(answer.header("retry-after"), seconds.to_string());
    seconds
}

#[test]
fn retry_after_falls_with_time_and_then_a_rotation_works_again() {
    let fleet = fleet::start(of_three_seconds());
    let (user, client) = (fleet.user(), fleet.client());
    let first = client.regenerate(&user.api_key).new_key();
    let rotated = Instant::now();

    let mut told = Vec::new();
    let second = until("the end of the interval", fleet::SOON, || {
        let asked = rotated.elapsed();
        let answer = client.regenerate(&first);
        if answer.status == 429 {
            let message = answer.json()["error"]["message"].clone();
            let said = message.as_str().unwrap_or_default();
            assert!(said.contains("once every 3 seconds"), "{said}");
            assert!(said.contains("Revoke now"), "{said}");
            told.push((asked, rotated.elapsed(), retry_after(&answer)));
            return Ok(None);
        }
        Ok(Some(answer.new_key()))
    });
    let waited = rotated.elapsed();
    let second = second.unwrap();

    // The store's clock started before ours did, by the way of its answer.
    assert!(waited + Duration::from_millis(500) > INTERVAL, "{waited:?}");
    assert!(told.is_sorted_by(|earlier, later| earlier.2 >= later.2));
    let seconds: BTreeSet<_> = told.iter().map(|told| told.2).collect();
    assert_eq!(seconds, [1, 2, 3].into(), "{told:?}");
    // Rounded up: who waits so long is never told to wait again.
    for (_, answered, seconds) in &told {
        assert!(*answered + Duration::from_secs(*seconds) + Duration::from_millis(500) > INTERVAL);
    }
    for (asked, _, seconds) in &told {
        let over = asked.as_secs_f32() + *seconds as f32 - INTERVAL.as_secs_f32();
        assert!(over < 1.5, "{over} s more than needed at {asked:?}");
    }

    let keys = store_view::keys(&fleet.store, &user.user_id);
    assert_eq!(keys.active, [store_view::digest(&second)]);
    assert_eq!(keys.rotations, 2);
    let revoked = (401, "api_key_revoked".to_owned());
    for old in [&user.api_key, &first] {
        assert_eq!(client.regenerate(old).outcome(), revoked);
    }
}

#[test]
fn the_hour_is_each_users_own() {
    let fleet = fleet::start(options());
    let client = fleet.client();
    let one = client.regenerate(&fleet.user().api_key).new_key();
    client.regenerate(&fleet.user().api_key).new_key();
    assert!((3590..=3600).contains(&retry_after(&client.regenerate(&one))));
}

#[test]
fn failures_do_not_count_against_the_hour() {
    let fleet = fleet::start(options());
    let (user, client) = (fleet.user(), fleet.client());
    let key = &user.api_key;

    let wrong_method = client.send("PUT", REGENERATE, &bearer(key), "");
    assert_eq!(wrong_method.status, 405);
    let mut too_short = bearer(key);
    too_short.push(("idempotency-key", "short".to_owned()));
    let bad_key = client.send("POST", REGENERATE, &too_short, "");
    assert_eq!(bad_key.status, 400);
    assert_eq!(client.regenerate(&format!("{key}x")).status, 401);
    assert_eq!(store_view::keys(&fleet.store, &user.user_id).rotations, 0);

    let new = client.regenerate(key).new_key();
    // Nor does a refused attempt by the old key, or one too early, move it.
    let first = retry_after(&client.regenerate(&new));
    assert_eq!(client.regenerate(key).status, 401);
    for _ in 0..20 {
        assert!(retry_after(&client.regenerate(&new)) <= first);
    }
    assert_eq!(store_view::keys(&fleet.store, &user.user_id).rotations, 1);
}
