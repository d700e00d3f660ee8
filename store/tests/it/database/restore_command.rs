//! `rekey-store restore`: what the next start does after it, what it refuses, and
//! its death at every step.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rekey_store::crash::RESTORE_POINTS;
use rusqlite::Connection;
use serde_json::json;

use crate::database::backup::backup;
use crate::database::restore::holds_long;
use crate::gateways::feed::{Gateway, LEASE};
use crate::process::{Home, Store, User, bare, cli, fresh_digest, output, rotation, stderr};
use crate::server::lifecycle::refusal;

const PROGRAM: &str = env!("CARGO_BIN_EXE_rekey-store-crash-points");

fn restore_by(mut command: Command, home: &Home, file: &Path) -> Command {
    command.arg("restore").arg(file);
    command.arg("--database").arg(home.database());
    command
}

fn restore(home: &Home, file: &Path) -> Command {
    restore_by(cli(&[]), home, file)
}

fn restored(home: &Home, file: &Path) -> String {
    let restored = output(restore(home, file).arg("--yes"), "");
    assert!(restored.status.success(), "{restored:?}");
    stderr(&restored)
}

fn refused(command: &mut Command, word: &str) {
    let refused: Output = output(command, "");
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(stderr(&refused).contains(word), "{word}: {refused:?}");
}

/// A user, a backup, then a rotation that the gateway follows. The store is killed, so
/// its log lies there.
fn served_since_a_backup(home: &Home, gateway: &mut Gateway) -> (PathBuf, User) {
    let store = home.start();
    let user = store.add_user("alice");
    gateway.follow(&store);
    let file = home.path("backup.db");
    let made = output(&mut backup(home, &file), "");
    assert!(made.status.success(), "{made:?}");
    let request = rotation(&user.digest, &fresh_digest());
    assert_eq!(store.rotate(&request).json()["outcome"], "rotated");
    store.add_user("bob");
    gateway.follow(&store);
    store.kill();
    assert!(fs::metadata(home.path("rekey.db-wal")).unwrap().len() > 0);
    (file, user)
}

/// The database that was moved aside, and its companions.
fn aside(home: &Home) -> Vec<PathBuf> {
    let entries = fs::read_dir(home.database().parent().unwrap()).unwrap();
    let mut found: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().contains(".before-restore-"))
        .collect();
    found.sort();
    found
}

fn state(store: &Store, user: &User) -> String {
    let found = store.resolve(&user.digest).json();
    found["state"].as_str().unwrap_or("none").to_owned()
}

#[test]
fn s8_s9_a_restore_is_served_as_if_it_had_been_accepted_at_the_start() {
    let home = Home::new();
    let mut gateway = Gateway::new(LEASE);
    let (file, user) = served_since_a_backup(&home, &mut gateway);
    let sql = home.sql();
    sql.execute_batch("INSERT INTO sessions SELECT zeroblob(32), user_id, 1, 1 FROM users LIMIT 1")
        .unwrap();
    drop(sql);
    let told = restored(&home, &file);
    for word in [
        "1 keys that were replaced or revoked are valid again",
        "2 keys",
        "1 users",
    ] {
        assert!(told.contains(word), "{word}: {told}");
    }
    // The old log lies beside the old database, not beside the new one.
    assert!(!home.path("rekey.db-wal").exists());
    let old = Connection::open(&aside(&home)[0]).unwrap();
    let keys = "SELECT count(*) FROM keys";
    let count: i64 = old.query_row(keys, [], |row| row.get(0)).unwrap();
    assert_eq!(count, 3, "kept with its log");
    assert_eq!(home.count(keys), 1);

    let store = home.start();
    // S8: without the flag, and for the gateway of the lost history.
    assert_eq!(gateway.follow(&store)["reset"], true);
    assert_eq!(state(&store, &user), "active", "revived: said so");
    assert!(holds_long(&store), "S9: the leases of the lost history");
    store.kill();
    let mut late = Gateway::new(LEASE);
    late.cursor = Some(json!({"incarnation": "ab".repeat(16), "revision": 12}));
    let store = home.start();
    assert_eq!(late.follow(&store)["reset"], true);
    assert!(holds_long(&store), "S9: the lost history's are not over");
    assert!(!home.log().contains("followed a history"), "{}", home.log());
}

