//! What an import does to the tables: what counts, what is held back, and what is left
//! of one that was given up.

use rekey_protocol::{Client, UserId};

use super::*;
use crate::clock::StoreTime;
use crate::engine::sqlite::transaction::testing::{read, run};
use crate::engine::sqlite::{audit, history, incarnation, keys, schema, users};
use crate::operations::audit::Selection;
use crate::operations::imports::CountImport;
use crate::operations::incarnation::Begin;
use crate::operations::keys::own_key::RevokeOwn;
use crate::operations::keys::revoke::{Revoke, RevokeRefusal};
use crate::operations::keys::{LastChangeOf, Resolve};
use crate::operations::testing::{digest, new_user, user};
use crate::operations::users::passwords::{FindAccount, PasswordRefusal, SetPassword};
use crate::operations::users::{AddRefusal, AddUser, Issue, IssueRefusal};

const NOW: StoreTime = StoreTime::both(UnixMillis(1_000_000_000));

/// A database in which "old" has had key 9, revoked, and an import is under way
/// that brings "ann" key 1 and "old" key 2.
fn staged() -> (Connection, ImportId) {
    let mut connection = Connection::open_in_memory().unwrap();
    schema::migrate(&mut connection).unwrap();
    incarnation::begin_incarnation(&mut connection, &Begin::first(NOW.told)).unwrap();
    let old = new_user("old", "old@example.com", 9);
    run(&connection, NOW, &AddUser(old)).unwrap();
    run(&connection, NOW, &Revoke::OfUser(user("old"))).unwrap();
    let id = begin(&connection, NOW.told).unwrap();
    let row = |name: &str, key, email: Option<&str>| ImportedRow {
        user: user(name),
        digest: digest(key),
        email: email.map(str::to_owned),
        email_normal: email.map(str::to_owned),
        hint: None,
    };
    let rows = [row("ann", 1, Some("ann@example.com")), row("old", 2, None)];
    let loaded = load(&connection, id, &rows, NOW.told).unwrap();
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
    let set = SetPassword {
        user: ann.clone(),
        phc: "phc".into(),
    };
    let set = run(&connection, NOW, &set);
    assert_eq!(set, Err(PasswordRefusal::UnknownUser));
    let find = FindAccount {
        email: "ann@example.com".into(),
        devices: Vec::new(),
    };
    assert_eq!(read(&connection, NOW, &find), None);
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

    let revision = run(&connection, NOW, &CountImport(id));
    let found = read(&connection, NOW, &Resolve(digest(1))).unwrap();
    assert_eq!((found.user, found.revision), (ann, revision));
    let active = keys::active(&connection, &old).unwrap().unwrap();
    assert_eq!((active.digest, active.revision), (digest(2), revision));
    assert_eq!(users::list(&connection, "", 10).unwrap().len(), 2);
}

#[test]
fn the_audit_log_tells_of_an_import_before_what_happens_to_its_keys() {
    let (connection, id) = staged();
    run(&connection, NOW, &CountImport(id));
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
        let keys = keys_after(&connection, id, None, 9).unwrap();
        assert_eq!(tell(&connection, &keys).unwrap(), 2);
    }
    told(&connection, id).unwrap();
    assert_eq!(stage(&connection, id).unwrap(), Stage::Over);
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
    let users = ["ann", "old"].map(user);
    let number = |sql: &str| -> i64 { connection.query_row(sql, [], |row| row.get(0)).unwrap() };
    remove_keys(&connection, id, &all[..1]).unwrap();
    assert_eq!(stage(&connection, id).unwrap(), Stage::Staged);
    assert_eq!(unfinished(&connection).unwrap(), [id]);
    remove_keys(&connection, id, &all).unwrap();
    remove_users(&connection, id, &users).unwrap();
    forget(&connection, id).unwrap();
    assert_eq!(
        number("SELECT count(*) FROM keys"),
        1,
        "that of the user before"
    );
    assert_eq!(number("SELECT count(*) FROM users"), 1);
    assert!(unfinished(&connection).unwrap().is_empty());

    let (connection, id) = staged();
    run(&connection, NOW, &CountImport(id));
    remove_keys(&connection, id, &all).unwrap();
    remove_users(&connection, id, &users).unwrap();
    forget(&connection, id).unwrap();
    assert!(read(&connection, NOW, &Resolve(digest(1))).is_ok());
    assert!(matches!(stage(&connection, id).unwrap(), Stage::Counts(_)));
}
