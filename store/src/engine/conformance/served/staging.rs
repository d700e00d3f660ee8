//! The rows of an import before they go in: what is bad about each, and in which order
//! the good ones are handed out.

use rekey_protocol::ResolvedState;

use super::bench::{digest, new_user, user};
use super::{Served, ServedEngine, on_every_server};
use crate::engine::import::{RowFault, Staging};
use crate::engine::rows::ImportedRow;
use crate::operations::keys::revoke::Revoke;
use crate::operations::users::removal::RemoveUser;

on_every_server![
    every_bad_row_is_named_with_one_reason,
    a_row_may_say_again_what_is_there,
    good_rows_come_in_the_order_of_their_users_by_pages,
    rows_are_compared_with_the_data_as_it_is_at_each_check,
];

/// A row with an address of the user's name.
fn row(name: &str, key: u8) -> ImportedRow {
    with_email(name, key, &format!("{name}@example.com"))
}

fn with_email(name: &str, key: u8, email: &str) -> ImportedRow {
    ImportedRow {
        email: Some(email.to_owned()),
        email_normal: Some(crate::accounts::typed::address(email)),
        ..without_email(name, key)
    }
}

fn without_email(name: &str, key: u8) -> ImportedRow {
    ImportedRow {
        user: user(name),
        digest: digest(key),
        email: None,
        email_normal: None,
        hint: None,
    }
}

/// A staging with these rows, in lines from 1 on.
fn staged<E: Served>(running: &ServedEngine<E>, rows: &[ImportedRow]) -> E::Staging {
    let mut staging = running.engine.stage().unwrap();
    for (line, row) in (1..).zip(rows) {
        staging.add(line, row).unwrap();
    }
    staging
}

#[derive(Debug, PartialEq)]
struct Bad {
    line: u64,
    reason: String,
}

fn bad_rows(staging: &impl Staging, most: usize) -> Vec<Bad> {
    let mut rows = Vec::new();
    let take = |row: crate::api::BadRow| {
        let (line, reason) = (row.line, row.reason);
        rows.push(Bad { line, reason });
        rows.len() < most
    };
    staging.bad_rows(take).unwrap();
    rows
}

/// "ann" and "bob" have the keys 1 and 2, "cid" had 3, and "dan" with 4 is removed.
async fn people<E: Served>(running: &ServedEngine<E>) {
    let engine = &running.engine;
    for (name, key) in [("ann", 1), ("bob", 2), ("cid", 3), ("dan", 4)] {
        engine.run(new_user(name, key)).await.unwrap().unwrap();
    }
    let revoked = engine.run(Revoke::Key(digest(3))).await.unwrap();
    revoked.unwrap();
    let removal = RemoveUser {
        user: user("dan"),
        pseudonym: user("removed-1"),
    };
    engine.run(removal).await.unwrap().unwrap();
}

async fn every_bad_row_is_named_with_one_reason<E: Served>(running: &ServedEngine<E>) {
    people(running).await;
    let rows = [
        row("eve", 11),
        with_email("eva", 11, "eva@example.com"),
        with_email("eve", 12, "eve2@example.com"),
        with_email("fay", 13, "EVE@example.com"),
        without_email("gil", 1),
        without_email("gus", 3),
        without_email("dan", 14),
        without_email("removed-1", 15),
        without_email("ann", 16),
        with_email("hal", 17, "bob@Example.com"),
        with_email("cid", 18, "other@example.com"),
        row("ida", 19),
    ];
    let mut staging = staged(running, &rows);
    staging.add_bad(99, "it is no row").unwrap();
    staging.add_bad(12, "an unlikely reason").unwrap();
    let known = RowFault::KnownKey;
    let expected = [
        (2, RowFault::SameKey { first: 1 }.to_string()),
        (3, RowFault::SameUser { first: 1 }.to_string()),
        (4, RowFault::SameEmail { first: 1 }.to_string()),
        (5, known(ResolvedState::Active).to_string()),
        (6, known(ResolvedState::Revoked).to_string()),
        (7, RowFault::RemovedUser.to_string()),
        (8, RowFault::RemovedUser.to_string()),
        (9, RowFault::HasKey.to_string()),
        (10, RowFault::TakenEmail.to_string()),
        (11, RowFault::OtherEmail.to_string()),
        (12, "an unlikely reason".to_owned()),
        (99, "it is no row".to_owned()),
    ];
    let expected = expected.map(|(line, reason)| Bad { line, reason });
    assert_eq!(staging.rows(), 14);
    assert_eq!(staging.check().unwrap(), 12);
    assert_eq!(bad_rows(&staging, 100), expected);
    assert_eq!(bad_rows(&staging, 2), expected[..2]);
    // As often as anybody asks.
    assert_eq!(staging.check().unwrap(), 12);
    assert_eq!(bad_rows(&staging, 100), expected);
}

async fn a_row_may_say_again_what_is_there<E: Served>(running: &ServedEngine<E>) {
    people(running).await;
    // A user without a key gets one, with the own address in another case or none.
    let rows = [with_email("cid", 21, "CID@example.com"), row("new", 22)];
    let mut staging = staged(running, &rows);
    assert_eq!(staging.check().unwrap(), 0, "{:?}", bad_rows(&staging, 9));
    let mut staging = staged(running, &[without_email("cid", 21)]);
    assert_eq!(staging.check().unwrap(), 0, "{:?}", bad_rows(&staging, 9));
}

async fn good_rows_come_in_the_order_of_their_users_by_pages<E: Served>(running: &ServedEngine<E>) {
    let rows = [row("c", 3), row("a", 1), row("d", 4), row("b", 2)];
    let mut staging = staged(running, &rows);
    assert_eq!(staging.check().unwrap(), 0);
    let page = |after: Option<&str>, limit| {
        let after = after.map(user);
        let rows = staging.rows_after(after.as_ref(), limit).unwrap();
        let names = rows.iter().map(|row| row.user.as_str().to_owned());
        names.collect::<Vec<_>>()
    };
    assert_eq!(page(None, 3), ["a", "b", "c"]);
    assert_eq!(page(Some("c"), 3), ["d"]);
    assert_eq!(page(Some("d"), 3), [""; 0]);
    let first = staging.rows_after(None, 1).unwrap().remove(0);
    assert_eq!(first.digest, digest(1));
    assert_eq!(first.email.as_deref(), Some("a@example.com"));
    assert_eq!(first.email_normal.as_deref(), Some("a@example.com"));
}

async fn rows_are_compared_with_the_data_as_it_is_at_each_check<E: Served>(
    running: &ServedEngine<E>,
) {
    let mut staging = staged(running, &[row("ann", 1), row("bob", 2)]);
    assert_eq!(staging.check().unwrap(), 0);
    let rival = new_user("ann", 9);
    running.engine.run(rival).await.unwrap().unwrap();
    assert_eq!(staging.check().unwrap(), 1);
    let reason = RowFault::HasKey.to_string();
    assert_eq!(bad_rows(&staging, 9), [Bad { line: 1, reason }]);
}