#[test]
fn s8_a_restored_history_begins_past_a_lost_one_whose_clock_was_ahead() {
    let home = Home::new();
    let mut gateway = Gateway::new(LEASE);
    let store = home.start();
    let user = store.add_user("alice");
    let file = home.path("backup.db");
    assert!(output(&mut backup(&home, &file), "").status.success());
    assert_eq!(store.stop(), Some(0));
    // As if it had run ten years from now.
    let ahead = 10 * 365 * 24 * 3600 * 1_000_000_i64;
    let sql = home.sql();
    sql.execute("UPDATE meta SET revision = revision + ?1", [ahead])
        .unwrap();
    drop(sql);
    let store = home.start();
    gateway.follow(&store);
    let lost = home.count("SELECT revision FROM meta");
    assert_eq!(store.stop(), Some(0));
    restored(&home, &file);
    assert!(home.count("SELECT revision FROM meta") > lost);
    let store = home.start();
    assert_eq!(gateway.follow(&store)["reset"], true);
    assert_eq!(state(&store, &user), "active");
}

#[test]
fn s9_a_database_restored_on_another_machine_holds_the_cap() {
    let (home, other) = (Home::new(), Home::new());
    let mut gateway = Gateway::new(LEASE);
    let (file, user) = served_since_a_backup(&home, &mut gateway);
    let told = restored(&other, &file);
    assert!(told.contains("there is no database yet"), "{told}");
    let store = other.start();
    assert_eq!(state(&store, &user), "active");
    assert_eq!(gateway.follow(&store)["reset"], true);
    assert!(holds_long(&store));
}

#[test]
fn a_backup_can_be_received_from_standard_input() {
    let home = Home::new();
    let store = home.start();
    let user = store.add_user("alice");
    let sent = output(&mut backup(&home, Path::new("-")), "");
    assert!(sent.status.success(), "{sent:?}");
    assert_eq!(store.stop(), Some(0));
    let file = home.path("sent.db");
    fs::write(&file, &sent.stdout).unwrap();
    let mut shell = Command::new("sh");
    let restore = "exec \"$0\" restore - --yes --database \"$1\" < \"$2\"";
    shell.args(["-c", restore, PROGRAM]);
    shell.arg(home.database()).arg(&file);
    let done = output(&mut shell, "");
    assert!(done.status.success(), "{done:?}");
    assert_eq!(state(&home.start(), &user), "active");
}

#[test]
fn what_must_not_be_restored_is_refused_and_nothing_is_changed() {
    let home = Home::new();
    let mut gateway = Gateway::new(LEASE);
    let (file, user) = served_since_a_backup(&home, &mut gateway);
    let store = home.start();
    refused(
        restore(&home, &file).arg("--yes"),
        "in use by another rekey-store",
    );
    assert_eq!(store.stop(), Some(0));
    // Nobody is asked here.
    refused(&mut restore(&home, &file), "--yes");
    let yes = |name: &str, word: &str| {
        refused(restore(&home, &home.path(name)).arg("--yes"), word);
    };
    yes("missing.db", "there is no file");
    yes("rekey.db", "the database itself");
    fs::write(
        home.path("letter.db"),
        "This is a letter to a friend. ".repeat(99),
    )
    .unwrap();
    yes("letter.db", "not a SQLite database");
    fs::write(home.path("empty.db"), "").unwrap();
    yes("empty.db", "empty");
    let foreign = Connection::open(home.path("foreign.db")).unwrap();
    foreign
        .execute_batch("CREATE TABLE somebody (elses)")
        .unwrap();
    yes("foreign.db", "of another program");
    fs::copy(&file, home.path("newer.db")).unwrap();
    let newer = Connection::open(home.path("newer.db")).unwrap();
    newer.pragma_update(None, "user_version", 1000).unwrap();
    yes("newer.db", "newer version");
    let mut bytes = fs::read(&file).unwrap();
    bytes.iter_mut().skip(4096).for_each(|byte| *byte ^= 0x5a);
    fs::write(home.path("damaged.db"), &bytes).unwrap();
    yes("damaged.db", "corrupt");
    bytes.truncate(bytes.len() / 2);
    fs::write(home.path("cut.db"), bytes).unwrap();
    yes("cut.db", "corrupt");
    // A raw copy with a log, of whichever database.
    fs::copy(&file, home.path("raw.db")).unwrap();
    fs::write(home.path("raw.db-wal"), "of a database").unwrap();
    yes("raw.db", "raw.db-wal");

    assert_eq!(aside(&home), Vec::<PathBuf>::new());
    let store = home.start();
    assert_eq!(state(&store, &user), "revoked");
    assert_eq!(gateway.poll(&store).status, 200);
    assert!(!holds_long(&store));
}

