//! Rotations as a whole: races, repeats, burned ids, the rate limit, restarts.

mod crash;
pub(crate) mod replay;
mod replay_files;
pub(crate) mod unwanted;
mod ways;

use std::sync::Barrier;

use serde_json::{Value, json};

use crate::process::{Home, Store, User, again, await_some, fresh_digest, rotation};

const ACTIVE: &str = "SELECT count(*) FROM keys WHERE state = 'active'";
const ROTATED: &str = "SELECT count(*) FROM audit WHERE action = 'rotated'";

fn outcome(store: &Store, request: &Value) -> String {
    let body = store.rotate(request).json();
    let text = body["outcome"].as_str().or(body["error"]["code"].as_str());
    text.unwrap().to_owned()
}

fn quick(home: &Home) -> Store {
    home.start_as(&mut home.serve_with("--rotation-interval", "1s"))
}

#[test]
fn i3_of_200_racing_rotations_exactly_one_wins() {
    let home = Home::new();
    let store = home.start();
    let user = store.add_user("alice");
    let start = Barrier::new(200);
    let race = || {
        let new = fresh_digest();
        let request = rotation(&user.digest, &new);
        start.wait();
        let body = store.rotate(&request).json();
        // S1, S2: who has an answer sees at least what it says.
        let seen = store.resolve(&user.digest).json();
        assert_eq!(seen["state"], "revoked");
        assert!(seen["head"]["revision"].as_u64() >= body["revision"].as_u64());
        (body["outcome"].as_str().unwrap().to_owned(), new)
    };
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let racers: Vec<_> = (0..200).map(|_| scope.spawn(race)).collect();
        racers
            .into_iter()
            .map(|racer| racer.join().unwrap())
            .collect()
    });
    let winners: Vec<_> = outcomes
        .iter()
        .filter(|(outcome, _)| outcome == "rotated")
        .collect();
    let losers = outcomes.iter().filter(|(outcome, _)| outcome == "revoked");
    assert_eq!((winners.len(), losers.count()), (1, 199));
    assert_eq!(store.resolve(&winners[0].1).json()["state"], "active");
    assert_eq!(store.stop(), Some(0));
    assert_eq!((home.count(ACTIVE), home.count(ROTATED)), (1, 1));
    assert_eq!(home.count("SELECT count(*) FROM keys"), 2);
}

#[test]
fn s11_a_repeat_gets_the_same_answer_and_other_digests_conflict() {
    let home = Home::new();
    let store = home.start();
    let user = store.add_user("alice");
    let request = rotation(&user.digest, &fresh_digest());
    let first = store.rotate(&request);
    for repeat in [&request, &again(&request), &again(&again(&request))] {
        assert_eq!(store.rotate(repeat).text, first.text);
    }
    for field in ["old_digest", "new_digest"] {
        let mut other = request.clone();
        other[field] = json!(fresh_digest());
        let answer = store.rotate(&other);
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (409, "rotation_conflict")
        );
    }
    // Also by the next life of the store.
    store.kill();
    let store = home.start();
    assert_eq!(store.rotate(&again(&request)).text, first.text);
    assert_eq!(home.count(ROTATED), 1);
}

#[test]
fn s11_a_refused_second_attempt_burns_its_id() {
    let home = Home::new();
    let store = quick(&home);
    let user = store.add_user("alice");
    let taken = store.add_user("bob").digest;
    let now = fresh_digest();
    assert_eq!(outcome(&store, &rotation(&user.digest, &now)), "rotated");
    let user = User {
        key: String::new(),
        digest: now,
    };
    // One id is refused only as first attempt, one as second, one for its key.
    let free = rotation(&user.digest, &fresh_digest());
    assert_eq!(outcome(&store, &free), "rate_limited");
    let burned = rotation(&user.digest, &fresh_digest());
    assert_eq!(outcome(&store, &again(&burned)), "rate_limited");
    store.await_allowed(&user.digest);
    let exists = rotation(&user.digest, &taken);
    assert_eq!(outcome(&store, &again(&exists)), "already_exists");
    let unknown = rotation(&fresh_digest(), &fresh_digest());
    assert_eq!(outcome(&store, &again(&unknown)), "unknown_key");
    // The late first attempts: the burned ones never commit.
    assert_eq!(outcome(&store, &burned), "rate_limited");
    assert_eq!(outcome(&store, &exists), "already_exists");
    assert_eq!(outcome(&store, &unknown), "unknown_key");
    assert_eq!(store.resolve(&user.digest).json()["state"], "active");
    assert_eq!(outcome(&store, &free), "rotated");
    let revoked = rotation(&user.digest, &fresh_digest());
    assert_eq!(outcome(&store, &again(&revoked)), "revoked");
    assert_eq!(
        home.count("SELECT count(*) FROM rotations WHERE outcome <> 'rotated'"),
        4
    );
    assert_eq!(home.count(ROTATED), 2);
}

