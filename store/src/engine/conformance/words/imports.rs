//! Imports: what is in and does not count, from when on it does, and what the audit
//! log is owed.

use super::bench::{actions, add, at, digest, new_user, resolved, rotate, user};
use super::{Subject, on_every_engine, operation};
use crate::engine::rows::{ImportId, ImportedRow, Loaded, Stage, UserClaim, UserStatus};
use crate::operations::imports::{
    BeginImport, CountImport, EndImport, ForgetImport, StageOf, UnfinishedImports,
};
use crate::operations::keys::ShowKey;
use crate::operations::keys::revoke::Revoke;
use crate::operations::keys::rotate::Rotated;
use crate::operations::users::{AddRefusal, Issue, IssueRefusal, ListUsers};

on_every_engine![
    rows_that_do_not_count_are_only_in_the_way,
    a_cut_over_makes_all_rows_count_at_once,
    what_the_log_is_owed_comes_before_what_happens_next,
    a_row_that_cannot_be_is_a_conflict,
    what_is_given_up_leaves_nothing,
];

fn row(name: &str, key: u8) -> ImportedRow {
    let email = format!("{name}@Example.com");
    ImportedRow {
        user: user(name),
        digest: digest(key),
        email_normal: Some(crate::accounts::typed::address(&email)),
        email: Some(email),
        hint: Some(format!("{key:04}")),
    }
}

operation!(
    Load(ImportId, Vec<ImportedRow>) -> Loaded,
    |this, tx, cx| {
        let mut from = 0;
        // An engine may take them by parts.
        while from < this.1.len() {
            match tx.insert_imported(this.0, &this.1[from..], cx.now.told)? {
                Loaded::Rows(count) => from += count,
                Loaded::Conflict => return Ok(Loaded::Conflict),
            }
        }
        Ok(Loaded::Rows(from))
    }
);

/// An import of two users, "ann" and "bob", with the keys 1 and 2.
fn load(subject: &mut impl Subject) -> ImportId {
    let now = at(subject, 0);
    let import = subject.run(BeginImport, now).unwrap();
    let rows = vec![row("ann", 1), row("bob", 2)];
    assert_eq!(subject.run(Load(import, rows), now), Ok(Loaded::Rows(2)));
    import
}

#[derive(Debug, PartialEq)]
struct Seen {
    user_status: Option<UserStatus>,
    has_active_key: bool,
    owns_address: bool,
    is_known_key: bool,
    is_reserved: bool,
}

operation!(Look(&'static str, u8) -> Seen, |this, tx, _cx| {
    let id = user(this.0);
    let email = format!("{}@example.com", this.0);
    Ok(Seen {
        user_status: tx.user_status(&id)?,
        has_active_key: tx.active_key(&id)?.is_some(),
        owns_address: tx.owner_of_email(&email)?.is_some(),
        is_known_key: tx.key_exists(&digest(this.1))?,
        is_reserved: tx.is_reserved(&UserClaim {
            user: &id,
            email: None,
        })?,
    })
});

fn rows_that_do_not_count_are_only_in_the_way(subject: &mut impl Subject) {
    let import = load(subject);
    let now = at(subject, 1);
    let seen = subject.run(Look("ann", 1), now).unwrap();
    let expected = Seen {
        user_status: None,
        has_active_key: false,
        owns_address: false,
        is_known_key: true,
        is_reserved: true,
    };
    assert_eq!(seen, expected);
    assert_eq!(resolved(subject, 1), None);
    assert!(
        subject.read(ShowKey(digest(1)), now).is_some(),
        "the operator sees it"
    );
    let (after, limit) = (String::new(), 9);
    assert!(subject.read(ListUsers { after, limit }, now).is_empty());
    let added = subject.run(new_user("ann", 5), now).unwrap();
    assert_eq!(added, Err(AddRefusal::BeingImported));
    let mut twin = new_user("twin", 5);
    twin.0.email = "bob@example.com".parse().unwrap();
    assert_eq!(
        subject.run(twin, now).unwrap(),
        Err(AddRefusal::BeingImported)
    );
    assert_eq!(subject.read(UnfinishedImports, now), [import]);
    assert_eq!(subject.read(StageOf(import), now), Stage::Staged);
}

