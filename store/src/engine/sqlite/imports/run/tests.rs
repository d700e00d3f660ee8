//! Imports against a real database: what counts, what is held back, and what is
//! left of those that were given up.

use rekey_protocol::{Client, FeedRequest, GatewayId, LEASE_LEAST_MS, UserId};

use super::*;
use crate::api::ImportRow;
use crate::clock::UnixMillis;
use crate::engine::Engine;
use crate::engine::rows::NewKey;
use crate::engine::sqlite::transaction::testing::{read, run};
use crate::engine::sqlite::{
    Owner, PasswordRefusal, ReplayPlace, audit, history, keys, life, passwords, schema, users,
};
use crate::operations::audit::Selection;
use crate::operations::keys::{LastChangeOf, Resolve};
use crate::operations::own_key::RevokeOwn;
use crate::operations::revoke::{Revoke, RevokeRefusal};
use crate::operations::users::{AddRefusal, AddUser, Issue, IssueRefusal, NewUser};

use crate::metrics::Metrics;
use crate::rotation::RotationInterval;

const NOW: Moment = Moment::both(UnixMillis(1_000_000_000));

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

/// A database in which "old" has had key 9, revoked, and an import is under way
/// that brings "ann" key 1 and "old" key 2.
fn staged() -> (Connection, ImportId) {
    let mut connection = Connection::open_in_memory().unwrap();
    schema::migrate(&mut connection).unwrap();
    life::begin_incarnation(&mut connection, &life::Begin::first(NOW.told)).unwrap();
    let old = new_user("old", "old@example.com", 9);
    run(&connection, NOW, &AddUser(old)).unwrap();
    run(&connection, NOW, &Revoke::OfUser(user("old"))).unwrap();
    let id = imports::begin(&connection, NOW).unwrap();
    let row = |name: &str, key, email: Option<&str>| Row {
        user: name.into(),
        digest: digest(key),
        email: email.map(str::to_owned),
        email_normal: email.map(str::to_owned),
        hint: None,
    };
    let rows = [row("ann", 1, Some("ann@example.com")), row("old", 2, None)];
    let loaded = imports::load(&connection, NOW, id, &rows).unwrap();
    assert_eq!(loaded, Loaded::Rows(2));
    (connection, id)
}

#[test]
fn rows_that_do_not_count_are_nobodys_and_taken() {
    let (connection, id) = staged();
    let (ann, old) = (user("ann"), user("old"));
    for key in [1, 2] {
        assert!(read(&connection, NOW, &Resolve(digest(key))).is_err());
        let revoked = run(&connection, NOW, &Revoke::Key(digest(key)));
        assert_eq!(revoked, Err(RevokeRefusal::UnknownKey));
    }
    let revoked = run(&connection, NOW, &Revoke::OfUser(ann.clone()));
    assert_eq!(revoked, Err(RevokeRefusal::UnknownUser));
    let set = passwords::set(&connection, NOW, &ann, "phc").unwrap();
    assert_eq!(set, Err(PasswordRefusal::UnknownUser));
    let account = passwords::account(&connection, "ann@example.com", &[]).unwrap();
    assert_eq!(account, None);
    let issue = |user: &UserId| {
        let issue = Issue {
            user: user.clone(),
            digest: digest(7),
            hint: "hint".into(),
        };
        run(&connection, NOW, &issue)
    };
    assert_eq!(issue(&ann), Err(IssueRefusal::UnknownUser));
    assert_eq!(issue(&old), Err(IssueRefusal::BeingImported));
    for new in [
        new_user("ann", "other@example.com", 8),
        new_user("other", "ANN@example.com", 8),
    ] {
        let added = run(&connection, NOW, &AddUser(new));
        assert_eq!(added, Err(AddRefusal::BeingImported));
    }
    let listed = users::list(&connection, "", 10).unwrap();
    assert_eq!(listed.len(), 1);
    assert!(listed[0].key.is_none());
    assert_eq!(keys::active(&connection, &old).unwrap(), None);
    assert!(history::revoked_after(&connection, 0, 9).unwrap().len() == 1);

    let revision = imports::cut_over(&connection, NOW, id).unwrap();
    let found = read(&connection, NOW, &Resolve(digest(1))).unwrap();
    assert_eq!((found.user, found.revision), (ann, revision));
    let active = keys::active(&connection, &old).unwrap().unwrap();
    assert_eq!((active.digest, active.revision), (digest(2), revision));
    assert_eq!(users::list(&connection, "", 10).unwrap().len(), 2);
}

#[test]
fn the_audit_log_tells_of_an_import_before_what_happens_to_its_keys() {
    let (connection, id) = staged();
    imports::cut_over(&connection, NOW, id).unwrap();
    let (ann, client) = (user("ann"), Client::default());
    let shown = keys::active(&connection, &ann).unwrap().unwrap().revision;
    let user = ann.clone();
    let revoke = RevokeOwn {
        user,
        shown,
        client,
    };
    let last = run(&connection, NOW, &revoke).unwrap().revision;
    // Told of all of them, some once more after a crash.
    for _ in 0..2 {
        let keys = imports::keys_after(&connection, id, None, 9).unwrap();
        assert_eq!(imports::tell(&connection, &keys).unwrap(), 2);
    }
    imports::told(&connection, id).unwrap();
    assert_eq!(imports::stage(&connection, id).unwrap(), Stage::Over);
    let wanted = Selection {
        user: Some(ann.clone()),
        after: 0,
        since: None,
        limit: 9,
    };
    let events = audit::list(&connection, &wanted).unwrap();
    let actions: Vec<_> = events.iter().map(|event| event.action.as_str()).collect();
    assert_eq!(actions, ["imported", "revoked"]);
    assert_eq!(read(&connection, NOW, &LastChangeOf(ann)), last);
    let imported = "SELECT count(*) FROM audit WHERE action = 'imported'";
    let count: i64 = connection
        .query_row(imported, [], |row| row.get(0))
        .unwrap();
    assert_eq!(count, 2);
}

#[test]
fn what_counts_is_not_removed_and_what_does_not_is_removed_in_any_order_of_crashes() {
    let (connection, id) = staged();
    let all = [digest(1), digest(2), digest(9)];
    let users = ["ann".to_owned(), "old".to_owned()];
    let number = |sql: &str| -> i64 { connection.query_row(sql, [], |row| row.get(0)).unwrap() };
    imports::remove_keys(&connection, id, &all[..1]).unwrap();
    assert_eq!(imports::stage(&connection, id).unwrap(), Stage::Staged);
    assert_eq!(imports::unfinished(&connection).unwrap(), [id]);
    imports::remove_keys(&connection, id, &all).unwrap();
    imports::remove_users(&connection, id, &users).unwrap();
    imports::forget(&connection, id).unwrap();
    assert_eq!(
        number("SELECT count(*) FROM keys"),
        1,
        "that of the user before"
    );
    assert_eq!(number("SELECT count(*) FROM users"), 1);
    assert!(imports::unfinished(&connection).unwrap().is_empty());

    let (connection, id) = staged();
    imports::cut_over(&connection, NOW, id).unwrap();
    imports::remove_keys(&connection, id, &all).unwrap();
    imports::remove_users(&connection, id, &users).unwrap();
    imports::forget(&connection, id).unwrap();
    assert!(read(&connection, NOW, &Resolve(digest(1))).is_ok());
    assert!(matches!(
        imports::stage(&connection, id).unwrap(),
        Stage::Counts(_)
    ));
}
