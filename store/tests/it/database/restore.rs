//! A database that is older than what was served: how a start notices it by
//! the lock file, and how long it holds a rotation's answer (S8, S9).

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::gateways::feed::{Gateway, LEASE};
use crate::process::{Home, Store, User, fresh_digest, rotation};

/// Longer than any start and any lease of these tests, shorter than the cap.
const LONG: Duration = Duration::from_secs(6);

fn lock_file(home: &Home) -> PathBuf {
    home.path("rekey.db.lock")
}

fn stop(store: Store) {
    assert_eq!(store.stop(), Some(0));
}

/// Serves one user's rotation after a backup was made, which is returned.
fn served_on(home: &Home, gateway: &mut Gateway) -> (Vec<u8>, User, Value) {
    let store = home.start();
    let user = store.add_user("alice");
    gateway.follow(&store);
    stop(store);
    let backup = fs::read(home.database()).unwrap();
    let store = home.start();
    let request = rotation(&user.digest, &fresh_digest());
    assert_eq!(store.rotate(&request).json()["outcome"], "rotated");
    gateway.follow(&store);
    stop(store);
    (backup, user, request)
}

fn is_refused(store: &Store, gateway: &mut Gateway, request: &Value) {
    for refused in [
        store.resolve(&fresh_digest()),
        store.rotate(request),
        gateway.poll(store),
        Gateway::new(LEASE).poll(store),
    ] {
        let outcome = (refused.status, refused.code());
        assert_eq!(outcome, (503, "unavailable".to_owned()));
        let text = &refused.text;
        assert!(text.contains("--accept-restore"), "{text}");
    }
}

/// Whether a rotation is held for longer than all that these tests granted. It
/// is not waited for.
pub(crate) fn holds_long(store: &Store) -> bool {
    let user = store.add_user(&fresh_digest().to_hex()[..12]);
    let request = rotation(&user.digest, &fresh_digest());
    let url = format!("{}/v1/keys/rotate", store.url);
    let agent = ureq::Agent::config_builder()
        .timeout_global(Some(LONG))
        .build()
        .new_agent();
    let answer = agent
        .post(&url)
        .header(
            "authorization",
            format!("Bearer {}", crate::process::STORE_TOKEN),
        )
        .header("content-type", "application/json")
        .send(request.to_string());
    match answer {
        Ok(answer) => {
            assert_eq!(answer.status().as_u16(), 200);
            false
        }
        Err(error) => {
            assert!(matches!(error, ureq::Error::Timeout(_)), "{error}");
            // It was committed all the same: only its answer is held.
            assert_eq!(store.resolve(&user.digest).json()["state"], "revoked");
            true
        }
    }
}

#[test]
fn s8_a_restored_backup_is_refused_at_the_start_until_it_is_accepted() {
    let home = Home::new();
    let mut gateway = Gateway::new(100);
    let (backup, user, request) = served_on(&home, &mut gateway);

    fs::write(home.database(), &backup).unwrap();
    // Before any gateway is heard, and at every start.
    for _ in 0..2 {
        let store = home.start();
        is_refused(&store, &mut gateway, &request);
        stop(store);
    }
    let log = home.log();
    assert_eq!(log.matches("nothing is served").count(), 2, "{log}");

    let store = home.start_as(home.serve().arg("--accept-restore"));
    assert_eq!(gateway.follow(&store)["reset"], true);
    let found = store.resolve(&user.digest).json();
    assert_eq!(found["state"], "active", "revived: said so");
    assert!(holds_long(&store), "S9: the leases of the lost history");
    store.kill();
    // Accepted for good, also for a gateway that comes back later.
    let mut late = Gateway::new(100);
    late.cursor = Some(json!({"incarnation": "ab".repeat(16), "revision": 12}));
    let store = home.start();
    assert_eq!(late.follow(&store)["reset"], true);
    assert!(holds_long(&store), "S9: the lost history's are not over");
}

#[test]
fn s8_the_right_file_put_back_is_served() {
    let home = Home::new();
    let mut gateway = Gateway::new(100);
    let (backup, user, request) = served_on(&home, &mut gateway);
    let right = fs::read(home.database()).unwrap();
    fs::write(home.database(), &backup).unwrap();
    let store = home.start();
    is_refused(&store, &mut gateway, &request);
    stop(store);
    fs::write(home.database(), &right).unwrap();
    let store = home.start();
    assert_eq!(store.resolve(&user.digest).json()["state"], "revoked");
    assert_eq!(gateway.poll(&store).status, 200);
    assert!(!holds_long(&store));
}

