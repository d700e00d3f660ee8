//! Imports against a real database: what counts, what is held back, and what is
//! left of those that were given up.

use rekey_protocol::{FeedRequest, GatewayId, LEASE_LEAST_MS};

use super::*;
use crate::api::ImportRow;
use crate::engine::Engine;
use crate::engine::rows::NewKey;
use crate::engine::sqlite::{Owner, ReplayPlace, keys};
use crate::metrics::Metrics;
use crate::operations::users::{AddUser, NewUser};
use crate::rotation::RotationInterval;

fn opened(folder: &std::path::Path) -> (Database, Owner) {
    let opened = Database::open(
        &folder.join("rekey.db"),
        RotationInterval::HOUR,
        false,
        &ReplayPlace::Off,
        Arc::new(Metrics::new()),
    );
    opened.unwrap()
}

fn digest(number: u8) -> Digest {
    Digest::from_bytes([number; 32])
}

fn user(name: &str) -> UserId {
    name.to_owned().try_into().unwrap()
}

fn new_user(name: &str, email: &str, key: u8) -> NewUser {
    NewUser {
        id: user(name),
        email: email.parse().unwrap(),
        digest: digest(key),
        hint: "hint".into(),
        phc: None,
    }
}

/// An import of these users and keys, each with an address.
fn import(database: &Database, rows: &[(&str, u8)]) -> Import {
    let permit = database.import_permit().unwrap();
    let mut import = database.begin_import(permit).unwrap();
    for (line, (name, key)) in rows.iter().enumerate() {
        let row = ImportRow {
            line: line as u64 + 1,
            user: (*name).into(),
            digest: hex::encode([*key; 32]).into(),
            email: Some(format!("{name}@example.com").into()),
            hint: None,
        };
        import.staging.add(&row).unwrap();
    }
    import
}

async fn count(database: &Database, sql: &'static str) -> i64 {
    let read = move |connection: &mut Connection| connection.query_row(sql, [], |row| row.get(0));
    database.readers.read(read).await.unwrap()
}

/// Until nothing is left to be done for any import.
async fn settled(database: &Database) {
    let began = Instant::now();
    while database.import_permit().is_err() {
        assert!(began.elapsed() < Duration::from_secs(20), "never done");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The revision that the feed lets a new gateway begin at, and that of the last
/// import as it tells it.
async fn told(database: &Database) -> (u64, u64) {
    let request = FeedRequest {
        gateway: GatewayId([7; 16]),
        cursor: None,
        lease_ms: LEASE_LEAST_MS,
        poll: 1,
        refused: vec![],
        secrets: None,
        used: vec![],
    };
    let answer = database.feed().poll(&request, database).await.unwrap();
    (answer.cursor.revision, answer.keys_imported_at)
}

#[tokio::test(flavor = "multi_thread")]
async fn s2_an_import_counts_by_one_revision_that_the_feed_tells() {
    let folder = tempfile::tempdir().unwrap();
    let (database, _owner) = opened(folder.path());
    let before = told(&database).await.0;
    let done = database.finish_import(import(&database, &[("ann", 1), ("bob", 2)]), false);
    let Imported::Done { rows: 2, revision } = done.await.unwrap() else {
        panic!("not done");
    };
    assert_eq!(revision, Some(before + 1));
    assert_eq!(told(&database).await, (before + 1, before + 1));
    for key in [1, 2] {
        let (found, _) = database.resolve(digest(key)).await.unwrap().unwrap();
        assert_eq!(found.revision, before + 1);
    }
    assert_eq!(count(&database, "SELECT count(*) FROM audit").await, 2);
    settled(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_whose_client_has_gone_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let (database, _owner) = opened(folder.path());
    let import = import(&database, &[("ann", 1), ("bob", 2)]);
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let writer = database.writer.clone();
    let held = tokio::spawn(async move { writer.alone(move || wait.recv().is_err()).await });
    let importing = database.clone();
    let client = tokio::spawn(async move { importing.finish_import(import, false).await.is_ok() });
    database.writer.await_waiting(1).await;
    client.abort();
    assert!(client.await.unwrap_err().is_cancelled());
    drop(go);
    assert_eq!(held.await.unwrap(), Ok(true));
    settled(&database).await;
    assert!(database.resolve(digest(1)).await.unwrap().is_err());
    for table in ["SELECT count(*) FROM keys", "SELECT count(*) FROM users"] {
        assert_eq!(count(&database, table).await, 0, "{table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_gets_a_row_between_check_and_load_is_named_and_nothing_is_imported() {
    for (rival, reason) in [
        (new_user("bob", "bob@example.com", 9), "active key"),
        (new_user("eve", "bob@example.com", 9), "another user has"),
        (new_user("eve", "eve@example.com", 2), "knows this key"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (database, _owner) = opened(folder.path());
        let rows = [("ann", 1), ("bob", 2), ("carl", 3)];
        let (import, bad) = check(import(&database, &rows)).await.unwrap();
        assert_eq!(bad, 0);
        database.run(AddUser(rival)).await.unwrap().unwrap();
        let put_in = database.put_in(import).await.unwrap();
        let Imported::Refused(import, bad) = put_in else {
            panic!("{reason}: imported");
        };
        let mut named = Vec::new();
        let take = |row: crate::api::BadRow| {
            named.push((row.line, row.reason));
            true
        };
        import.staging.bad_rows(take).unwrap();
        assert!(bad == 1 && named[0].0 == 2, "{named:?}");
        assert!(named[0].1.contains(reason), "{named:?}");
        drop(import);
        settled(&database).await;
        assert_eq!(count(&database, "SELECT count(*) FROM users").await, 1);
        assert_eq!(count(&database, "SELECT count(*) FROM keys").await, 1);
        assert_eq!(count(&database, "SELECT count(*) FROM imports").await, 0);
        // SQLite looks for what refers to what again.
        let orphan = database.writer.change(Kind::Admin, |transaction, now| {
            keys::insert(
                transaction,
                &NewKey {
                    digest: &digest(77),
                    user: &user("nobody"),
                    hint: None,
                    created: now.told,
                    revision: 1,
                },
            )
        });
        assert!(orphan.await.is_err());
    }
}