#[test]
fn i5_one_rotation_per_interval_and_refusals_do_not_count() {
    let home = Home::new();
    let store = quick(&home);
    let mut user = store.add_user("alice");
    for _ in 0..2 {
        let new = fresh_digest();
        let request = rotation(&user.digest, &new);
        assert_eq!(outcome(&store, &request), "rotated");
        user.digest = new;
        let limited = store.rotate(&rotation(&new, &fresh_digest()));
        assert_eq!(
            limited.json(),
            json!({ "outcome": "rate_limited", "retry_after": 1, "rotation_interval": 1 })
        );
        // Neither a repeat nor a refusal begins the interval anew.
        let last = "SELECT last_rotated_ms FROM users";
        let before = home.count(last);
        assert_eq!(outcome(&store, &again(&request)), "rotated");
        assert_eq!(home.count(last), before);
        store.await_allowed(&user.digest);
    }
    assert_eq!(home.count(ROTATED), 2);
}

#[test]
fn s12_a_clock_that_was_set_back_holds_nobody_longer_than_the_interval() {
    let home = Home::new();
    let store = quick(&home);
    let user = store.add_user("alice");
    let new = fresh_digest();
    store.rotate(&rotation(&user.digest, &new));
    assert_eq!(store.stop(), Some(0));
    // As if all that had happened while the clock was a day ahead.
    home.sql()
        .execute_batch(
            "UPDATE meta SET time_ms = time_ms + 86400000;
             UPDATE users SET last_rotated_ms = last_rotated_ms + 86400000;",
        )
        .unwrap();
    let store = quick(&home);
    store.await_allowed(&new);
    assert_eq!(outcome(&store, &rotation(&new, &fresh_digest())), "rotated");
    // And the time on record went on, not back.
    let order = "SELECT last_rotated_ms > created_ms + 86400000 FROM users";
    assert_eq!(home.count(order), 1);
}

#[test]
fn s8_a_restart_is_a_new_incarnation_with_higher_revisions() {
    let home = Home::new();
    let store = home.start();
    let user = store.add_user("alice");
    let before = store.resolve(&user.digest).json();
    store.kill();
    let store = home.start();
    let after = store.resolve(&user.digest).json();
    assert_eq!(before["revision"], after["revision"]);
    assert_ne!(before["head"]["incarnation"], after["head"]["incarnation"]);
    assert!(after["head"]["revision"].as_u64() > before["head"]["revision"].as_u64());
    let next = store
        .rotate(&rotation(&user.digest, &fresh_digest()))
        .json();
    let expected = after["head"]["revision"].as_u64().unwrap() + 1;
    assert_eq!(next["revision"], expected);
}

#[test]
fn answers_are_kept_for_a_day() {
    let home = Home::new();
    let store = home.start();
    let users = [store.add_user("alice"), store.add_user("bob")];
    for user in &users {
        let request = rotation(&user.digest, &fresh_digest());
        assert_eq!(outcome(&store, &request), "rotated");
    }
    assert_eq!(store.stop(), Some(0));
    let aged = "UPDATE rotations SET at_ms = at_ms - ?1 WHERE user_id = ?2";
    home.sql()
        .execute(aged, (24 * 3_600_000 + 1, "alice"))
        .unwrap();
    home.sql().execute(aged, (23 * 3_600_000, "bob")).unwrap();
    // The first transaction of a life prunes.
    let store = home.start();
    store.add_user("carol");
    assert_eq!(
        home.count("SELECT count(*) FROM rotations WHERE user_id = 'bob'"),
        1
    );
    assert_eq!(home.count("SELECT count(*) FROM rotations"), 1);
}

#[test]
fn answers_that_are_over_go_however_many_there_are() {
    let home = Home::new();
    let store = home.start();
    assert_eq!(store.stop(), Some(0));
    home.sql()
        .execute_batch(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30000)
             INSERT INTO rotations SELECT randomblob(16), zeroblob(32), randomblob(32),
                'revoked', NULL, 7, i, NULL FROM n;
             INSERT INTO rotations SELECT randomblob(16), zeroblob(32), randomblob(32),
                'unknown_key', NULL, NULL, unixepoch() * 1000 + i, NULL
                FROM (SELECT 1 AS i UNION SELECT 2);",
        )
        .unwrap();
    // Three turns of a minute each would have done it before. One change does.
    let store = home.start();
    let began = std::time::Instant::now();
    let user = store.add_user("alice");
    await_some(|| (home.count("SELECT count(*) FROM rotations") < 10).then_some(()));
    assert!(began.elapsed() < std::time::Duration::from_secs(50));
    // And others go in between.
    assert_eq!(
        outcome(&store, &rotation(&user.digest, &fresh_digest())),
        "rotated"
    );
}
