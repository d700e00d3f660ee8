//! `rekey-store backup`: beside a store that writes, that imports, that was stopped or
//! killed, and what it refuses.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::process::{Home, Store, cli, files, fresh_digest, output, rotation, stderr};

/// What a backup of a small database may take while others write. It takes some
/// milliseconds; one that begins again at every commit would not end.
const SOON: Duration = Duration::from_secs(20);

/// `backup` of this home's database.
pub(crate) fn backup(home: &Home, file: &Path) -> Command {
    let mut command = cli(&["backup", file.to_str().unwrap(), "--database"]);
    command.arg(home.database());
    command
}

fn is_made(made: &Output) {
    assert!(made.status.success(), "{made:?}");
    assert!(stderr(made).contains("revision"), "{made:?}");
}

/// Makes a backup; returns the copy, opened as any other program would.
fn made(home: &Home, name: &str) -> (PathBuf, Connection) {
    let file = home.path(name);
    is_made(&output(&mut backup(home, &file), ""));
    let copy = Connection::open(&file).unwrap();
    (file, copy)
}

fn count(copy: &Connection, query: &str) -> i64 {
    copy.query_row(query, [], |row| row.get(0)).unwrap()
}

/// What is true at every moment between two changes, and at no other one.
fn is_of_one_moment(copy: &Connection) {
    let users = count(copy, "SELECT count(*) FROM users");
    let active = "SELECT count(*) FROM keys WHERE state = 'active'";
    assert_eq!(count(copy, active), users);
    let told = "SELECT count(*) FROM audit WHERE action IN ('user_added', 'rotated')";
    assert_eq!(count(copy, "SELECT count(*) FROM keys"), count(copy, told));
    let head = count(copy, "SELECT revision FROM meta");
    assert_eq!(count(copy, "SELECT max(revision) FROM live_keys"), head);
}

/// Ends those who write, also where the test fails: they would be waited for.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Rotates one user's key after the other until told to stop; returns how often.
fn rotate_until(store: &Store, name: &str, done: &AtomicBool) -> u32 {
    let mut key = store.add_user(name).digest;
    let mut rotations = 0;
    while !done.load(Ordering::Relaxed) {
        let next = fresh_digest();
        let answer = store.rotate(&rotation(&key, &next)).json();
        if answer["outcome"] == "rotated" {
            (key, rotations) = (next, rotations + 1);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    rotations
}

#[test]
fn a_backup_ends_under_steady_writes_and_is_of_one_moment() {
    let home = Home::new();
    let mut serve = home.serve_with("--rotation-interval", "1s");
    let store = home.start_as(&mut serve);
    let many: String = (0..20_000)
        .map(|number| format!("u_{number},{}\n", fresh_digest().to_hex()))
        .collect();
    fs::write(home.path("many.csv"), format!("user,digest\n{many}")).unwrap();
    let imported = store.cli(&["import", home.path("many.csv").to_str().unwrap()]);
    assert!(imported.status.success(), "{imported:?}");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|number| {
                let (store, done) = (&store, &done);
                scope.spawn(move || {
                    // Every 20 ms one change each: 200 a second.
                    let mut changes = 0;
                    while !done.load(Ordering::Relaxed) {
                        store.add_user(&format!("writer-{number}-{changes}"));
                        changes += 1;
                        std::thread::sleep(Duration::from_millis(20));
                    }
                    changes
                })
            })
            .collect();
        let all = Done(&done);
        let rotating = scope.spawn(|| rotate_until(&store, "rotator", &done));
        for round in 0..3 {
            let began = Instant::now();
            let (file, copy) = made(&home, &format!("copy-{round}.db"));
            let took = began.elapsed();
            assert!(took < SOON, "{took:?}");
            let imported = "SELECT count(*) FROM audit WHERE action = 'imported'";
            assert_eq!(count(&copy, imported), 20_000);
            let head = count(&copy, "SELECT revision FROM meta");
            assert_eq!(count(&copy, "SELECT max(revision) FROM live_keys"), head);
            let twice = "SELECT count(*) FROM users u WHERE (SELECT count(*) FROM keys k
                         WHERE k.user_id = u.user_id AND k.state = 'active') <> 1";
            assert_eq!(count(&copy, twice), 0);
            let mode = fs::metadata(&file).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            let journal: String = copy
                .query_row("PRAGMA journal_mode", [], |row| row.get(0))
                .unwrap();
            assert_eq!(journal, "delete", "one file");
            println!("a backup beside four writers took {took:?}");
        }
        drop(all);
        let changes: u32 = writers.into_iter().map(|one| one.join().unwrap()).sum();
        rotating.join().unwrap();
        assert!(changes > 20, "somebody wrote meanwhile: {changes}");
    });
    let beside = files(home.database().parent().unwrap());
    let leftover = |path: &Path| path.to_string_lossy().contains(".rekey-backup-");
    assert!(
        !beside.iter().any(|(path, _)| leftover(path)),
        "temporary files"
    );
}

