//! Repeated rotations over real HTTP (X2 to X6): who gets the record,
//! when it dies, and where its bytes are.

use std::time::{Duration, Instant};

use rekey_protocol::{Digest, SEALED_KEY_LEN};
use serde_json::{Value, json};

use crate::gateways::feed::{EXPIRY, Gateway, LEASE};
use crate::process::{Home, Store, User, again, fresh_digest, rotation};

const ROTATED: &str = "SELECT count(*) FROM audit WHERE action = 'rotated'";
const REPLAYED: &str = "SELECT count(*) FROM audit WHERE action = 'replayed'";
const REFUSED: &str = "SELECT count(*) FROM audit WHERE action = 'replay_refused'";

/// A client's pair, as the store sees it.
fn proof(of: u8) -> String {
    hex::encode([of; 32])
}

pub(crate) const OURS: u8 = 0x11;
const ANOTHER: u8 = 0x22;
pub(crate) const SEALED: u8 = 0x5e;

/// A request of the client with this pair.
pub(crate) fn repeatable(old: &Digest, new: &Digest, pair: u8) -> Value {
    let mut request = rotation(old, new);
    request["replay"] =
        json!({"proof": proof(pair), "sealed": hex::encode([SEALED; SEALED_KEY_LEN])});
    request
}

/// A rotation whose answer the client has lost.
pub(crate) struct Lost {
    old: Digest,
    pub new: Digest,
    made: Value,
}

impl Lost {
    pub(crate) fn make(store: &Store, user: &User) -> Self {
        let new = fresh_digest();
        let made = repeatable(&user.digest, &new, OURS);
        assert_eq!(store.rotate(&made).json()["outcome"], "rotated");
        let old = user.digest;
        Self { old, new, made }
    }

    /// The same request once more, by another gateway.
    fn repeat(&self, store: &Store, pair: u8) -> Value {
        let request = repeatable(&self.old, &fresh_digest(), pair);
        store.rotate(&request).json()
    }

    pub(crate) fn is_replayed(&self, store: &Store) -> bool {
        let answer = self.repeat(store, OURS);
        assert_eq!(answer["outcome"], "revoked", "{answer}");
        let replayed = &answer["replayed"];
        if replayed.is_null() {
            return false;
        }
        assert_eq!(replayed["new_digest"], json!(self.new));
        assert_eq!(replayed["rotation_id"], self.made["rotation_id"]);
        assert_eq!(replayed["sealed"], hex::encode([SEALED; SEALED_KEY_LEN]));
        true
    }
}

#[test]
fn x3_the_client_gets_the_record_as_often_as_it_asks_and_it_is_no_rotation() {
    let home = Home::new();
    let store = home.start();
    let user = store.add_user("alice");
    let lost = Lost::make(&store, &user);
    let before = home.count("SELECT last_rotated_ms FROM users");
    for _ in 0..15 {
        assert!(lost.is_replayed(&store));
    }
    // S11: a refusal of attempt 2 burns the id, and still brings the record.
    let late = again(&repeatable(&lost.old, &fresh_digest(), OURS));
    for _ in 0..2 {
        let answer = store.rotate(&late).json();
        assert_eq!(answer["replayed"]["new_digest"], json!(lost.new));
    }
    assert_eq!(home.count(ROTATED), 1);
    assert_eq!(
        home.count("SELECT last_rotated_ms FROM users"),
        before,
        "I5"
    );
    assert_eq!(home.count(REPLAYED), 10, "the log cannot be pruned");
    assert_eq!(store.resolve(&lost.new).json()["state"], "active");
    let old = store.resolve(&lost.old).json();
    assert_eq!(
        (&old["state"], &old["replayable"]),
        (&json!("revoked"), &json!(true))
    );
    assert!(old.get("replayed").is_none(), "S7: a resolve carries none");
}

#[test]
fn x4_five_wrong_ones_end_it() {
    let home = Home::new();
    let store = home.start();
    let user = store.add_user("alice");
    let lost = Lost::make(&store, &user);
    // Without a proof nothing is counted.
    for _ in 0..10 {
        let bare = store.rotate(&rotation(&lost.old, &fresh_digest())).json();
        assert_eq!(bare["replayable"], true);
        assert!(bare.get("replayed").is_none());
    }
    for _ in 0..4 {
        let answer = lost.repeat(&store, ANOTHER);
        assert!(answer.get("replayed").is_none(), "{answer}");
        assert!(lost.is_replayed(&store));
    }
    // On disk before it is answered.
    store.kill();
    let store = home.start();
    assert!(lost.is_replayed(&store));
    lost.repeat(&store, ANOTHER);
    assert!(!lost.is_replayed(&store));
    assert_eq!(home.count(REFUSED), 5);
    let audit = store.cli(&["audit", "--user", "alice"]);
    let audit = String::from_utf8(audit.stdout).unwrap();
    assert!(audit.contains("replay_refused"), "{audit}");
}

