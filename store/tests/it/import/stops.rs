//! Imports that end half-way, by whatever: nothing of them counts, their remains
//! go, and the same file can be imported then. And nobody waits for one.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rustix::process::{Pid, Signal, kill_process};

use super::digest;
use crate::process::{
    ADMIN_TOKEN, Home, Store, User, await_some, cli, fresh_digest, rotation, stderr, stdout,
};

const ROWS: u32 = 12_000;
const IMPORTED: &str = "SELECT count(*) FROM audit WHERE action = 'imported'";
const STAGED: &str = "SELECT count(*) FROM imports WHERE revision IS NULL";

fn file(home: &Home) -> PathBuf {
    let path = home.path("import.csv");
    let mut text = String::from("user,digest,email\n");
    for row in 0..ROWS {
        let digest = digest(row).to_hex();
        writeln!(text, "user-{row},{digest},u{row}@example.com").unwrap();
    }
    std::fs::write(&path, text).unwrap();
    path
}

/// The command, under way.
fn begin(home: &Home, store: &Store) -> Child {
    let path = file(home);
    let mut command = cli(&["import", path.to_str().unwrap()]);
    command
        .env("REKEY_ADMIN_URL", &store.admin_url)
        .env("REKEY_ADMIN_TOKEN", ADMIN_TOKEN)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// Returns when this is true of the database.
fn await_true(sql: &Connection, query: &str) {
    await_some(|| {
        let is_true = sql.query_row(query, [], |row| row.get::<_, bool>(0));
        is_true.unwrap().then_some(())
    });
}

/// Returns in the midst of the loading.
fn await_half_way(home: &Home) {
    let half = "SELECT count(*) > 1000 FROM keys WHERE import IS NOT NULL";
    await_true(&home.sql(), half);
    assert_eq!(home.count(STAGED), 1, "too late");
}

/// Nothing of the import counts, nothing is left of it in the end, and the same
/// file can be imported.
fn check_given_up(home: &Home, store: &Store, what: &str) {
    for row in [0, 1, ROWS / 2, ROWS - 1] {
        assert_eq!(store.resolve(&digest(row)).status, 404, "{what}");
    }
    assert_eq!(home.count(IMPORTED), 0, "{what}");
    await_true(&home.sql(), "SELECT count(*) = 0 FROM imports");
    let rest = "SELECT count(*) FROM keys WHERE import IS NOT NULL";
    assert_eq!(home.count(rest), 0, "{what}");
    assert_eq!(
        home.count("SELECT count(*) FROM users WHERE import IS NOT NULL"),
        0,
        "{what}"
    );
    await_some(|| {
        let path = home.path("import.csv");
        let again = store.cli(&["import", path.to_str().unwrap()]);
        again.status.success().then_some(())
    });
    assert_eq!(home.count(IMPORTED), i64::from(ROWS), "{what}");
    assert_eq!(store.resolve(&digest(1)).json()["state"], "active");
}

#[test]
fn of_an_import_whose_store_is_killed_nothing_counts() {
    let home = Home::new();
    let store = home.start();
    let mut command = begin(&home, &store);
    await_half_way(&home);
    store.kill();
    let output = command.wait().unwrap();
    assert!(!output.success());
    let store = home.start();
    check_given_up(&home, &store, "killed");
}

#[test]
fn of_an_import_whose_command_is_killed_nothing_counts() {
    let home = Home::new();
    let store = home.start();
    let mut command = begin(&home, &store);
    await_half_way(&home);
    kill_process(Pid::from_child(&command), Signal::KILL).unwrap();
    command.wait().unwrap();
    await_true(&home.sql(), "SELECT count(*) = 0 FROM imports");
    check_given_up(&home, &store, "its command");
}

#[test]
fn of_an_import_that_cannot_be_written_to_its_end_nothing_counts() {
    let home = Home::new();
    let store = home.start();
    // As on a disk that is full from some row on.
    let fails = "CREATE TRIGGER full BEFORE INSERT ON keys WHEN NEW.user_id = 'user-9000'
                 BEGIN SELECT RAISE(ABORT, 'the disk is full'); END";
    home.sql().execute_batch(fails).unwrap();
    let command = begin(&home, &store);
    await_half_way(&home);
    let output = command.wait_with_output().unwrap();
    assert!(!output.status.success());
    let text = stderr(&output);
    assert!(text.contains("nothing was changed"), "{text}");
    home.sql().execute_batch("DROP TRIGGER full").unwrap();
    check_given_up(&home, &store, "a full disk");
}

#[test]
fn the_audit_log_hears_of_an_import_that_counts_also_after_a_crash() {
    let home = Home::new();
    let store = home.start();
    let mut command = begin(&home, &store);
    let counts = "SELECT count(*) = 1 FROM imports WHERE revision IS NOT NULL AND is_told = 0";
    await_true(&home.sql(), counts);
    store.kill();
    command.wait().unwrap();
    let store = home.start();
    // It counts, whatever the command could say of it.
    for row in [0, ROWS - 1] {
        assert_eq!(store.resolve(&digest(row)).json()["state"], "active");
    }
    let answer = store.rotate(&rotation(&digest(7), &fresh_digest()));
    assert_eq!(answer.json()["outcome"], "rotated");
    await_true(&home.sql(), "SELECT is_told = 1 FROM imports");
    assert_eq!(home.count(IMPORTED), i64::from(ROWS));
    let once = "SELECT count(DISTINCT new_digest) FROM audit WHERE action = 'imported'";
    assert_eq!(home.count(once), i64::from(ROWS));
    let listed = stdout(&store.cli(&["audit", "--user", "user-7"]));
    let actions: Vec<_> = listed
        .lines()
        .skip(1)
        .filter_map(|line| line.split('\t').nth(1))
        .collect();
    assert_eq!(actions, ["imported", "rotated"]);
}

#[test]
fn others_go_on_while_an_import_goes_in() {
    let home = Home::new();
    let store = home.start();
    let users: Vec<User> = (0..40).map(|n| store.add_user(&format!("u-{n}"))).collect();
    let command = begin(&home, &store);
    await_half_way(&home);
    let taken = store.cli(&[
        "users",
        "add",
        "--email",
        "x@example.com",
        "--user-id",
        "user-0",
    ]);
    assert!(stderr(&taken).contains("an import"), "{taken:?}");
    let mut longest = Duration::ZERO;
    for user in &users {
        let began = Instant::now();
        let answer = store.rotate(&rotation(&user.digest, &fresh_digest()));
        assert_eq!(answer.json()["outcome"], "rotated");
        longest = longest.max(began.elapsed());
        if home.count(STAGED) == 0 {
            break;
        }
    }
    // Far above what it is on a quiet machine (see `cargo xtask bench imports`), and
    // far below what an import takes as a whole.
    assert!(longest < Duration::from_secs(2), "{longest:?}");
    let output = command.wait_with_output().unwrap();
    assert_eq!(stdout(&output), format!("imported {ROWS} keys\n"));
    assert_eq!(home.count(IMPORTED), i64::from(ROWS));
}
