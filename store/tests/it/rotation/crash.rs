//! Death at every step of a rotation, and at random moments: after the restart
//! the same `rotation_id` ends well, and there was always one active key.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::time::Duration;

use rekey_protocol::Digest;
use rekey_store::crash::POINTS;
use serde_json::{Value, json};

use crate::process::{Home, STORE_TOKEN, Store, User, again, fresh_digest, rotation, stdout};
use crate::rotation::replay::{OURS, repeatable};

const PROGRAM: &str = env!("CARGO_BIN_EXE_rekey-store-crash-points");
const ACTIVE: &str = "SELECT count(*) FROM keys WHERE state = 'active'";
const ROTATED: &str = "SELECT count(*) FROM audit WHERE action = 'rotated'";

/// After the death of a store that was rotating: everything holds, and the
/// next attempt succeeds.
fn check_after(home: &Home, request: &Value, what: &str) -> Store {
    let before = home.count(ROTATED);
    assert_eq!(home.count(ACTIVE), 1, "{what}");
    let store = home.start();
    let answer = store.rotate(&again(request));
    assert_eq!(answer.json()["outcome"], "rotated", "{what}: {answer:?}");
    assert_eq!(home.count(ACTIVE), 1, "{what}");
    assert!(home.count(ROTATED) <= before + 1, "{what}");
    let active = home.sql().query_row(
        "SELECT hex(digest) FROM keys WHERE state = 'active'",
        [],
        |row| row.get::<_, String>(0),
    );
    let expected = request["new_digest"].as_str().unwrap().to_uppercase();
    assert_eq!(active.unwrap(), expected, "{what}");
    let check: String = home
        .sql()
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(check, "ok", "{what}");
    store
}

/// A store with one user dies at this point of a rotation of their key, which
/// `request` makes for the key's digest. Returns the request that got no answer.
fn dies_at(point: &str, request: impl FnOnce(&Digest) -> Value) -> (Home, User, Value) {
    let home = Home::new();
    let store = home.start();
    let user = store.add_user("alice");
    assert_eq!(store.stop(), Some(0));
    let mut serve = home.serve_by(PROGRAM, "", "");
    let mut store = home.start_as(serve.env("REKEY_STORE_CRASH_AT", point));
    let request = request(&user.digest);
    let (url, body) = (format!("{}/v1/keys/rotate", store.url), request.to_string());
    let lost = store.try_call("POST", &url, Some(STORE_TOKEN), Some(&body));
    assert!(lost.is_err(), "{point}: {lost:?}");
    assert_eq!(store.child.wait().unwrap().signal(), Some(9), "{point}");
    (home, user, request)
}

/// The client repeats its request at another gateway: whatever was committed is
/// its own (X6: no rotation without its record).
#[test]
fn x6_a_death_at_any_step_leaves_no_client_without_its_key() {
    for point in POINTS {
        let first = fresh_digest();
        let (home, user, _) = dies_at(point, |old| repeatable(old, &first, OURS));
        let store = home.start();
        let second = fresh_digest();
        let answer = store.rotate(&repeatable(&user.digest, &second, OURS));
        let answer = answer.json();
        let new = match answer["outcome"].as_str() {
            Some("rotated") => second,
            _ => {
                let replayed = &answer["replayed"]["new_digest"];
                assert_eq!(replayed, &json!(first), "{point}: {answer}");
                first
            }
        };
        assert_eq!(store.resolve(&new).json()["state"], "active", "{point}");
        assert_eq!(home.count(ROTATED), 1, "{point}");
    }
}

#[test]
fn i3_a_death_at_any_step_leaves_all_or_nothing() {
    for point in POINTS {
        let (home, _, request) = dies_at(point, |old| rotation(old, &fresh_digest()));
        // S2: nobody was told, but what was committed stays committed.
        let after = [
            "rotate.after_commit",
            "rotate.after_mark",
            "rotate.before_barrier",
            "rotate.before_answer",
        ];
        let committed = after.contains(point);
        assert_eq!(home.count(ROTATED), i64::from(committed), "{point}");
        let store = check_after(&home, &request, point);
        assert_eq!(home.count(ROTATED), 1, "{point}");
        assert_eq!(store.stop(), Some(0));
    }
}

#[test]
fn i3_a_kill_at_a_random_moment_leaves_all_or_nothing() {
    let home = Home::new();
    let store = home.start();
    let mut current = store.add_user("alice").digest;
    assert_eq!(store.stop(), Some(0));
    for seed in 0_u64..25 {
        let new = fresh_digest();
        let request = rotation(&current, &new);
        // No rate limit in the way: as if the last rotation were long ago.
        home.sql()
            .execute_batch("UPDATE users SET last_rotated_ms = NULL")
            .unwrap();
        let store = home.start();
        std::thread::scope(|scope| {
            let call = || {
                let url = format!("{}/v1/keys/rotate", store.url);
                let body = request.to_string();
                let _ = store.try_call("POST", &url, Some(STORE_TOKEN), Some(&body));
            };
            scope.spawn(call);
            // Spread over the few milliseconds that a rotation takes.
            std::thread::sleep(Duration::from_micros(seed * 397 % 6000));
            store.signal(rustix::process::Signal::KILL);
        });
        drop(store);
        let store = check_after(&home, &request, &format!("seed {seed}"));
        store.kill();
        current = new;
        assert_eq!(home.count(ROTATED), seed as i64 + 1);
    }
}

#[test]
fn the_points_are_listed_and_a_wrong_one_is_refused() {
    let listed = Command::new(PROGRAM).arg("crash-points").output().unwrap();
    assert_eq!(stdout(&listed).lines().collect::<Vec<_>>(), POINTS);
    let home = Home::new();
    for wrong in ["nowhere", "rotate.received:0", "rotate.received:x"] {
        let mut serve = home.serve_by(PROGRAM, "", "");
        let output = serve.env("REKEY_STORE_CRASH_AT", wrong).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains("not a crash point"), "{text}");
    }
}

#[test]
fn the_nth_passing_counts() {
    let home = Home::new();
    let mut serve = home.serve_by(PROGRAM, "", "");
    serve.env("REKEY_STORE_CRASH_AT", "rotate.before_commit:2");
    let store = home.start_as(&mut serve);
    let users = [store.add_user("alice"), store.add_user("bob")];
    let requests = users.map(|user| rotation(&user.digest, &fresh_digest()));
    assert_eq!(store.rotate(&requests[0]).json()["outcome"], "rotated");
    let (url, body) = (
        format!("{}/v1/keys/rotate", store.url),
        requests[1].to_string(),
    );
    assert!(
        store
            .try_call("POST", &url, Some(STORE_TOKEN), Some(&body))
            .is_err()
    );
    drop(store);
    assert_eq!((home.count(ROTATED), home.count(ACTIVE)), (1, 2));
}
