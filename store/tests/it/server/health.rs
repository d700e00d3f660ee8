//! `/livez` and `/readyz`: the process runs, and it can do its work. Disks that are full
//! are in [`crate::database::disk`].

use std::fs;
use std::time::{Duration, Instant};

use crate::process::{Answer, Home, Store, await_some, fresh_digest, rotation};

/// Both listeners' answers.
pub(crate) fn asked(store: &Store, path: &str) -> [Answer; 2] {
    [&store.url, &store.admin_url].map(|url| store.call("GET", &format!("{url}{path}"), None, None))
}

pub(crate) fn is_ready(store: &Store) {
    for path in ["/livez", "/readyz", "/healthz"] {
        for answer in asked(store, path) {
            assert_eq!(
                (answer.status, answer.text.as_str()),
                (200, "ok\n"),
                "{path}"
            );
        }
    }
}

/// Alive, and not ready for this reason.
pub(crate) fn is_not_ready(store: &Store, word: &str) {
    for answer in asked(store, "/livez") {
        assert_eq!(answer.status, 200);
    }
    for path in ["/readyz", "/healthz"] {
        for answer in asked(store, path) {
            assert_eq!(
                (answer.status, answer.code().as_str()),
                (503, "unavailable")
            );
            assert!(answer.text.contains(word), "{path}: {answer:?}");
            assert_eq!(answer.header("rekey-store"), Some("1"));
            assert_eq!(answer.header("retry-after"), Some("1"));
        }
    }
}

#[test]
fn s8_a_store_whose_database_may_not_be_served_is_not_ready() {
    let home = Home::new();
    home.start().stop();
    let backup = fs::read(home.database()).unwrap();
    let store = home.start();
    is_ready(&store);
    assert_eq!(store.stop(), Some(0));
    fs::write(home.database(), backup).unwrap();
    let store = home.start();
    is_not_ready(&store, "--accept-restore");
    assert_eq!(store.stop(), Some(0));
    is_ready(&home.start_as(home.serve().arg("--accept-restore")));
}

#[test]
fn a_store_whose_changes_wait_says_so_in_time_and_comes_back() {
    let home = Home::new();
    let store = home.start();
    let user = store.add_user("ann");
    is_ready(&store);
    let other = home.sql();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    await_some(|| (asked(&store, "/readyz")[0].status == 503).then_some(()));
    for _ in 0..3 {
        let began = Instant::now();
        let [answer, _] = asked(&store, "/readyz");
        assert_eq!(answer.status, 503, "{answer:?}");
        // Two listeners, a second each at most, and the machine may be busy.
        assert!(
            began.elapsed() < Duration::from_secs(8),
            "{:?}",
            began.elapsed()
        );
        assert!(answer.text.contains("changes"), "{answer:?}");
    }
    assert_eq!(store.resolve(&user.digest).status, 200, "reading goes on");
    other.execute_batch("ROLLBACK").unwrap();
    await_some(|| (asked(&store, "/readyz")[0].status == 200).then_some(()));
    let request = rotation(&user.digest, &fresh_digest());
    assert_eq!(store.rotate(&request).json()["outcome"], "rotated");
}

#[test]
fn being_asked_makes_few_changes_and_none_that_counts() {
    let home = Home::new();
    let store = home.start();
    store.add_user("ann");
    let commits = || store.metric::<u32>("commit_batch_size_count").unwrap();
    let (revision, before) = (home.count("SELECT revision FROM meta"), commits());
    for _ in 0..50 {
        asked(&store, "/readyz");
    }
    assert!(commits() - before < 10, "{}", commits() - before);
    assert_eq!(home.count("SELECT revision FROM meta"), revision);
}

#[test]
fn the_sizes_of_files_and_disk_are_metrics() {
    let home = Home::new();
    let store = home.start();
    let told = |name: &str| store.metric::<u64>(&format!("{name}_bytes")).unwrap();
    let size = |name: &str| fs::metadata(home.path(name)).unwrap().len();
    let before = told("write_ahead_log_size");
    for number in 0..20 {
        store.add_user(&format!("user-{number}"));
    }
    assert!(told("write_ahead_log_size") > before);
    assert_eq!(told("write_ahead_log_size"), size("rekey.db-wal"));
    assert_eq!(told("database_size"), size("rekey.db"));
    assert!(told("disk_free") > 0);
}