/// A gateway asks again until it hears, and sends what its client sent once.
#[test]
fn x4_one_wrong_one_is_one_try_however_often_it_is_asked_for() {
    let home = Home::new();
    let store = home.start();
    let user = store.add_user("alice");
    let lost = Lost::make(&store, &user);
    let mut wrong = repeatable(&lost.old, &fresh_digest(), ANOTHER);
    for _ in 0..8 {
        let answer = store.rotate(&wrong).json();
        assert_eq!(answer["replayable"], true, "{answer}");
        wrong = again(&wrong);
    }
    assert_eq!(home.count(REFUSED), 1);
    assert!(lost.is_replayed(&store));
    // Whichever of its attempts comes first, and however late the others are.
    for first in [2, 5] {
        let mut wrong = repeatable(&lost.old, &fresh_digest(), ANOTHER);
        for attempt in [first, 1, first + 1, 1] {
            wrong["attempt"] = json!(attempt);
            assert_eq!(store.rotate(&wrong).json()["replayable"], true);
        }
    }
    assert_eq!(home.count(REFUSED), 3);
    assert!(lost.is_replayed(&store));
    // Other gateways' requests are tries of their own, also at the same time.
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| lost.repeat(&store, ANOTHER));
        }
    });
    assert_eq!(home.count(REFUSED), 5, "X4: the fifth destroys it");
    assert!(!lost.is_replayed(&store));
}

/// Another program holds a lock on the file of records.
fn locked(home: &Home, how: &str) -> rusqlite::Connection {
    let records = rusqlite::Connection::open(home.path("rekey.db.replays")).unwrap();
    records.execute_batch(how).unwrap();
    records
}

#[test]
fn a_lock_on_the_file_of_records_slows_nobody_down() {
    let home = Home::new();
    let store = home.start();
    let users: Vec<_> = (0..12).map(|n| store.add_user(&format!("u{n}"))).collect();
    for (how, users) in [
        "BEGIN IMMEDIATE",
        "BEGIN EXCLUSIVE",
        // A reader, which keeps its log from being cut short.
        "BEGIN; SELECT count(*) FROM records",
    ]
    .iter()
    .zip(users.chunks(4))
    {
        let lock = locked(&home, how);
        let began = Instant::now();
        let lost: Vec<_> = users.iter().map(|user| Lost::make(&store, user)).collect();
        for lost in &lost {
            assert_eq!(store.resolve(&lost.new).json()["state"], "active");
        }
        store.add_user(&fresh_digest().to_hex()[..12]);
        assert!(began.elapsed() < Duration::from_secs(4), "{how}");
        drop(lock);
        // Those were made without their records; the next ones have them again.
        let is_kept = !how.contains("IMM") && !how.contains("EXC");
        assert_eq!(lost[0].is_replayed(&store), is_kept, "{how}");
    }
    let warned = home
        .log()
        .matches("holds a lock on the file of replays")
        .count();
    assert_eq!(warned, 2, "once for each lock: {}", home.log());
    let late = store.add_user("late");
    assert!(Lost::make(&store, &late).is_replayed(&store));
}

#[test]
fn x4_what_happens_to_a_record_while_its_file_is_locked_counts() {
    let home = Home::new();
    let store = home.start();
    let made = ["ann", "bob", "eve"].map(|id| Lost::make(&store, &store.add_user(id)));
    let [ann, bob, eve] = &made;
    let lock = locked(&home, "BEGIN IMMEDIATE");
    // The right one is answered, and five wrong ones end it.
    assert!(ann.is_replayed(&store) && bob.is_replayed(&store));
    for _ in 0..5 {
        ann.repeat(&store, ANOTHER);
    }
    for _ in 0..3 {
        bob.repeat(&store, ANOTHER);
    }
    assert!(!ann.is_replayed(&store) && bob.is_replayed(&store));
    assert_eq!(home.count(REFUSED), 8);
    store.resolve(&eve.new);
    drop(lock);
    // Written down by the next change, and so on record in the next life.
    store.add_user("next");
    crate::process::await_some(|| {
        let records = rusqlite::Connection::open(home.path("rekey.db.replays")).unwrap();
        let select = "SELECT count(*) FROM records WHERE used_ms IS NOT NULL";
        let used: i64 = records.query_row(select, [], |row| row.get(0)).unwrap();
        // All of them: `is_replayed` uses no key.
        (used == 1).then_some(())
    });
    store.kill();
    let store = home.start();
    assert!(!ann.is_replayed(&store) && bob.is_replayed(&store));
    bob.repeat(&store, ANOTHER);
    bob.repeat(&store, ANOTHER);
    assert!(!bob.is_replayed(&store));
}

