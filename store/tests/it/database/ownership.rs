//! An owner whose lock file, database or log was taken away notices, and stops
//! before it harms the next owner (S10).

use std::fs;

use rustix::process::Signal;

use crate::gateways::feed::Gateway;
use crate::process::{Home, Store, User, await_some, fresh_digest, rotation};

const ROTATED: &str = "SELECT count(*) FROM audit WHERE action = 'rotated'";

/// How an owner loses the database.
const LOSSES: [fn(&Home); 5] = [
    |home| fs::remove_file(home.path("rekey.db.lock")).unwrap(),
    |home| {
        let lock = home.path("rekey.db.lock");
        fs::rename(&lock, home.path("old.lock")).unwrap();
        fs::copy(home.path("old.lock"), lock).unwrap();
    },
    |home| {
        // A backup that is moved, not copied, into its place.
        fs::rename(home.database(), home.path("old.db")).unwrap();
        fs::copy(home.path("old.db"), home.database()).unwrap();
    },
    |home| fs::rename(home.path("rekey.db-wal"), home.path("old-wal")).unwrap(),
    |home| {
        // A backup that is copied over it.
        let backup = fs::read(home.database()).unwrap();
        fs::write(home.database(), backup).unwrap();
    },
];

fn served() -> (Home, Store, User, Gateway) {
    let home = Home::new();
    let store = home.start();
    let user = store.add_user("alice");
    let mut gateway = Gateway::new(100);
    gateway.follow(&store);
    (home, store, user, gateway)
}

fn ended(mut store: Store) -> i32 {
    let status = await_some(|| store.child.try_wait().unwrap());
    status.code().unwrap()
}

#[test]
fn s10_an_owner_that_lost_its_files_stops_and_says_why() {
    for (number, lose) in LOSSES.iter().enumerate() {
        let (home, store, ..) = served();
        lose(&home);
        // Nobody asks it for anything.
        assert_eq!(ended(store), 1, "loss {number}");
        let log = home.log();
        assert!(log.contains("while this store ran"), "{log}");
        assert!(log.contains("rekey.db"), "{log}");
    }
}

#[test]
fn s10_an_owner_that_wakes_after_its_replacement_grants_and_commits_nothing() {
    let (home, first, user, mut gateway) = served();
    let other = first.add_user("bob");
    first.signal(Signal::STOP);
    fs::remove_file(home.path("rekey.db.lock")).unwrap();
    // An orchestrator has called it stale.
    let second = home.start();
    let new = fresh_digest();
    let rotated = second.rotate(&rotation(&user.digest, &new));
    assert_eq!(rotated.json()["outcome"], "rotated");
    let committed = home.count(ROTATED);

    // Requests that were under way to the first when it stood still.
    std::thread::scope(|scope| {
        let poll = scope.spawn(|| {
            let body = serde_json::json!({"gateway": "ab".repeat(16), "lease_ms": 100, "poll": 1});
            post(&first, "/v1/feed", &body.to_string())
        });
        let rotate = scope.spawn(|| {
            let body = rotation(&other.digest, &fresh_digest()).to_string();
            post(&first, "/v1/keys/rotate", &body)
        });
        first.await_unread(2);
        first.signal(Signal::CONT);
        for answer in [poll.join().unwrap(), rotate.join().unwrap()] {
            assert!(answer.is_none_or(|status| status == 503), "{answer:?}");
        }
    });
    assert_eq!(ended(first), 1);
    assert_eq!(home.count(ROTATED), committed);
    // The next owner goes on.
    gateway.follow(&second);
    assert_eq!(second.resolve(&new).json()["state"], "active");
    let request = rotation(&other.digest, &fresh_digest());
    assert_eq!(second.rotate(&request).json()["outcome"], "rotated");
}

fn post(store: &Store, path: &str, body: &str) -> Option<u16> {
    let url = format!("{}{path}", store.url);
    let token = Some(crate::process::STORE_TOKEN);
    let answer = store.try_call("POST", &url, token, Some(body));
    answer.ok().map(|answer| answer.status)
}

#[test]
fn s10_a_life_that_another_owner_has_begun_ends_the_commits_of_this_one() {
    let (home, store, user, _) = served();
    // As between the look at the lock file and the commit.
    home.sql()
        .execute_batch(
            "INSERT INTO incarnations (first_revision, id, started_ms)
             SELECT revision + 1, randomblob(16), 0 FROM meta",
        )
        .unwrap();
    let body = rotation(&user.digest, &fresh_digest()).to_string();
    let status = post(&store, "/v1/keys/rotate", &body);
    assert!(status.is_none_or(|status| status == 503), "{status:?}");
    assert_eq!(home.count(ROTATED), 0);
    assert_eq!(ended(store), 1);
}