#[test]
fn s8_a_new_database_in_the_place_of_a_served_one_is_refused() {
    let home = Home::new();
    let mut gateway = Gateway::new(100);
    let (_, _, request) = served_on(&home, &mut gateway);
    fs::remove_file(home.database()).unwrap();
    let store = home.start();
    is_refused(&store, &mut gateway, &request);
    stop(store);
    let store = home.start_as(home.serve().arg("--accept-restore"));
    assert_eq!(gateway.follow(&store)["reset"], true);
}

#[test]
fn s9_without_a_whole_record_the_cap_is_waited_out() {
    for torn in [false, true] {
        let home = Home::new();
        let mut gateway = Gateway::new(100);
        let (backup, user, _) = served_on(&home, &mut gateway);
        if torn {
            let mut bytes = fs::read(lock_file(&home)).unwrap();
            for place in [512, 1024] {
                bytes[place + 20] ^= 1;
            }
            fs::write(lock_file(&home), bytes).unwrap();
        } else {
            fs::remove_file(lock_file(&home)).unwrap();
        }
        fs::write(home.database(), &backup).unwrap();
        let store = home.start();
        // Nobody knows: without a gateway there is nothing to notice it by.
        assert_eq!(store.resolve(&user.digest).json()["state"], "active");
        assert!(holds_long(&store));
        // It followed the lost life: its word costs it what it knows, and the
        // operator is told. It proves nothing, and others are served (S8).
        let lost = gateway.cursor.clone();
        let warned = || home.log().matches("begins anew").count();
        assert_eq!(warned(), 0);
        assert_eq!(gateway.follow(&store)["reset"], true);
        gateway.cursor = lost.clone();
        assert_eq!(gateway.follow(&store)["reset"], true);
        assert_eq!(warned(), 1, "once a minute at most");
        let incarnation = lost.unwrap()["incarnation"].clone();
        assert!(home.log().contains(incarnation.as_str().unwrap()));
        assert_eq!(store.metric("foreign_cursors_total"), Some(2));
        assert_eq!(Gateway::new(LEASE).follow(&store)["granted_ms"], LEASE);
        assert_eq!(store.resolve(&user.digest).status, 200);
    }
}

/// A copy of the database as it is now, while the store runs.
fn backup(home: &Home) -> PathBuf {
    let backup = home.path("backup.db");
    let copy = format!("VACUUM INTO '{}'", backup.display());
    home.sql().execute_batch(&copy).unwrap();
    backup
}

fn remove_log(home: &Home) {
    for companion in ["rekey.db-wal", "rekey.db-shm"] {
        let _ = fs::remove_file(home.path(companion));
    }
}

/// What a user or the operator may have done since a backup, and been told.
const CHANGES: [fn(&Store, &User); 5] = [
    |store, user| {
        let request = rotation(&user.digest, &fresh_digest());
        assert_eq!(store.rotate(&request).json()["outcome"], "rotated");
    },
    |store, _| {
        store.cli(&["keys", "revoke", "--user", "alice"]);
    },
    |store, _| {
        store.add_user("bob");
    },
    |store, _| {
        let body = json!({"user_id": "alice", "password": "correct horse battery"});
        let set = store.admin("POST", "/v1/users/password", Some(&body.to_string()));
        assert_eq!(set.status, 200);
    },
    |store, user| {
        // A lease that is longer than those before.
        Gateway::new(LEASE).follow(store);
        let _ = user;
    },
];

#[test]
fn s8_a_backup_of_the_last_life_itself_is_noticed_at_the_start() {
    for (number, change) in CHANGES.iter().enumerate() {
        let home = Home::new();
        let store = home.start();
        let user = store.add_user("alice");
        let backup = backup(&home);
        change(&store, &user);
        // Within a moment of the answer.
        store.kill();
        remove_log(&home);
        fs::copy(&backup, home.database()).unwrap();
        // All gateways were restarted, too: none knows a cursor.
        let mut gateway = Gateway::new(100);
        let request = rotation(&user.digest, &fresh_digest());
        for _ in 0..2 {
            let store = home.start();
            is_refused(&store, &mut gateway, &request);
            stop(store);
        }
        let log = home.log();
        assert!(log.contains("nothing is served"), "change {number}: {log}");
        let store = home.start_as(home.serve().arg("--accept-restore"));
        assert_eq!(gateway.follow(&store)["granted_ms"], 100);
        assert!(holds_long(&store), "S9");
        stop(store);
        // Accepted for good.
        assert_eq!(gateway.follow(&home.start())["reset"], true);
    }
}