#[test]
fn a_backup_during_an_import_has_all_of_it_or_nothing() {
    let home = Home::new();
    let store = home.start();
    store.add_user("ann");
    let rows = 30_000;
    let lines: String = (0..rows)
        .map(|number| format!("u_{number},{}\n", fresh_digest().to_hex()))
        .collect();
    fs::write(home.path("many.csv"), format!("user,digest\n{lines}")).unwrap();
    std::thread::scope(|scope| {
        let path = home.path("many.csv");
        let store = &store;
        let importing = scope.spawn(move || store.cli(&["import", path.to_str().unwrap()]));
        let mut round = 0;
        while !importing.is_finished() {
            let (_, copy) = made(&home, &format!("copy-{round}.db"));
            let keys = count(&copy, "SELECT count(*) FROM live_keys");
            assert!(keys == 1 || keys == rows + 1, "{keys}");
            round += 1;
        }
        let imported = importing.join().unwrap();
        assert!(imported.status.success(), "{imported:?}");
    });
    let (_, copy) = made(&home, "last.db");
    assert_eq!(count(&copy, "SELECT count(*) FROM keys"), rows + 1);
}

#[test]
fn a_stopped_and_a_killed_store_can_be_backed_up_and_stay_as_they_are() {
    let home = Home::new();
    let store = home.start();
    let user = store.add_user("ann");
    assert_eq!(store.stop(), Some(0));
    let before = fs::read(home.database()).unwrap();
    let (_, copy) = made(&home, "stopped.db");
    assert_eq!(count(&copy, "SELECT count(*) FROM keys"), 1);
    assert_eq!(fs::read(home.database()).unwrap(), before);

    let store = home.start();
    let request = rotation(&user.digest, &fresh_digest());
    assert_eq!(store.rotate(&request).json()["outcome"], "rotated");
    store.kill();
    let log = home.path("rekey.db-wal");
    let (database, left) = (fs::read(home.database()).unwrap(), fs::read(&log).unwrap());
    assert!(!left.is_empty(), "the log was left behind");
    let lock = fs::read(home.path("rekey.db.lock")).unwrap();
    let (_, copy) = made(&home, "killed.db");
    assert_eq!(
        count(&copy, "SELECT count(*) FROM keys"),
        2,
        "the log counts"
    );
    is_of_one_moment(&copy);
    assert_eq!(fs::read(home.database()).unwrap(), database);
    assert_eq!(fs::read(&log).unwrap(), left);
    assert_eq!(fs::read(home.path("rekey.db.lock")).unwrap(), lock);
    // The next start finds all as it was.
    let store = home.start();
    assert_eq!(store.resolve(&user.digest).json()["state"], "revoked");
}

#[test]
fn what_cannot_be_backed_up_is_said_and_nothing_is_written() {
    let home = Home::new();
    home.start().add_user("ann");
    let file = home.path("copy.db");
    let refused = |command: &mut Command, word: &str| {
        let refused = output(command, "");
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
        assert!(stderr(&refused).contains(word), "{word}: {refused:?}");
    };
    is_made(&output(&mut backup(&home, &file), ""));
    let first = fs::read(&file).unwrap();
    refused(&mut backup(&home, &file), "--force");
    assert_eq!(fs::read(&file).unwrap(), first);
    is_made(&output(backup(&home, &file).arg("--force"), ""));
    // Not over itself, by whatever name.
    let database = home.database();
    refused(
        backup(&home, &database).arg("--force"),
        "the database itself",
    );
    let alias = home.path("alias.db");
    std::os::unix::fs::symlink(&database, &alias).unwrap();
    refused(backup(&home, &alias).arg("--force"), "the database itself");
    // A log that SQLite would lay over it.
    fs::write(home.path("other.db-wal"), "of another database").unwrap();
    refused(&mut backup(&home, &home.path("other.db")), "other.db-wal");
    refused(
        &mut backup(&home, Path::new("/nonexistent/copy.db")),
        "/nonexistent",
    );
    let of = |name: &str, word: &str| {
        let mut command = cli(&["backup", home.path("never.db").to_str().unwrap()]);
        refused(command.arg("--database").arg(home.path(name)), word);
    };
    of("missing.db", "there is no database");
    fs::write(
        home.path("letter.db"),
        "This is a letter to a friend. ".repeat(99),
    )
    .unwrap();
    of("letter.db", "not a SQLite database");
    let foreign = Connection::open(home.path("foreign.db")).unwrap();
    foreign
        .execute_batch("CREATE TABLE somebody (elses)")
        .unwrap();
    of("foreign.db", "of another program");
    fs::write(home.path("empty.db"), "").unwrap();
    of("empty.db", "empty");
    let mut bytes = fs::read(&file).unwrap();
    bytes.iter_mut().skip(4096).for_each(|byte| *byte ^= 0x5a);
    fs::write(home.path("damaged.db"), bytes).unwrap();
    of("damaged.db", "corrupt");
    assert!(!home.path("never.db").exists());
}

#[test]
fn a_backup_can_be_sent_to_standard_output() {
    let home = Home::new();
    home.start().add_user("ann");
    let sent = output(&mut backup(&home, Path::new("-")), "");
    is_made(&sent);
    fs::write(home.path("sent.db"), &sent.stdout).unwrap();
    let copy = Connection::open(home.path("sent.db")).unwrap();
    assert_eq!(count(&copy, "SELECT count(*) FROM keys"), 1);
    is_of_one_moment(&copy);
}
