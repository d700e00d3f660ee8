//! The audit log, and what is known of uses.

use std::collections::BTreeMap;

use super::bench::{HOUR, actions, add, at, digest, log, rotate, user};
use super::{Subject, on_every_engine, operation};
use crate::clock::{StoreTime, UnixMillis};
use crate::engine::rows::{By, Event, LastUse};
use crate::operations::audit::action::Action;
use crate::operations::audit::{Selection, ShowEvents};
use crate::operations::keys::LastChangeOf;
use crate::operations::keys::revoke::Revoke;
use crate::operations::uses::last_uses::{RecordLastUses, hour_of};
use crate::operations::uses::old_keys::RecordOldKeyUses;

on_every_engine![
    the_log_is_read_from_any_row_on,
    the_last_change_of_a_key_is_none_of_its_uses,
    refused_tries_are_in_the_order_of_the_limits_clock,
    old_keys_are_told_of_first_and_then_once_a_day,
    last_uses_go_forwards_and_end_with_the_key,
];

fn the_log_is_read_from_any_row_on(subject: &mut impl Subject) {
    add(subject, "ann", 1);
    add(subject, "bob", 2);
    subject.run(rotate(1, 1, 3), at(subject, 2_000)).unwrap();
    let all = log(subject, None);
    let rows: Vec<_> = all.iter().map(|event| event.action.as_str()).collect();
    assert_eq!(rows, ["user_added", "user_added", "rotated"]);
    let select = |wanted| {
        let page = subject.read(ShowEvents(wanted), at(subject, 0)).unwrap();
        (page.events, page.next)
    };
    let first = Selection {
        limit: 2,
        ..Selection::default()
    };
    assert_eq!(select(first), (all[..2].to_vec(), Some(all[1].id)));
    let rest = Selection {
        after: all[1].id,
        limit: 2,
        ..Selection::default()
    };
    assert_eq!(select(rest), (all[2..].to_vec(), None));
    let since = Selection {
        since: Some(at(subject, 1).told),
        limit: 9,
        ..Selection::default()
    };
    assert_eq!(select(since).0, all[2..]);
    let of_bob = Selection {
        user: Some(user("bob")),
        limit: 9,
        ..Selection::default()
    };
    assert_eq!(select(of_bob).0, all[1..2]);
}

fn uses(counts: &[(u8, u64)]) -> RecordOldKeyUses {
    let counts = counts.iter().map(|(key, count)| (digest(*key), *count));
    RecordOldKeyUses(counts.collect())
}

fn the_last_change_of_a_key_is_none_of_its_uses(subject: &mut impl Subject) {
    add(subject, "ann", 1);
    let now = at(subject, 1);
    let revoked = subject
        .run(Revoke::OfUser(user("ann")), now)
        .unwrap()
        .unwrap();
    assert_eq!(subject.run(uses(&[(1, 2)]), now), Ok(2));
    assert_eq!(
        actions(subject, "ann"),
        ["user_added", "revoked", "old_key_used"]
    );
    assert_eq!(
        subject.read(LastChangeOf(user("ann")), now),
        revoked.revision
    );
}

operation!(Refuse(i64) -> (), |this, tx, cx| {
    let now = StoreTime {
        limit: UnixMillis(cx.now.limit.0 + this.0),
        ..cx.now
    };
    let id = user("ann");
    let event = Event::aside(&id, Action::LoginRefused, this.0 as u64, By::OPERATOR);
    tx.append_event(&event, now)
});

operation!(Refused(u32, i64) -> (Vec<u64>, u32), |this, tx, cx| {
    let last = tx.last_refused(&user("ann"), this.0)?;
    let after = UnixMillis(cx.now.limit.0 + this.1);
    let count = tx.count_refused(&user("ann"), after)?;
    Ok((last.into_iter().map(|event| event.revision).collect(), count))
});

