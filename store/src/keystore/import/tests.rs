//! Imports against a real database: what counts, what is held back, and what is
//! left of those that were given up.

use std::path::Path;
use std::time::Instant;

use rekey_protocol::{FeedRequest, GatewayId, LEASE_LEAST_MS};

use super::*;
use crate::engine::Engine;
use crate::engine::serve::ReplayPlace;
use crate::engine::sqlite::Sqlite;
use crate::engine::sqlite::probing::settings;
use crate::keystore::Running;
use crate::operations::testing::{digest, new_user};
use crate::operations::users::AddUser;

async fn opened(folder: &Path) -> Running<Sqlite> {
    let settings = settings(folder, ReplayPlace::Off);
    KeyStore::start(settings).await.unwrap()
}

/// An import of these users and keys, each with an address.
fn import(store: &KeyStore<Sqlite>, rows: &[(&str, u8)]) -> Import<<Sqlite as Importing>::Staging> {
    let permit = store.import_permit().unwrap();
    let mut import = store.begin_import(permit).unwrap();
    for (line, (name, key)) in rows.iter().enumerate() {
        let row = ImportRow {
            line: line as u64 + 1,
            user: (*name).into(),
            digest: hex::encode([*key; 32]).into(),
            email: Some(format!("{name}@example.com").into()),
            hint: None,
        };
        import.add(&row).unwrap();
    }
    import
}

async fn count(store: &KeyStore<Sqlite>, sql: &'static str) -> i64 {
    store.engine().count(sql).await
}

/// Until nothing is left to be done for any import.
async fn settled(store: &KeyStore<Sqlite>) {
    let began = Instant::now();
    while store.import_permit().is_err() {
        assert!(began.elapsed() < Duration::from_secs(20), "never done");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The revision that the feed lets a new gateway begin at, and that of the last
/// import as it tells it.
async fn told(store: &KeyStore<Sqlite>) -> (u64, u64) {
    let request = FeedRequest {
        gateway: GatewayId([7; 16]),
        cursor: None,
        lease_ms: LEASE_LEAST_MS,
        poll: 1,
        refused: vec![],
        secrets: None,
        used: vec![],
    };
    let answer = store.feed().poll(&request, store.engine()).await.unwrap();
    (answer.cursor.revision, answer.keys_imported_at)
}

#[tokio::test(flavor = "multi_thread")]
async fn s2_an_import_counts_by_one_revision_that_the_feed_tells() {
    let folder = tempfile::tempdir().unwrap();
    let Running { store, ownership } = opened(folder.path()).await;
    let before = told(&store).await.0;
    let done = store.finish_import(import(&store, &[("ann", 1), ("bob", 2)]), ImportMode::PutIn);
    let Imported::Done { rows: 2, revision } = done.await.unwrap() else {
        panic!("not done");
    };
    assert_eq!(revision, Some(before + 1));
    assert_eq!(told(&store).await, (before + 1, before + 1));
    for key in [1, 2] {
        let found = store.resolve(digest(key)).await.unwrap().unwrap();
        assert_eq!(found.key.revision, before + 1);
    }
    assert_eq!(count(&store, "SELECT count(*) FROM audit").await, 2);
    settled(&store).await;
    drop(ownership);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_whose_client_has_gone_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let Running { store, ownership } = opened(folder.path()).await;
    let import = import(&store, &[("ann", 1), ("bob", 2)]);
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let writer = store.engine().writer().clone();
    let held = tokio::spawn(async move { writer.alone(move || wait.recv().is_err()).await });
    let importing = store.clone();
    let client = tokio::spawn(async move {
        importing
            .finish_import(import, ImportMode::PutIn)
            .await
            .is_ok()
    });
    store.engine().writer().await_waiting(1).await;
    client.abort();
    assert!(client.await.unwrap_err().is_cancelled());
    drop(go);
    assert_eq!(held.await.unwrap(), Ok(true));
    settled(&store).await;
    assert!(store.resolve(digest(1)).await.unwrap().is_err());
    for table in ["SELECT count(*) FROM keys", "SELECT count(*) FROM users"] {
        assert_eq!(count(&store, table).await, 0, "{table}");
    }
    drop(ownership);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_gets_a_row_between_check_and_load_is_named_and_nothing_is_imported() {
    for (rival, reason) in [
        (new_user("bob", "bob@example.com", 9), "active key"),
        (new_user("eve", "bob@example.com", 9), "another user has"),
        (new_user("eve", "eve@example.com", 2), "knows this key"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let Running { store, ownership } = opened(folder.path()).await;
        let rows = [("ann", 1), ("bob", 2), ("carl", 3)];
        let checked = check(import(&store, &rows)).await.unwrap();
        assert_eq!(checked.bad_rows, 0);
        store.engine().run(AddUser(rival)).await.unwrap().unwrap();
        let put_in = store.put_in(checked.import).await.unwrap();
        let Imported::Refused(CheckedImport { import, bad_rows }) = put_in else {
            panic!("{reason}: imported");
        };
        let mut named = Vec::new();
        let take = |row: crate::api::BadRow| {
            named.push((row.line, row.reason));
            true
        };
        import.bad_rows(take).unwrap();
        assert!(bad_rows == 1 && named[0].0 == 2, "{named:?}");
        assert!(named[0].1.contains(reason), "{named:?}");
        drop(import);
        settled(&store).await;
        assert_eq!(count(&store, "SELECT count(*) FROM users").await, 1);
        assert_eq!(count(&store, "SELECT count(*) FROM keys").await, 1);
        assert_eq!(count(&store, "SELECT count(*) FROM imports").await, 0);
        // SQLite looks for what refers to what again.
        assert!(!store.engine().takes_orphans().await);
        drop(ownership);
    }
}
