//! What is longer than a page, or than one change takes.

use std::sync::Arc;

use super::bench::{HOUR, actions, add, at, digest, log, resolved, rotate, user};
use super::{Subject, on_every_engine, operation};
use crate::clock::{StoreTime, UnixMillis};
use crate::engine::rows::{By, Event, ImportId, ImportedRow, Loaded, Stage};
use crate::operations::audit::action::Action;
use crate::operations::audit::{Selection, ShowEvents};
use crate::operations::imports::{
    BeginImport, CountImport, EndImport, ForgetImport, KeysOfImport, LoadRows, Part,
    RemoveImportedKeys, RemoveImportedUsers, StageOf, TellImported, UsersOfImport,
};
use crate::operations::keys::own_key::ShowOverview;
use crate::operations::keys::{LastChangeOf, ShowKey};
use crate::operations::users::ListUsers;

on_every_engine![
    a_long_log_is_read_by_pages_of_any_size,
    what_is_chosen_from_a_long_log_is_the_newest,
    an_import_goes_in_by_parts,
    an_import_is_given_up_by_parts,
];

/// Rows that one change adds.
const AT_ONCE: u64 = 60;

operation!(Append(&'static str, u64) -> (), |this, tx, cx| {
    let id = user(this.0);
    for number in 0..this.1 {
        let action = match number % 10 {
            0 => Action::LoginRefused,
            _ => Action::Login,
        };
        tx.append_event(&Event::aside(&id, action, number, By::OPERATOR), cx.now)?;
    }
    Ok(())
});

/// Two users and 1,330 rows: many of one moment, and then a few in each hour.
fn long_log(subject: &mut impl Subject) {
    add(subject, "ann", 1);
    add(subject, "bob", 2);
    let mut append = |name, count, millis| {
        let now = at(subject, millis);
        subject.run(Append(name, count), now).unwrap();
    };
    for number in 0..20 {
        append("ann", AT_ONCE, number);
    }
    for number in 0..4 {
        append("bob", AT_ONCE / 2, number);
    }
    for hour in 1..5 {
        append("ann", 2, hour * HOUR);
        append("bob", 1, hour * HOUR);
    }
}

fn a_long_log_is_read_by_pages_of_any_size(subject: &mut impl Subject) {
    long_log(subject);
    for name in [None, Some("ann"), Some("bob")] {
        let all = log(subject, name);
        let ids: Vec<_> = all.iter().map(|event| event.id).collect();
        assert!(ids.is_sorted(), "{name:?}");
        let expected = match name {
            None => 1_334,
            Some("ann") => 1_209,
            Some(_) => 125,
        };
        assert_eq!(ids.len(), expected, "{name:?}");
        for limit in [7, 100, 1_000] {
            let mut paged = Vec::new();
            let mut after = 0;
            loop {
                let wanted = Selection {
                    user: name.map(user),
                    after,
                    since: None,
                    limit,
                };
                let page = subject.read(ShowEvents(wanted), at(subject, 0)).unwrap();
                paged.extend(page.events);
                let Some(next) = page.next else {
                    break;
                };
                after = next;
            }
            assert_eq!(paged, all, "{name:?} by {limit}");
        }
        let since = Selection {
            user: name.map(user),
            since: Some(at(subject, 3 * HOUR).told),
            limit: 99,
            ..Selection::default()
        };
        let page = subject.read(ShowEvents(since), at(subject, 0)).unwrap();
        let last = page.events.len();
        assert_eq!(page.events, all[all.len() - last..], "{name:?}");
        assert_eq!(
            last,
            name.map_or(6, |name| if name == "ann" { 4 } else { 2 })
        );
    }
}

operation!(Refused(i64) -> (u32, usize), |this, tx, _cx| {
    let (ann, after) = (user("ann"), UnixMillis(this.0));
    let last = tx.last_refused(&ann, 200)?;
    assert!(last.is_sorted_by(|newer, older| newer.id > older.id));
    Ok((tx.count_refused(&ann, after)?, last.len()))
});