/// As one should do with backups; and as a failover does.
#[test]
fn s8_a_backup_that_was_tried_out_somewhere_else_is_noticed() {
    for change in CHANGES {
        let home = Home::new();
        let store = home.start();
        let user = store.add_user("alice");
        let backup = backup(&home);
        change(&store, &user);
        assert_eq!(store.stop(), Some(0));
        // It goes further there than the lost history did.
        let other = Home::new();
        fs::copy(&backup, other.database()).unwrap();
        for number in 0..3 {
            let store = other.start();
            store.add_user(&format!("tried-{number}"));
            assert_eq!(store.stop(), Some(0));
        }
        remove_log(&home);
        fs::copy(other.database(), home.database()).unwrap();
        let request = rotation(&user.digest, &fresh_digest());
        is_refused(&home.start(), &mut Gateway::new(100), &request);
    }
}

#[test]
fn s8_without_a_lock_file_a_backup_of_the_last_life_is_noticed_by_a_poll() {
    let home = Home::new();
    let store = home.start();
    let user = store.add_user("alice");
    let backup = backup(&home);
    store.add_user("bob");
    let (mut gateway, mut other) = (Gateway::new(100), Gateway::new(100));
    gateway.follow(&store);
    store.kill();
    remove_log(&home);
    fs::remove_file(lock_file(&home)).unwrap();
    fs::copy(&backup, home.database()).unwrap();
    let store = home.start();
    other.follow(&store);
    assert_eq!(gateway.poll(&store).status, 503, "it is proved");
    let request = rotation(&user.digest, &fresh_digest());
    is_refused(&store, &mut gateway, &request);
    is_refused(&store, &mut other, &request);
    let change = json!({ "user_id": "alice" }).to_string();
    let refused = store.admin("POST", "/v1/keys/revoke", Some(&change));
    assert_eq!(refused.status, 503, "{refused:?}");
    stop(store);
    let store = home.start_as(home.serve().arg("--accept-restore"));
    assert_eq!(gateway.follow(&store)["reset"], true);
    assert_eq!(other.follow(&store)["granted_ms"], 100);
}

#[test]
fn s8_while_nothing_is_served_the_operator_reads_and_changes_nothing() {
    let home = Home::new();
    let mut gateway = Gateway::new(100);
    let (backup, _, _) = served_on(&home, &mut gateway);
    let right = fs::read(home.database()).unwrap();
    fs::write(home.database(), &backup).unwrap();
    let store = home.start();
    let digest = fresh_digest().to_hex();
    for (path, body) in [
        ("/v1/keys/revoke", json!({ "user_id": "alice" }).to_string()),
        ("/v1/keys/issue", json!({ "user_id": "alice" }).to_string()),
        ("/v1/users", json!({ "email": "b@example.com" }).to_string()),
        (
            "/v1/users/password",
            json!({"user_id": "alice", "password": "correct horse battery"}).to_string(),
        ),
        (
            "/v1/import",
            json!({"line": 1, "user": "carol", "digest": digest}).to_string(),
        ),
    ] {
        let refused = store.admin("POST", path, Some(&body));
        assert_eq!(
            (refused.status, refused.code()),
            (503, "unavailable".into())
        );
        let text = &refused.text;
        assert!(text.contains("--accept-restore"), "{path}: {text}");
        assert!(text.contains("nothing was changed"), "{path}: {text}");
    }
    let revoke = store.cli(&["keys", "revoke", "--user", "alice"]);
    assert_eq!(revoke.status.code(), Some(1));
    let text = crate::process::stderr(&revoke);
    assert!(text.contains("--accept-restore"), "{text}");
    // Reading goes on.
    let users = store.admin("GET", "/v1/users", None).json();
    assert_eq!(users["users"][0]["user_id"], "alice");
    let audit = store.admin("GET", "/v1/audit?user=alice", None);
    assert_eq!(audit.status, 200);
    assert_eq!(home.count("SELECT count(*) FROM users"), 1);
    stop(store);
    // Nothing of this life is on the right file.
    fs::write(home.database(), &right).unwrap();
    gateway.follow(&home.start());
}

#[test]
fn s9_a_crash_between_the_database_and_the_lock_file_is_no_restore() {
    let home = Home::new();
    let mut gateway = Gateway::new(100);
    let (_, user, _) = served_on(&home, &mut gateway);
    let before = fs::read(lock_file(&home)).unwrap();
    stop(home.start());
    fs::write(lock_file(&home), before).unwrap();
    let store = home.start();
    assert_eq!(store.resolve(&user.digest).json()["state"], "revoked");
    assert_eq!(gateway.poll(&store).status, 200);
    assert!(!holds_long(&store));
}

#[test]
fn a_first_start_and_an_ordinary_restart_wait_for_nothing() {
    let home = Home::new();
    for _ in 0..2 {
        let store = home.start();
        let user = store.add_user(&fresh_digest().to_hex()[..12]);
        let began = Instant::now();
        let request = rotation(&user.digest, &fresh_digest());
        assert_eq!(store.rotate(&request).json()["outcome"], "rotated");
        assert!(began.elapsed() < LONG, "{:?}", began.elapsed());
        stop(store);
    }
}