#[test]
fn x4_it_dies_with_any_change_of_the_new_key() {
    let home = Home::new();
    let store = home.start_as(&mut home.serve_with("--rotation-interval", "1s"));
    let alice = store.add_user("alice");
    let revoked = Lost::make(&store, &alice);
    let answer = store.admin("POST", "/v1/keys/revoke", Some(r#"{"user_id":"alice"}"#));
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(!revoked.is_replayed(&store));
    let bob = store.add_user("bob");
    let rotated = Lost::make(&store, &bob);
    crate::process::await_some(|| {
        let next = store
            .rotate(&rotation(&rotated.new, &fresh_digest()))
            .json();
        (next["outcome"] == "rotated").then_some(())
    });
    assert!(!rotated.is_replayed(&store));
    assert_eq!(home.count(REPLAYED), 0);
}

#[test]
fn x4_the_first_use_of_the_new_key_is_noted() {
    let home = Home::new();
    let store = home.start();
    let user = store.add_user("alice");
    let lost = Lost::make(&store, &user);
    let used = || {
        let records = rusqlite::Connection::open(home.path("rekey.db.replays")).unwrap();
        let select = "SELECT used_ms FROM records";
        records
            .query_row(select, [], |row| row.get::<_, Option<i64>>(0))
            .unwrap()
    };
    store.resolve(&lost.old);
    assert_eq!(used(), None);
    store.resolve(&lost.new);
    let first = crate::process::await_some(used);
    store.resolve(&lost.new);
    assert!(lost.is_replayed(&store), "for half a minute");
    assert_eq!(used(), Some(first));
    // Also by a life of the store that has not made it.
    let other = store.add_user("bob");
    let late = Lost::make(&store, &other);
    store.kill();
    let store = home.start();
    store.resolve(&late.new);
    crate::process::await_some(|| {
        let records = rusqlite::Connection::open(home.path("rekey.db.replays")).unwrap();
        let select = "SELECT count(*) FROM records WHERE used_ms IS NOT NULL";
        let used: i64 = records.query_row(select, [], |row| row.get(0)).unwrap();
        (used == 2).then_some(())
    });
}

#[test]
fn s7_a_replay_waits_for_the_barrier_of_its_rotation() {
    let home = Home::new();
    let store = home.start();
    let user = store.add_user("alice");
    let mut gateway = Gateway::new(LEASE);
    gateway.follow(&store);
    let granted = Instant::now();
    gateway.follow(&store);
    // The gateway falls silent, and the first answer gets lost while it waits.
    let new = fresh_digest();
    let made = repeatable(&user.digest, &new, OURS);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| store.rotate(&made));
        store.await_revoked(&user.digest);
        let lost = Lost {
            old: user.digest,
            new,
            made: made.clone(),
        };
        assert!(lost.is_replayed(&store));
        assert!(granted.elapsed() >= EXPIRY - Duration::from_millis(u64::from(LEASE) / 8));
        assert_eq!(first.join().unwrap().json()["outcome"], "rotated");
    });
}

#[test]
fn the_operator_can_switch_it_off() {
    let home = Home::new();
    // What an earlier run has kept does not stay.
    let store = home.start();
    let user = store.add_user("bob");
    Lost::make(&store, &user);
    assert_eq!(store.stop(), Some(0));
    assert!(home.path("rekey.db.replays").exists());
    let mut serve = home.serve();
    let store = home.start_as(serve.arg("--no-replay"));
    let user = store.add_user("alice");
    let lost = Lost::make(&store, &user);
    assert!(!lost.is_replayed(&store));
    assert!(store.resolve(&lost.old).json().get("replayable").is_none());
    assert!(!home.path("rekey.db.replays").exists());
}
