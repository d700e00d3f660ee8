//! Keys, their revisions, and what an operation leaves that fails.

use rekey_protocol::{ResolvedState, Revocation, RotationId};

use super::bench::{HOUR, add, at, digest, log, new_user, resolved, rotate, user};
use super::{Subject, on_every_engine, operation};
use crate::clock::StoreTime;
use crate::engine::rows::NewKey;
use crate::engine::tx::settle;
use crate::engine::{Impossible, Tx};
use crate::operations::feed::ChangesAfter;
use crate::operations::keys::Resolved;
use crate::operations::keys::revoke::Revoke;
use crate::operations::keys::rotate::Rotated;
use crate::operations::users::{AddUser, Issue, ListUsers};
use crate::operations::{Context, Operation};
use crate::rules::rotation::{Recorded, RecordedOutcome, Refusal};

on_every_engine![
    a_failed_operation_leaves_nothing,
    i3_a_second_active_key_is_an_error,
    a_key_that_is_not_active_does_not_end,
    an_id_is_on_record_once,
    an_operation_sees_what_it_has_written,
    s12_the_interval_begins_at_the_latest_time,
    revocations_are_told_in_their_order,
    users_are_listed_by_their_ids,
    an_address_has_one_owner,
];

operation!(Failing(AddUser) -> (), |this, tx, cx| {
    this.0.apply(tx, cx)?.map_err(|_| Impossible("refused"))?;
    Err(Impossible("it fails at its end").into())
});

fn a_failed_operation_leaves_nothing(subject: &mut impl Subject) {
    add(subject, "ann", 1);
    let now = at(subject, 1);
    let before = log(subject, None);
    assert!(subject.run(Failing(new_user("bob", 2)), now).is_err());
    assert_eq!(subject.read(ChangesAfter(0), now).revocations, []);
    assert_eq!(format!("{before:?}"), format!("{:?}", log(subject, None)));
    assert_eq!(resolved(subject, 2), None);
    // And nothing of it is in the way.
    subject.run(new_user("bob", 2), now).unwrap().unwrap();
}

operation!(Insert(u8, &'static str) -> (), |this, tx, cx| {
    let revision = tx.next_revision(cx.now)?;
    tx.insert_key(&NewKey {
        digest: &digest(this.0),
        user: &user(this.1),
        hint: None,
        created: cx.now.told,
        revision,
    })
});

fn i3_a_second_active_key_is_an_error(subject: &mut impl Subject) {
    add(subject, "ann", 1);
    add(subject, "bob", 2);
    let now = at(subject, 1);
    assert!(subject.run(Insert(3, "ann"), now).is_err());
    subject
        .run(Revoke::OfUser(user("ann")), now)
        .unwrap()
        .unwrap();
    // A key that was there once is nobody's again, and nobody has no key.
    for (key, name) in [(1, "ann"), (2, "ann"), (3, "nobody")] {
        assert!(subject.run(Insert(key, name), now).is_err(), "{key} {name}");
    }
    subject.run(Insert(3, "ann"), now).unwrap();
}

operation!(End(u8) -> (), |this, tx, cx| {
    let revision = tx.next_revision(cx.now)?;
    tx.revoke_key(&digest(this.0), cx.now.told, revision)
});

fn a_key_that_is_not_active_does_not_end(subject: &mut impl Subject) {
    add(subject, "ann", 1);
    let now = at(subject, 1);
    subject.run(End(1), now).unwrap();
    let revoked = resolved(subject, 1).unwrap();
    assert_eq!(revoked.state, ResolvedState::Revoked);
    for key in [1, 2] {
        assert!(subject.run(End(key), now).is_err());
    }
    let after = resolved(subject, 1).unwrap();
    // The head may have moved: an engine may write for itself.
    let head = after.head;
    assert_eq!(after, Resolved { head, ..revoked });
}

operation!(Burn(u8, Refusal) -> Option<Recorded>, |this, tx, cx| {
    let id = RotationId([this.0; 16]);
    let answer = Recorded {
        old_digest: digest(1),
        new_digest: digest(2),
        outcome: RecordedOutcome::Burned(this.1),
    };
    tx.record_answer(id, &answer, cx.now)?;
    tx.recorded(id)
});

fn an_id_is_on_record_once(subject: &mut impl Subject) {
    let now = at(subject, 0);
    let burned = |refusal| Some(RecordedOutcome::Burned(refusal));
    for (id, refusal) in [
        (1, Refusal::UnknownKey),
        (2, Refusal::Revoked(7)),
        (3, Refusal::NewKeyExists),
    ] {
        let recorded = subject.run(Burn(id, refusal), now).unwrap();
        assert_eq!(recorded.map(|answer| answer.outcome), burned(refusal));
        assert!(subject.run(Burn(id, refusal), now).is_err());
    }
    // How long is reckoned each time.
    let recorded = subject.run(Burn(4, Refusal::RateLimited(99)), now).unwrap();
    let outcome = recorded.map(|answer| answer.outcome);
    assert_eq!(outcome, burned(Refusal::RateLimited(1)));
}

/// What an operation sees before and after it has added a key.
#[derive(Debug)]
struct Added {
    before: u64,
    after: u64,
    of_key: u64,
    is_active: bool,
}

