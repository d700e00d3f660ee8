//! Passwords, sessions and browsers, and users who are removed.

use rekey_protocol::{Client, Digest};

use super::bench::{HOUR, actions, add, at, digest, log, new_user, resolved, rotate, user};
use super::{Subject, on_every_engine, operation};
use crate::accounts::password::Spelling;
use crate::engine::rows::UserStatus;
use crate::operations::keys::ShowKey;
use crate::operations::users::AddRefusal;
use crate::operations::users::passwords::{FindAccount, SetPassword};
use crate::operations::users::removal::RemoveUser;
use crate::operations::users::sessions::{IsLoggedIn, LogIn, NewSession};

on_every_engine![
    a_log_in_shows_the_password_on_record,
    of_many_sessions_the_newest_stay,
    sessions_end_by_user_and_by_time,
    a_removed_user_leaves_a_pseudonym,
];

/// A log-in of "ann" with this session, in this browser.
fn log_in(session: u8, device: u8) -> LogIn {
    LogIn {
        session: NewSession {
            digest: digest(session),
            user: user("ann"),
            client: Client::default(),
        },
        phc: "hash of ann".to_owned(),
        renewed: None,
        former: Vec::new(),
        device: digest(device),
        former_device: None,
    }
}

fn account(subject: &impl Subject, device: u8) -> (String, Spelling, Option<Digest>) {
    let find = FindAccount {
        email: "ANN@example.com".to_owned(),
        devices: vec![digest(250), digest(device)],
    };
    let account = subject.read(find, at(subject, 0)).unwrap();
    let hash = account.hash.unwrap();
    (hash.phc, hash.spelling, account.known_device)
}

fn a_log_in_shows_the_password_on_record(subject: &mut impl Subject) {
    add(subject, "ann", 1);
    let now = at(subject, 1);
    assert_eq!(account(subject, 60).2, None);
    assert_eq!(subject.run(log_in(50, 60), now), Ok(true));
    let known = ("hash of ann".to_owned(), Spelling::Normal, Some(digest(60)));
    assert_eq!(account(subject, 60), known);
    let set = SetPassword {
        user: user("ann"),
        phc: "another".to_owned(),
    };
    subject.run(set, now).unwrap().unwrap();
    assert_eq!(subject.run(log_in(51, 61), now), Ok(false));
    assert!(
        !subject.read(IsLoggedIn(digest(50)), now),
        "it ends all sessions"
    );
    assert_eq!(
        account(subject, 60),
        ("another".to_owned(), Spelling::Normal, None)
    );
    assert_eq!(
        actions(subject, "ann"),
        ["user_added", "login", "password_set"]
    );
}

fn of_many_sessions_the_newest_stay(subject: &mut impl Subject) {
    add(subject, "ann", 1);
    for number in 0..25 {
        let now = at(subject, i64::from(number));
        assert_eq!(
            subject.run(log_in(50 + number, 100 + number), now),
            Ok(true)
        );
    }
    let now = at(subject, 25);
    for number in 0..25 {
        let is_there = subject.read(IsLoggedIn(digest(50 + number)), now);
        assert_eq!(is_there, number >= 5, "session {number}");
        let is_known = account(subject, 100 + number).2.is_some();
        assert_eq!(is_known, number >= 5, "browser {number}");
    }
    // The log-in that was there already cannot be again.
    assert!(subject.run(log_in(74, 99), now).is_err());
}

operation!(EndLaterThan(i64) -> bool, |this, tx, cx| {
    let after = crate::clock::UnixMillis(cx.now.limit.0 + this.0);
    tx.end_sessions_after(&user("ann"), after)?;
    tx.touch_session(&digest(51), after)?;
    let is_touched = tx.session(&digest(51))?.is_some_and(|session| session.seen == after);
    Ok(is_touched && !tx.end_session(&digest(99))? && tx.end_session(&digest(51))?)
});

fn sessions_end_by_user_and_by_time(subject: &mut impl Subject) {
    add(subject, "ann", 1);
    for (session, later) in [(50, 10), (51, 20), (52, 30)] {
        let now = at(subject, later);
        assert_eq!(subject.run(log_in(session, session + 10), now), Ok(true));
    }
    assert_eq!(subject.run(EndLaterThan(20), at(subject, 0)), Ok(true));
    let now = at(subject, 40);
    let there = [50, 51, 52].map(|session| subject.read(IsLoggedIn(digest(session)), now));
    assert_eq!(there, [true, false, false]);
}

operation!(
    StandingOf(&'static str) -> Option<UserStatus>,
    |this, tx, _cx| tx.user_status(&user(this.0))
);

fn a_removed_user_leaves_a_pseudonym(subject: &mut impl Subject) {
    add(subject, "ann", 1);
    add(subject, "bob", 5);
    subject.run(rotate(1, 1, 2), at(subject, HOUR)).unwrap();
    let now = at(subject, 2 * HOUR);
    subject.run(log_in(50, 60), now).unwrap();
    let of_ann = log(subject, Some("ann")).len();
    let remove = RemoveUser {
        user: user("ann"),
        pseudonym: user("gone"),
    };
    let removed = subject.run(remove.clone(), now).unwrap().unwrap();
    assert_eq!(removed.pseudonym, Some(user("gone")));
    assert_eq!(
        subject.run(StandingOf("ann"), now),
        Ok(Some(UserStatus::Removed))
    );
    assert_eq!(
        subject.run(StandingOf("gone"), now),
        Ok(Some(UserStatus::Pseudonym))
    );
    assert!(!subject.read(IsLoggedIn(digest(50)), now));
    assert_eq!(log(subject, Some("ann")), []);
    assert_eq!(log(subject, Some("gone")).len(), of_ann + 1);
    for key in [1, 2] {
        let key = subject.read(ShowKey(digest(key)), now).unwrap();
        assert_eq!((key.user_id, key.email), (user("gone"), None));
        assert!(key.revoked_at.is_some());
    }
    assert_eq!(resolved(subject, 2).unwrap().revision, removed.revision);
    // Nobody gets the id again, and everybody the address.
    let added = subject.run(new_user("ann", 7), now).unwrap();
    assert_eq!(added, Err(AddRefusal::UserRemoved));
    let mut heir = new_user("heir", 7);
    heir.0.email = "ann@example.com".parse().unwrap();
    subject.run(heir, now).unwrap().unwrap();
    let again = subject.run(remove, now).unwrap().unwrap();
    assert_eq!(again.pseudonym, None);
    assert!(resolved(subject, 5).is_some());
}
