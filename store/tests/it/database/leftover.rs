//! A backup that is put in the place of the database while the write-ahead log
//! is left: SQLite would lay the one over the other (S8).

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use crate::gateways::feed::Gateway;
use crate::process::{Home, Store, User, cli, fresh_digest, output, rotation, stderr};

/// A way to copy the database.
type Copy = fn(&Home, Store) -> Copied;

struct Copied {
    backup: Vec<u8>,
    /// It runs, on what was copied.
    store: Store,
}

/// The one file, while the store is stopped.
fn cold(home: &Home, store: Store) -> Copied {
    assert_eq!(store.stop(), Some(0));
    let backup = fs::read(home.database()).unwrap();
    let store = home.start();
    Copied { backup, store }
}

/// By SQLite, while the store runs.
fn warm(home: &Home, store: Store) -> Copied {
    let path = home.path("backup.db");
    let copy = format!("VACUUM INTO '{}'", path.display());
    home.sql().execute_batch(&copy).unwrap();
    let backup = fs::read(path).unwrap();
    Copied { backup, store }
}

/// What happens between the copy and the crash.
type Events = fn(&Home, Store) -> Store;

/// The log goes on in another life.
fn restarts(home: &Home, store: Store) -> Store {
    assert_eq!(store.stop(), Some(0));
    home.start()
}

/// The log was left by a crash, and folded by the next start.
fn crashes(home: &Home, store: Store) -> Store {
    store.kill();
    home.start()
}

/// The log is folded into the file while the store runs.
fn writes_much(home: &Home, store: Store) -> Store {
    let length = fs::metadata(home.database()).unwrap().len();
    for number in 0.. {
        store.add_user(&fresh_digest().to_hex()[..12]);
        if fs::metadata(home.database()).unwrap().len() > length {
            break;
        }
        assert!(number < 5_000, "the log is never folded");
    }
    store
}

struct Mixed {
    home: Home,
    user: User,
    right: Vec<u8>,
}

fn log(home: &Home) -> PathBuf {
    home.path("rekey.db-wal")
}

/// A backup over the database, beside a log of later pages.
fn mixed(copy: Copy, events: Events) -> Mixed {
    let home = Home::new();
    let store = home.start();
    let user = store.add_user("alice");
    let Copied { backup, store } = copy(&home, store);
    let request = rotation(&user.digest, &fresh_digest());
    assert_eq!(store.rotate(&request).json()["outcome"], "rotated");
    let store = events(&home, store);
    // Something for the log.
    store.add_user("bob");
    store.kill();
    assert!(fs::metadata(log(&home)).unwrap().len() > 0);
    let right = fs::read(home.database()).unwrap();
    fs::write(home.database(), backup).unwrap();
    Mixed { home, user, right }
}

fn refused(home: &Home, flags: &[&str]) -> Output {
    let before = (
        fs::read(home.database()).unwrap(),
        fs::read(log(home)).unwrap(),
    );
    let refused = output(home.serve().args(flags), "");
    assert_eq!(refused.status.code(), Some(1));
    let text = stderr(&refused);
    for name in ["rekey.db-wal", "rekey.db-shm", "--accept-restore"] {
        assert!(text.contains(name), "{text}");
    }
    let after = (
        fs::read(home.database()).unwrap(),
        fs::read(log(home)).unwrap(),
    );
    assert!(before == after, "left as they are");
    refused
}

fn state(store: &Store, user: &User) -> String {
    let found = store.resolve(&user.digest).json();
    found["state"].as_str().unwrap().to_owned()
}

#[test]
fn s8_a_log_of_another_file_is_refused() {
    for copy in [cold as Copy, warm] {
        for events in [restarts as Events, crashes, writes_much] {
            let Mixed { home, user, right } = mixed(copy, events);
            refused(&home, &[]);
            // Not even by an operator that means it: it would be a mixture.
            refused(&home, &["--accept-restore"]);

            // What was there can be put back.
            let backup = fs::read(home.database()).unwrap();
            fs::write(home.database(), right).unwrap();
            let store = home.start();
            assert_eq!(state(&store, &user), "revoked");
            Gateway::new(100).follow(&store);
            store.kill();

            // And the backup can be used.
            fs::write(home.database(), backup).unwrap();
            for file in ["rekey.db-wal", "rekey.db-shm"] {
                fs::remove_file(home.path(file)).unwrap();
            }
            let store = home.start();
            assert_eq!(store.resolve(&user.digest).status, 503);
            assert_eq!(store.stop(), Some(0));
            let store = home.start_as(home.serve().arg("--accept-restore"));
            assert_eq!(state(&store, &user), "active");
        }
    }
}

#[test]
fn s8_without_a_lock_file_the_mixture_itself_shows_it() {
    for events in [restarts as Events, crashes] {
        let Mixed { home, .. } = mixed(cold, events);
        fs::remove_file(home.path("rekey.db.lock")).unwrap();
        refused(&home, &[]);
        refused(&home, &["--accept-restore"]);
        // Nor does a backup make it look whole.
        let database = home.database();
        let (database, copy) = (database.to_str().unwrap(), home.path("copy.db"));
        let arguments = ["backup", "--database", database, copy.to_str().unwrap()];
        let made = output(&mut cli(&arguments), "");
        assert_eq!(made.status.code(), Some(1));
        assert!(stderr(&made).contains("rekey.db-wal"), "{}", stderr(&made));
        assert!(!copy.exists());
    }
}