struct InsertAndLook(u8, &'static str);

impl Operation for InsertAndLook {
    type Out = Option<Added>;

    fn apply<T: Tx>(&self, tx: &mut T, cx: &Context) -> Result<Self::Out, T::Error> {
        let before = tx.head()?.revision;
        Insert(self.0, self.1).apply(tx, cx)?;
        let found = tx.key(&digest(self.0))?;
        let active = tx.active_key(&user(self.1))?;
        let after = tx.head()?.revision;
        Ok(found.map(|found| Added {
            before,
            after,
            of_key: found.revision,
            is_active: active.is_some_and(|key| key.digest == digest(self.0)),
        }))
    }

    fn settle(out: &mut Self::Out, committed: u64) {
        if let Some(added) = out {
            settle(&mut added.after, committed);
            settle(&mut added.of_key, committed);
        }
    }
}

fn an_operation_sees_what_it_has_written(subject: &mut impl Subject) {
    add(subject, "ann", 1);
    let now = at(subject, 1);
    subject
        .run(Revoke::OfUser(user("ann")), now)
        .unwrap()
        .unwrap();
    let added = subject.run(InsertAndLook(2, "ann"), now).unwrap().unwrap();
    // On etcd others write beside it.
    assert!(added.after > added.before);
    assert_eq!(added.of_key, added.after);
    assert!(added.is_active);
}

fn s12_the_interval_begins_at_the_latest_time(subject: &mut impl Subject) {
    add(subject, "ann", 1);
    let late = at(subject, 2 * HOUR);
    let done = subject.run(rotate(1, 1, 2), late).unwrap();
    assert!(matches!(done, Rotated::Done { .. }), "{done:?}");
    assert_eq!(resolved(subject, 2).unwrap().last_rotated, Some(late.limit));
    // A clock that was set back takes nothing from the wait.
    let early = at(subject, HOUR);
    let limited = subject.run(rotate(2, 2, 3), early).unwrap();
    assert_eq!(limited, Rotated::Refused(Refusal::RateLimited(3600)));
    subject.run(Begin("ann"), early).unwrap();
    assert_eq!(resolved(subject, 2).unwrap().last_rotated, Some(late.limit));
}

operation!(Begin(&'static str) -> (), |this, tx, cx| tx
    .begin_interval(&user(this.0), cx.now));

fn revocations_are_told_in_their_order(subject: &mut impl Subject) {
    for (name, key) in [("ann", 9), ("bob", 8), ("cid", 7)] {
        add(subject, name, key);
    }
    let now = at(subject, 1);
    let head = subject.read(ChangesAfter(0), now).head;
    subject.run(rotate(1, 9, 1), now).unwrap();
    for key in [7, 8] {
        subject.run(Revoke::Key(digest(key)), now).unwrap().unwrap();
    }
    let later = subject.read(ChangesAfter(head.revision), now);
    let (changes, after) = (later.revocations, later.head);
    assert_eq!(after.incarnation, head.incarnation);
    let told: Vec<_> = changes
        .iter()
        .map(|change| (change.digest, change.replayable))
        .collect();
    assert_eq!(
        told,
        [(digest(9), true), (digest(7), false), (digest(8), false)]
    );
    let revisions: Vec<_> = changes.iter().map(|change| change.revision).collect();
    // Each has one of its own; between them an engine may write something.
    assert!(revisions.is_sorted_by(|one, next| one < next));
    assert!(head.revision < revisions[0] && revisions[2] <= after.revision);
    let rest = subject.read(ChangesAfter(revisions[1]), now);
    assert_eq!(rest.revocations, changes[2..]);
    // It is replayable as long as the recorded time says, not the reader's.
    let later = at(subject, HOUR);
    assert!(first_after(subject, head.revision, later).replayable);
    subject.run(new_user("dan", 6), later).unwrap().unwrap();
    assert!(!first_after(subject, head.revision, now).replayable);
}

fn first_after(subject: &impl Subject, revision: u64, now: StoreTime) -> Revocation {
    let later = subject.read(ChangesAfter(revision), now);
    later.revocations[0]
}

fn users_are_listed_by_their_ids(subject: &mut impl Subject) {
    for (key, name) in ["b", "a", "Z", "a-1", "c"].into_iter().enumerate() {
        add(subject, name, key as u8 + 1);
    }
    let now = at(subject, 0);
    let list = |after: &str, limit| {
        let after = after.to_owned();
        let users = subject.read(ListUsers { after, limit }, now);
        let ids = users.into_iter().map(|entry| String::from(entry.user_id));
        ids.collect::<Vec<_>>()
    };
    assert_eq!(list("", 9), ["Z", "a", "a-1", "b", "c"]);
    assert_eq!(list("a", 2), ["a-1", "b"]);
    assert_eq!(list("c", 2), [""; 0]);
}

operation!(Owner(&'static str) -> Option<String>, |this, tx, _cx| {
    Ok(tx.owner_of_email(this.0)?.map(String::from))
});

fn an_address_has_one_owner(subject: &mut impl Subject) {
    add(subject, "ann", 1);
    let now = at(subject, 0);
    for (typed, owner) in [
        ("ann@example.com", Some("ann")),
        ("ANN@Example.COM", Some("ann")),
        ("bob@example.com", None),
    ] {
        let found = subject.run(Owner(typed), now).unwrap();
        assert_eq!(found.as_deref(), owner, "{typed}");
    }
    let mut twin = new_user("twin", 2);
    twin.0.email = "Ann@example.com".parse().unwrap();
    assert!(subject.run(twin, now).unwrap().is_err());
    let issue = Issue {
        user: user("twin"),
        digest: digest(2),
        hint: "0002".into(),
    };
    assert!(subject.run(issue, now).unwrap().is_err());
}
