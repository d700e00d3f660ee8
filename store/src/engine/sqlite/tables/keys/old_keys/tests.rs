//! Uses of old keys in the database, and what the audit log is told of them.

use crate::operations::audit::action::Action;
use rekey_protocol::Client;
use rusqlite::Connection;

use super::*;
use crate::clock::{StoreTime, UnixMillis};
use crate::engine::rows::{By, Event, NewKey};
use crate::engine::sqlite::transaction::testing::run;
use crate::engine::sqlite::{audit, history, incarnation, keys, schema};
use crate::operations::audit::Selection;
use crate::operations::incarnation::Begin;
use crate::operations::keys::revoke::Revoke;
use crate::operations::testing::{digest, user};
use crate::operations::users::{AddUser, Issue, NewUser};
use crate::operations::uses::old_keys::RecordOldKeyUses;

const DAY: i64 = 24 * 3600 * 1000;

/// A database in which "ann" has had the keys 1 and 2, replaced and revoked,
/// and has 3; "bob" has had 11.
fn database() -> Connection {
    let mut connection = Connection::open_in_memory().unwrap();
    schema::migrate(&mut connection).unwrap();
    let now = StoreTime::both(UnixMillis(0));
    incarnation::begin_incarnation(&mut connection, &Begin::first(now.told)).unwrap();
    for (name, first) in [("ann", 1), ("bob", 11)] {
        let new = NewUser {
            id: user(name),
            email: format!("{name}@example.com").parse().unwrap(),
            digest: digest(first),
            hint: format!("{first:04}"),
            phc: None,
        };
        run(&connection, now, &AddUser(new)).unwrap();
    }
    let revision = history::next_revision(&connection, now).unwrap();
    keys::set_revoked(&connection, &digest(1), now.told, revision).unwrap();
    let replaced_by = NewKey {
        digest: &digest(2),
        user: &user("ann"),
        hint: Some("0002"),
        created: now.told,
        revision,
    };
    keys::insert(&connection, &replaced_by).unwrap();
    let client = Client::default();
    let rotated = Event {
        user: &user("ann"),
        action: Action::Rotated,
        revision,
        old_digest: Some(&digest(1)),
        new_digest: Some(&digest(2)),
        hint: Some("0002"),
        rotation_id: None,
        uses: None,
        by: By::gateway(&client),
    };
    audit::append(&connection, now, &rotated).unwrap();
    for revoked in [2, 11] {
        let revoked = run(&connection, now, &Revoke::Key(digest(revoked)));
        assert!(revoked.unwrap().revoked);
    }
    let issue = Issue {
        user: user("ann"),
        digest: digest(3),
        hint: "0003".into(),
    };
    run(&connection, now, &issue).unwrap();
    connection
}

fn used(connection: &Connection, at: i64, counts: &[(u8, u64)]) -> u64 {
    let counts = counts.iter().map(|(key, count)| (digest(*key), *count));
    let record = RecordOldKeyUses(counts.collect());
    run(connection, StoreTime::both(UnixMillis(at)), &record)
}

/// The uses that the rows of the audit log tell, in their order.
fn told(connection: &Connection, name: &str) -> Vec<u64> {
    let wanted = Selection {
        user: Some(user(name)),
        limit: 1000,
        ..Selection::default()
    };
    let events = audit::list(connection, &wanted).unwrap();
    events.iter().filter_map(|event| event.uses).collect()
}

#[test]
fn uses_add_up_by_key_and_the_last_used_comes_first() {
    let database = database();
    assert_eq!(used(&database, 10_000, &[(1, 3), (2, 1)]), 4);
    assert_eq!(used(&database, 20_000, &[(1, 34)]), 34);
    let uses = of_user(&database, &user("ann"), 9).unwrap();
    let seen: Vec<_> = uses
        .iter()
        .map(|one| (one.hint.as_deref().unwrap(), one.replaced, one.uses))
        .collect();
    assert_eq!(seen, [("0001", true, 37), ("0002", false, 1)]);
    assert_eq!(uses[0].first_at, "1970-01-01T00:00:10Z");
    assert_eq!(uses[0].last_at, "1970-01-01T00:00:20Z");
    assert_eq!(of_user(&database, &user("ann"), 1).unwrap().len(), 1);
    assert_eq!(of_user(&database, &user("bob"), 9).unwrap(), []);
}

#[test]
fn i8_unknown_and_active_keys_leave_nothing_behind() {
    let database = database();
    assert_eq!(used(&database, 1, &[(3, 5), (99, 7), (11, 1)]), 1);
    let count = "SELECT count(*) FROM old_key_uses";
    let rows: i64 = database.query_row(count, [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 1);
    assert!(told(&database, "ann").is_empty());
}

#[test]
fn the_audit_log_is_told_of_the_first_use_and_then_once_a_day() {
    let database = database();
    for minute in 0..3 * 24 * 60 {
        used(&database, minute * 60_000, &[(1, 2)]);
    }
    let a_day = 2 * 24 * 60;
    assert_eq!(told(&database, "ann"), [2, a_day + 2, 2 * a_day + 2]);
    // The first use of another key is told at once, and counts for the day.
    let now = 3 * DAY - 1;
    used(&database, now, &[(2, 1)]);
    assert_eq!(told(&database, "ann").last(), Some(&1));
    used(&database, now + 1, &[(1, 1), (2, 1)]);
    assert_eq!(told(&database, "ann").len(), 4);
    used(&database, now + DAY, &[(1, 1), (2, 1)]);
    assert_eq!(told(&database, "ann").len(), 5);
    // Nobody else's day is affected.
    used(&database, now + 2, &[(11, 1)]);
    assert_eq!(told(&database, "bob"), [1]);
}

#[test]
fn a_use_does_not_change_what_last_happened_to_the_key() {
    let database = database();
    let before = audit::latest_of_keys(&database, &user("ann")).unwrap();
    used(&database, 1, &[(1, 1)]);
    assert_eq!(
        audit::latest_of_keys(&database, &user("ann")).unwrap(),
        before
    );
}