fn refused_tries_are_in_the_order_of_the_limits_clock(subject: &mut impl Subject) {
    add(subject, "ann", 1);
    let now = at(subject, 0);
    for later in [30, 10, 20] {
        subject.run(Refuse(later), now).unwrap();
    }
    assert_eq!(subject.run(Refused(2, 10), now), Ok((vec![30, 20], 2)));
    assert_eq!(subject.run(Refused(9, 0), now), Ok((vec![30, 20, 10], 3)));
}

fn old_keys_are_told_of_first_and_then_once_a_day(subject: &mut impl Subject) {
    add(subject, "ann", 1);
    subject.run(rotate(1, 1, 2), at(subject, 0)).unwrap();
    subject.run(rotate(2, 2, 3), at(subject, HOUR)).unwrap();
    // Unknown and active keys are passed over.
    let first = uses(&[(1, 5), (3, 7), (9, 7)]);
    assert_eq!(subject.run(first, at(subject, 2 * HOUR)), Ok(5));
    let told = |subject: &_| {
        let rows = log(subject, Some("ann")).into_iter();
        rows.filter_map(|event| event.uses).collect::<Vec<_>>()
    };
    assert_eq!(told(subject), [5]);
    subject.run(uses(&[(1, 1)]), at(subject, 3 * HOUR)).unwrap();
    assert_eq!(told(subject), [5]);
    // The first use of another one is news.
    subject.run(uses(&[(2, 1)]), at(subject, 4 * HOUR)).unwrap();
    assert_eq!(told(subject), [5, 1]);
    subject
        .run(uses(&[(1, 1)]), at(subject, 27 * HOUR))
        .unwrap();
    assert_eq!(told(subject), [5, 1]);
    subject
        .run(uses(&[(1, 1)]), at(subject, 28 * HOUR))
        .unwrap();
    assert_eq!(told(subject), [5, 1, 8]);
    let wanted = Selection {
        user: Some(user("ann")),
        limit: 99,
        ..Selection::default()
    };
    let page = subject.read(ShowEvents(wanted), at(subject, 0)).unwrap();
    let shown: Vec<_> = page
        .old_keys
        .iter()
        .map(|key| (key.uses, key.replaced))
        .collect();
    assert_eq!(shown, [(8, true), (1, true)]);
}

operation!(LastUseOf(u8) -> Option<LastUse>, |this, tx, _cx| tx.last_use(&digest(this.0)));

fn last_uses_go_forwards_and_end_with_the_key(subject: &mut impl Subject) {
    // The past, because nobody is told of a use in the future.
    let begun = hour_of(at(subject, 0).told);
    let hours_ago = |hours: i64| UnixMillis(begun.0 - hours * HOUR);
    let made = StoreTime::both(hours_ago(20));
    subject
        .run(super::bench::new_user("ann", 1), made)
        .unwrap()
        .unwrap();
    let mut hear = |ago: i64, now: i64| {
        let uses = BTreeMap::from([(digest(1), hours_ago(ago)), (digest(9), hours_ago(ago))]);
        let now = hours_ago(now);
        let recorded = RecordLastUses { uses, now };
        let written = subject.run(recorded, made).unwrap();
        (written, subject.run(LastUseOf(1), made).unwrap())
    };
    let used = |ago| Some(LastUse::HourFrom(hours_ago(ago)));
    assert_eq!(hear(10, 10), (1, used(10)));
    assert_eq!(hear(12, 10), (0, used(10)));
    assert_eq!(hear(8, 8), (1, used(8)));
    // What is on record is of a clock that was ahead.
    assert_eq!(hear(9, 9), (1, used(9)));
    let ended = StoreTime::both(UnixMillis(hours_ago(7).0 + 1));
    subject.run(Revoke::Key(digest(1)), ended).unwrap().unwrap();
    let uses = BTreeMap::from([(digest(1), hours_ago(3))]);
    let now = hours_ago(3);
    subject.run(RecordLastUses { uses, now }, made).unwrap();
    assert_eq!(subject.run(LastUseOf(1), made).unwrap(), used(7));
    assert_eq!(subject.run(LastUseOf(9), made).unwrap(), None);
}
