//! How often an operation over the ordered space has to be fetched for. Behind a
//! network each round is a wait.

use std::fmt::Debug;

use rekey_protocol::{Client, RotationId};

use super::bench::{HOUR, add, at, digest, new_user, rotate, user};
use super::subject::{OnKeyspace, Subject};
use crate::operations::audit::{NoteRefused, Selection, ShowEvents, Tried};
use crate::operations::imports::{BeginImport, CountImport};
use crate::operations::keys::own_key::{
    BySession, IssueOwn, RevokeOwn, RotateOwn, ShowOverview, Wish,
};
use crate::operations::keys::revoke::Revoke;
use crate::operations::keys::{ActiveKeyOf, Resolve};
use crate::operations::users::passwords::FindAccount;
use crate::operations::users::sessions::{FindSession, LogIn, NewSession, SessionLimits};
use crate::operations::users::{Issue, ListUsers};
use crate::operations::{Operation, Read};

/// A space with one user, who has rotated.
fn subject() -> OnKeyspace {
    let mut subject = OnKeyspace::new();
    add(&mut subject, "ann", 1);
    add(&mut subject, "bob", 9);
    subject.run(rotate(1, 1, 2), at(&subject, 1)).unwrap();
    subject
}

#[track_caller]
fn reads_in<R: Read>(most: u32, subject: &OnKeyspace, read: R) {
    let now = at(subject, HOUR);
    let rounds = subject.engine.read(&read, now).rounds;
    assert!((1..=most).contains(&rounds), "{rounds} rounds, not {most}");
}

#[track_caller]
fn runs_in<O>(most: u32, subject: &mut OnKeyspace, millis: i64, operation: O)
where
    O: Operation,
    O::Out: Debug,
{
    let now = at(subject, millis);
    let ran = subject.engine.run(&operation, now).unwrap();
    let rounds = ran.rounds;
    assert!(
        (1..=most).contains(&rounds),
        "{rounds} rounds, not {most}: {:?}",
        ran.out
    );
}

fn wish(number: u8) -> Wish {
    Wish {
        user: user("ann"),
        ticket: RotationId([number; 16]),
        new_digest: digest(number),
        hint: format!("{number:04}"),
        client: Client::default(),
    }
}

fn shown(subject: &OnKeyspace) -> u64 {
    let active = subject.read(ActiveKeyOf(user("ann")), at(subject, 0));
    active.map_or(0, |key| key.revision)
}

#[test]
fn a_gateway_waits_for_one_round() {
    let mut subject = subject();
    reads_in(1, &subject, Resolve(digest(2)));
    reads_in(1, &subject, Resolve(digest(77)));
    // Of a key that is over, also whose it was.
    reads_in(2, &subject, Resolve(digest(1)));
    runs_in(1, &mut subject, HOUR + 1, rotate(2, 2, 3));
    // The same again: also whose key it is.
    runs_in(2, &mut subject, HOUR + 1, rotate(2, 2, 3));
    // Too early, and an old key that may be answered again.
    runs_in(1, &mut subject, HOUR + 2, rotate(3, 3, 4));
    runs_in(4, &mut subject, HOUR + 2, rotate(4, 2, 4));
}

#[test]
fn the_operator_waits_for_a_few_rounds() {
    let mut subject = subject();
    runs_in(1, &mut subject, 2, new_user("cid", 20));
    runs_in(2, &mut subject, 2, Revoke::OfUser(user("cid")));
    let issue = Issue {
        user: user("cid"),
        digest: digest(21),
        hint: "0021".to_owned(),
    };
    runs_in(2, &mut subject, 2, issue);
    let (after, limit) = (String::new(), 100);
    reads_in(3, &subject, ListUsers { after, limit });
    let of_all = Selection {
        limit: 100,
        ..Selection::default()
    };
    reads_in(2, &subject, ShowEvents(of_all.clone()));
    let of_ann = Selection {
        user: Some(user("ann")),
        ..of_all
    };
    reads_in(4, &subject, ShowEvents(of_ann));
    let import = subject.run(BeginImport, at(&subject, 3)).unwrap();
    runs_in(1, &mut subject, 3, CountImport(import));
}

#[test]
fn a_user_of_the_dashboard_waits_for_a_few_rounds() {
    let mut subject = subject();
    let log_in = LogIn {
        session: NewSession {
            digest: digest(50),
            user: user("ann"),
            client: Client::default(),
        },
        phc: "hash of ann".to_owned(),
        renewed: None,
        former: Vec::new(),
        device: digest(60),
        former_device: None,
    };
    let email = "ANN@example.com".to_owned();
    let devices = vec![digest(60)];
    reads_in(4, &subject, FindAccount { email, devices });
    runs_in(3, &mut subject, 2, log_in);
    let limits = SessionLimits {
        idle: std::time::Duration::from_secs(9_000),
        max: std::time::Duration::from_secs(9_000),
    };
    let session = digest(50);
    reads_in(
        2,
        &subject,
        FindSession {
            digest: session,
            limits,
        },
    );
    let overview = ShowOverview {
        user: user("ann"),
        limit: 12,
    };
    reads_in(9, &subject, overview);
    let rotate = RotateOwn {
        wish: wish(70),
        shown: shown(&subject),
    };
    let rotate = BySession {
        session,
        operation: rotate,
    };
    runs_in(2, &mut subject, HOUR + 1, rotate);
    let revoke = RevokeOwn {
        user: user("ann"),
        shown: shown(&subject),
        client: Client::default(),
    };
    runs_in(2, &mut subject, HOUR + 1, revoke);
    let wished = IssueOwn {
        wish: wish(71),
        shown: subject.read(
            crate::operations::keys::LastChangeOf(user("ann")),
            at(&subject, 0),
        ),
    };
    runs_in(4, &mut subject, HOUR + 2, wished);
    let refused = NoteRefused {
        user: user("ann"),
        tried: Tried::LogIn,
        client: Client::default(),
    };
    runs_in(2, &mut subject, HOUR + 2, refused);
}