#[test]
fn a_damaged_database_can_be_replaced_by_its_backup() {
    let home = Home::new();
    let mut gateway = Gateway::new(LEASE);
    let (file, user) = served_since_a_backup(&home, &mut gateway);
    // With its log folded in, or SQLite would find all pages there.
    assert_eq!(home.start().stop(), Some(0));
    let mut bytes = fs::read(home.database()).unwrap();
    bytes.iter_mut().for_each(|byte| *byte ^= 0x5a);
    fs::write(home.database(), bytes).unwrap();
    let told = restored(&home, &file);
    assert!(told.contains("cannot be read"), "{told}");
    let store = home.start();
    assert_eq!(state(&store, &user), "active");
    assert_eq!(gateway.follow(&store)["reset"], true);
    assert!(!aside(&home).is_empty(), "kept, as it is");
}

#[test]
fn a_backup_of_an_older_version_is_brought_up_to_date() {
    let home = Home::new();
    let file = home.path("old.db");
    let old = Connection::open(&file).unwrap();
    old.execute_batch(include_str!("schema_v1.sql")).unwrap();
    drop(old);
    restored(&home, &file);
    let store = home.start();
    let found = store.resolve(&rekey_protocol::Digest::from_bytes([1; 32]));
    assert_eq!(found.json()["user"], "u");
}

#[test]
fn i2_a_restore_that_dies_leaves_the_old_state_the_new_one_or_none_that_is_served() {
    for point in RESTORE_POINTS {
        let home = Home::new();
        let mut gateway = Gateway::new(100);
        let (file, user) = served_since_a_backup(&home, &mut gateway);
        let mut dying = restore_by(bare(PROGRAM), &home, &file);
        dying.arg("--yes").env("REKEY_STORE_CRASH_AT", point);
        let died = output(&mut dying, "");
        assert_eq!(died.status.signal(), Some(9), "{point}: {died:?}");
        match *point {
            "restore.prepared" => {
                let store = home.start();
                assert_eq!(state(&store, &user), "revoked", "{point}");
                assert_eq!(gateway.poll(&store).status, 200, "{point}");
                assert!(!holds_long(&store), "{point}");
                assert_eq!(store.stop(), Some(0));
            }
            "restore.done" => {}
            // Twice: a start must not make it look better.
            _ => {
                for _ in 0..2 {
                    let text = refusal(&mut home.serve());
                    assert!(text.contains("rekey-store restore"), "{point}: {text}");
                    assert!(text.contains(".before-restore-"), "{point}: {text}");
                }
            }
        }
        if *point != "restore.done" {
            let told = restored(&home, &file);
            assert!(
                told.contains("1 keys that were replaced"),
                "{point}: {told}"
            );
        }
        let store = home.start();
        assert_eq!(state(&store, &user), "active", "{point}");
        assert_eq!(gateway.follow(&store)["reset"], true, "{point}");
        let leftovers = fs::read_dir(home.database().parent().unwrap()).unwrap();
        let names: Vec<_> = leftovers
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.contains(".restore-") && !name.contains(".before-"))
            .collect();
        assert_eq!(names, Vec::<String>::new(), "{point}");
    }
}