fn a_cut_over_makes_all_rows_count_at_once(subject: &mut impl Subject) {
    let import = load(subject);
    let now = at(subject, 1);
    let revision = subject.run(CountImport(import), now).unwrap();
    assert_eq!(subject.read(StageOf(import), now), Stage::Counts(revision));
    for (name, key) in [("ann", 1), ("bob", 2)] {
        let seen = subject.run(Look(name, key), now).unwrap();
        let expected = Seen {
            user_status: Some(UserStatus::Here),
            has_active_key: true,
            owns_address: true,
            is_known_key: true,
            is_reserved: false,
        };
        assert_eq!(seen, expected);
        assert_eq!(resolved(subject, key).unwrap().revision, revision);
    }
    assert!(subject.run(CountImport(import), now).is_err(), "twice");
    let changed = subject.run(Revoke::Key(digest(1)), now).unwrap().unwrap();
    assert!(changed.revision > revision);
    assert_eq!(resolved(subject, 1).unwrap().revision, changed.revision);
}

fn what_the_log_is_owed_comes_before_what_happens_next(subject: &mut impl Subject) {
    let import = load(subject);
    let now = at(subject, 1);
    subject.run(CountImport(import), now).unwrap();
    assert_eq!(actions(subject, "ann"), [""; 0]);
    let done = subject.run(rotate(1, 1, 3), at(subject, 2)).unwrap();
    assert!(matches!(done, Rotated::Done { .. }), "{done:?}");
    assert_eq!(actions(subject, "ann"), ["imported", "rotated"]);
    assert_eq!(actions(subject, "bob"), [""; 0]);
    for _ in 0..2 {
        subject.run(Tell(vec![1, 2, 3, 9]), at(subject, 3)).unwrap();
        subject.run(EndImport(import), at(subject, 3)).unwrap();
    }
    assert_eq!(actions(subject, "ann"), ["imported", "rotated"]);
    assert_eq!(actions(subject, "bob"), ["imported"]);
    assert_eq!(subject.read(StageOf(import), now), Stage::Over);
    assert!(subject.read(UnfinishedImports, now).is_empty());
}

operation!(Tell(Vec<u8>) -> (), |this, tx, _cx| {
    let keys: Vec<_> = this.0.iter().map(|key| digest(*key)).collect();
    let mut from = 0;
    while from < keys.len() {
        from += tx.tell_imported(&keys[from..])?;
    }
    Ok(())
});

fn a_row_that_cannot_be_is_a_conflict(subject: &mut impl Subject) {
    add(subject, "ann", 1);
    add(subject, "bob", 2);
    let now = at(subject, 1);
    subject
        .run(Revoke::OfUser(user("bob")), now)
        .unwrap()
        .unwrap();
    let address_of = |other: &str, name: &str, key| ImportedRow {
        user: user(name),
        ..row(other, key)
    };
    let import = subject.run(BeginImport, now).unwrap();
    for (what, row) in [
        ("a known key", row("cid", 1)),
        ("a second key", row("ann", 3)),
        ("another's address", address_of("ann", "cid", 3)),
        ("another address", address_of("other", "bob", 3)),
    ] {
        let loaded = subject.run(Load(import, vec![row]), now).unwrap();
        assert_eq!(loaded, Loaded::Conflict, "{what}");
    }
    // A user without a key is given one.
    let rows = vec![row("bob", 4)];
    assert_eq!(subject.run(Load(import, rows), now), Ok(Loaded::Rows(1)));
    let issue = Issue {
        user: user("bob"),
        digest: digest(5),
        hint: "0005".into(),
    };
    let refused = subject.run(issue, now).unwrap();
    assert_eq!(refused, Err(IssueRefusal::BeingImported));
}

operation!(GiveUp(ImportId) -> (), |this, tx, cx| {
    let keys = tx.imported_keys(this.0, None, 9)?;
    let users = tx.imported_users(this.0, None, 9)?;
    tx.remove_imported_keys(this.0, &keys)?;
    tx.remove_imported_users(this.0, &users)?;
    ForgetImport(this.0).apply(tx, cx)
});

fn what_is_given_up_leaves_nothing(subject: &mut impl Subject) {
    let import = load(subject);
    let now = at(subject, 1);
    subject.run(GiveUp(import), now).unwrap();
    let seen = subject.run(Look("ann", 1), now).unwrap();
    assert!(!seen.is_known_key && !seen.is_reserved, "{seen:?}");
    assert_eq!(subject.read(StageOf(import), now), Stage::Over);
    add(subject, "ann", 1);
    // One that counts is not given up any more.
    let import = subject.run(BeginImport, now).unwrap();
    let rows = vec![row("bob", 2)];
    subject.run(Load(import, rows), now).unwrap();
    subject.run(CountImport(import), now).unwrap();
    subject.run(GiveUp(import), now).unwrap();
    assert!(resolved(subject, 2).is_some());
}