fn what_is_chosen_from_a_long_log_is_the_newest(subject: &mut impl Subject) {
    long_log(subject);
    let now = at(subject, 5 * HOUR);
    let of_ann = log(subject, Some("ann"));
    let shown = ShowOverview {
        user: user("ann"),
        limit: 300,
    };
    let overview = subject.read(shown, now);
    let mut newest = of_ann.clone();
    newest.retain(|event| event.action != "login_refused");
    newest.reverse();
    newest.truncate(300);
    assert_eq!(overview.events, newest);
    assert_eq!(overview.refused.len(), 75);
    let added = of_ann[0].revision;
    assert_eq!(subject.read(LastChangeOf(user("ann")), now), added);
    // 120 of the first minute, and one in each of four hours.
    let begun = subject.begun().0;
    assert_eq!(subject.run(Refused(0), now), Ok((124, 124)));
    assert_eq!(subject.run(Refused(begun + HOUR), now), Ok((3, 124)));
}

/// Rows of an import: users with a key each.
const ROWS: u8 = 70;

fn row(number: u8) -> ImportedRow {
    let name = format!("u{number:03}");
    let email = format!("{name}@Example.com");
    ImportedRow {
        user: user(&name),
        digest: digest(100 + number),
        email_normal: Some(crate::accounts::typed::address(&email)),
        email: Some(email),
        hint: None,
    }
}

fn whole<T>(items: Vec<T>) -> Part<T> {
    Part {
        range: 0..items.len(),
        of: Arc::new(items),
    }
}

fn load(subject: &mut impl Subject, now: StoreTime) -> ImportId {
    let import = subject.run(BeginImport, now).unwrap();
    let mut rows: Vec<_> = (0..ROWS).map(row).collect();
    while !rows.is_empty() {
        let load = LoadRows {
            import,
            rows: whole(rows.clone()),
        };
        let Loaded::Rows(count) = subject.run(load, now).unwrap() else {
            panic!("a conflict");
        };
        assert!(count > 0);
        rows.drain(..count);
    }
    import
}

fn keys_of(
    subject: &impl Subject,
    import: ImportId,
    now: StoreTime,
) -> Vec<rekey_protocol::Digest> {
    let mut keys = Vec::new();
    loop {
        let page = KeysOfImport {
            import,
            after: keys.last().copied(),
            limit: 9,
        };
        let page = subject.read(page, now);
        if page.is_empty() {
            return keys;
        }
        keys.extend(page);
    }
}

fn an_import_goes_in_by_parts(subject: &mut impl Subject) {
    let now = at(subject, 1);
    let import = load(subject, now);
    let mut keys = keys_of(subject, import, now);
    assert_eq!(keys.len(), usize::from(ROWS));
    assert!(keys.is_sorted());
    let revision = subject.run(CountImport(import), now).unwrap();
    subject.run(rotate(1, 100, 1), at(subject, 2)).unwrap();
    while !keys.is_empty() {
        let tell = TellImported(whole(keys.clone()));
        let told = subject.run(tell, at(subject, 3)).unwrap();
        assert!(told > 0);
        keys.drain(..told);
    }
    subject.run(EndImport(import), at(subject, 3)).unwrap();
    assert_eq!(subject.read(StageOf(import), now), Stage::Over);
    assert_eq!(actions(subject, "u000"), ["imported", "rotated"]);
    for number in [1, ROWS - 1] {
        let name = format!("u{number:03}");
        assert_eq!(actions(subject, &name), ["imported"]);
        let key = resolved(subject, 100 + number).unwrap();
        assert_eq!(key.revision, revision);
    }
    let (after, limit) = ("u009".to_owned(), 50);
    let users = subject.read(ListUsers { after, limit }, now);
    let ids: Vec<_> = users.iter().map(|entry| entry.user_id.as_str()).collect();
    assert_eq!((ids.len(), ids[0], ids[49]), (50, "u010", "u059"));
}

fn an_import_is_given_up_by_parts(subject: &mut impl Subject) {
    let now = at(subject, 1);
    let import = load(subject, now);
    loop {
        let keys = keys_of(subject, import, now);
        if keys.is_empty() {
            break;
        }
        let keys = whole(keys);
        let removed = subject
            .run(RemoveImportedKeys { import, keys }, now)
            .unwrap();
        assert!(removed > 0);
    }
    loop {
        let (after, limit) = (None, 99);
        let users = UsersOfImport {
            import,
            after,
            limit,
        };
        let users = subject.read(users, now);
        if users.is_empty() {
            break;
        }
        let users = whole(users);
        let removed = subject
            .run(RemoveImportedUsers { import, users }, now)
            .unwrap();
        assert!(removed > 0);
    }
    subject.run(ForgetImport(import), now).unwrap();
    assert!(subject.read(ShowKey(digest(100)), now).is_none());
    // Nothing of it is in the way of another one.
    load(subject, now);
}