#[test]
fn s8_the_log_of_a_life_that_served_nothing_is_not_laid_over_the_right_file() {
    let Mixed { home, user, right } = mixed(cold, restarts);
    // By hand, and rightly so.
    for file in ["rekey.db-wal", "rekey.db-shm"] {
        fs::remove_file(home.path(file)).unwrap();
    }
    let store = home.start();
    assert_eq!(store.resolve(&user.digest).status, 503);
    store.kill();
    let is_left = fs::metadata(log(&home)).is_ok_and(|log| log.len() > 0);
    fs::write(home.database(), right).unwrap();
    assert!(is_left, "or this shows nothing");
    refused(&home, &[]);
    fs::remove_file(log(&home)).unwrap();
    // Its newest pages were in the log that was removed: older, and refused.
    let store = home.start();
    assert_eq!(store.resolve(&user.digest).status, 503);
}

/// Of a page, in bytes.
const PAGE: usize = 4096;
const CRASHING: &str = env!("CARGO_BIN_EXE_rekey-store-crash-points");

/// Starts a store that dies in the middle of that checkpoint, counted from 1: the
/// start makes the first, the stop the last.
fn dying(home: &Home, checkpoint: u32) -> std::process::Command {
    let mut serve = home.serve_by(CRASHING, "", "");
    let at = format!("fold.anchored:{checkpoint}");
    serve.env("REKEY_STORE_CRASH_AT", at);
    serve
}

#[test]
fn s8_a_checkpoint_that_was_cut_off_is_no_damage() {
    let home = Home::new();
    let mut store = home.start_as(&mut dying(&home, 2));
    let user = store.add_user("alice");
    let request = rotation(&user.digest, &fresh_digest());
    assert_eq!(store.rotate(&request).json()["outcome"], "rotated");
    // Until the file has to grow.
    let length = fs::metadata(home.database()).unwrap().len();
    let pages = || home.count("PRAGMA page_count") as u64 * PAGE as u64;
    while pages() <= length {
        store.add_user(&fresh_digest().to_hex()[..12]);
    }
    store.signal(rustix::process::Signal::TERM);
    assert_eq!(store.child.wait().unwrap().code(), None, "killed");
    // A checkpoint writes the first page first, which says how many there will be.
    let frames = fs::read(log(&home)).unwrap();
    let first = frames[32..].chunks_exact(24 + PAGE);
    let mut first = first.filter(|frame| frame[..4] == 1_u32.to_be_bytes());
    let mut file = fs::read(home.database()).unwrap();
    file[..PAGE].copy_from_slice(&first.next_back().unwrap()[24..]);
    fs::write(home.database(), file).unwrap();
    let store = home.start();
    assert_eq!(state(&store, &user), "revoked");
    Gateway::new(100).follow(&store);
}

#[test]
fn s8_a_start_that_dies_while_it_updates_an_older_file_is_repeated() {
    let home = Home::new();
    let store = home.start();
    store.add_user("alice");
    assert_eq!(store.stop(), Some(0));
    fs::remove_file(home.database()).unwrap();
    let old = rusqlite::Connection::open(home.database()).unwrap();
    old.execute_batch(include_str!("schema_v1.sql")).unwrap();
    drop(old);
    for _ in 0..2 {
        let died = output(dying(&home, 1).arg("--accept-restore"), "");
        assert_eq!(died.status.code(), None, "{}", stderr(&died));
        assert!(fs::metadata(log(&home)).unwrap().len() > 0);
    }
    let store = home.start_as(home.serve().arg("--accept-restore"));
    Gateway::new(100).follow(&store);
}

#[test]
fn s8_the_right_file_with_its_log_is_served_after_another_was_looked_at() {
    let home = Home::new();
    let store = home.start();
    let user = store.add_user("alice");
    assert_eq!(store.stop(), Some(0));
    let backup = fs::read(home.database()).unwrap();
    let store = home.start();
    let request = rotation(&user.digest, &fresh_digest());
    assert_eq!(store.rotate(&request).json()["outcome"], "rotated");
    store.kill();
    let names = ["rekey.db", "rekey.db-wal", "rekey.db-shm"];
    for name in names {
        fs::rename(home.path(name), home.path(&format!("{name}.aside"))).unwrap();
    }
    fs::write(home.database(), backup).unwrap();
    for _ in 0..2 {
        let store = home.start();
        assert_eq!(store.resolve(&user.digest).status, 503);
        store.kill();
    }
    for name in names {
        fs::rename(home.path(&format!("{name}.aside")), home.path(name)).unwrap();
    }
    let store = home.start();
    assert_eq!(state(&store, &user), "revoked");
    Gateway::new(100).follow(&store);
}

#[test]
fn an_ordinary_crash_leaves_a_log_that_is_used() {
    let home = Home::new();
    let mut store = home.start();
    for life in 0..8 {
        // Enough for the log to be folded now and then.
        for number in 0..40 {
            store.add_user(&format!("u_{life}_{number}"));
        }
        if life % 2 == 0 {
            store = writes_much(&home, store);
        }
        store.kill();
        store = home.start();
        Gateway::new(100).follow(&store);
    }
}

#[test]
fn the_log_stays_short() {
    let home = Home::new();
    let store = home.start();
    let store = writes_much(&home, store);
    for number in 0..300 {
        store.add_user(&format!("v_{number}"));
    }
    // 1,000 pages, and those of the last transaction.
    let length = fs::metadata(log(&home)).unwrap().len();
    assert!(length < 6 << 20, "{length} bytes");
}
