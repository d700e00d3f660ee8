//! What a user may do, by the hour, by the day, and by whose revocation, on the
//! engine in memory.

use std::time::Duration;

use rekey_protocol::{Incarnation, RotationId};

use super::*;
use crate::engine::memory::MemoryData;
use crate::engine::rows::CurrentKey;
use crate::operations::incarnation::OlderData;
use crate::operations::keys::revoke::Revoke;
use crate::operations::keys::rotate::{Rotate, Rotated};
use crate::operations::keys::{ActiveKeyOf, LastChangeOf};
use crate::operations::users::{AddUser, Issue, NewUser};

const HOUR_MS: i64 = 3_600_000;
const START: UnixMillis = UnixMillis(1_800_000_000_000);

/// A database with one user, and a clock.
struct Store {
    data: MemoryData,
    now: UnixMillis,
    drawn: u8,
}

impl Store {
    fn new() -> Self {
        let mut data = MemoryData::new(RotationLimit::HOUR);
        data.start(Incarnation([1; 16]), START, OlderData::Refused)
            .unwrap();
        let new = NewUser {
            id: user(),
            email: "u@example.com".parse().unwrap(),
            digest: Digest::from_bytes([0; 32]),
            hint: "0000".into(),
            phc: None,
        };
        data.run(&AddUser(new), START).unwrap().result.unwrap();
        Self {
            data,
            now: START,
            drawn: 0,
        }
    }

    fn after(&mut self, millis: i64) {
        self.now = self.now.plus(Duration::from_millis(millis as u64));
    }

    /// A new form with a new key.
    fn wish(&mut self) -> Wish {
        self.drawn += 1;
        Wish {
            user: user(),
            ticket: RotationId([self.drawn; 16]),
            new_digest: Digest::from_bytes([self.drawn; 32]),
            hint: format!("{:04}", self.drawn),
            client: Client::default(),
        }
    }

    fn key(&self) -> Option<CurrentKey> {
        self.data.read(&ActiveKeyOf(user()), self.now).unwrap()
    }

    fn shown(&self) -> u64 {
        self.key().unwrap().revision
    }

    fn last_change(&self) -> u64 {
        self.data.read(&LastChangeOf(user()), self.now).unwrap()
    }

    fn run<O: Operation>(&mut self, operation: &O) -> O::Out {
        self.data.run(operation, self.now).unwrap().result
    }

    fn rotate(&mut self, wish: &Wish) -> Result<Made, OwnRefusal> {
        let shown = self.key().map_or(0, |key| key.revision);
        let wish = wish.clone();
        self.run(&RotateOwn { wish, shown })
    }

    fn revoke(&mut self, shown: u64) -> Result<RevokedOwn, OwnRefusal> {
        self.run(&RevokeOwn {
            user: user(),
            shown,
            client: Client::default(),
        })
    }

    fn issue(&mut self, wish: &Wish) -> Result<Made, OwnRefusal> {
        let (wish, shown) = (wish.clone(), self.last_change());
        self.run(&IssueOwn { wish, shown })
    }

    /// Through the API, by the active key.
    fn rotate_by_gateway(&mut self) -> Rotated {
        let wish = self.wish();
        let old = self.key().unwrap().digest;
        self.run(&Rotate(wish.request(old)))
    }

    /// By the operator.
    fn give(&mut self, digest: Digest) {
        let issue = Issue {
            user: user(),
            digest,
            hint: "9999".into(),
        };
        self.run(&issue).unwrap();
    }

    /// Revokes the key and makes another one.
    fn emergency(&mut self) -> Result<Made, OwnRefusal> {
        let shown = self.shown();
        self.revoke(shown).unwrap();
        let wish = self.wish();
        self.issue(&wish)
    }
}

fn user() -> UserId {
    "u".parse().unwrap()
}

fn too_early(seconds: u64) -> OwnRefusal {
    OwnRefusal::RateLimited {
        seconds,
        interval: RotationLimit::HOUR,
    }
}

#[test]
fn i5_dashboard_and_api_share_one_hour() {
    let mut store = Store::new();
    let wish = store.wish();
    let made = store.rotate(&wish).unwrap();
    assert_eq!(store.shown(), made.revision);
    let limited = Rotated::Refused(Refusal::RateLimited(3600));
    assert_eq!(store.rotate_by_gateway(), limited);
    store.after(HOUR_MS);
    assert!(matches!(store.rotate_by_gateway(), Rotated::Done { .. }));
    let wish = store.wish();
    assert_eq!(store.rotate(&wish), Err(too_early(3600)));
    store.after(HOUR_MS - 1);
    assert_eq!(store.rotate(&wish), Err(too_early(1)));
    store.after(1);
    assert!(store.rotate(&wish).is_ok());
}

#[test]
fn s11_a_form_works_once_whenever_it_comes_again() {
    let mut store = Store::new();
    let wish = store.wish();
    let made = store.rotate(&wish).unwrap();
    for hours in 0..3 {
        let mut again = store.wish();
        again.ticket = wish.ticket;
        assert_eq!(store.rotate(&again), Err(OwnRefusal::TicketUsed), "{hours}");
        store.after(HOUR_MS);
    }
    assert_eq!(store.shown(), made.revision);
    // The same for a key after a revocation.
    store.revoke(made.revision).unwrap();
    let wish = store.wish();
    let made = store.issue(&wish).unwrap();
    store.revoke(made.revision).unwrap();
    assert_eq!(store.issue(&wish), Err(OwnRefusal::TicketUsed));
}

#[test]
fn a_page_about_another_key_changes_nothing() {
    let mut store = Store::new();
    let stale = store.shown();
    assert!(matches!(store.rotate_by_gateway(), Rotated::Done { .. }));
    store.after(HOUR_MS);
    let (present, wish) = (store.shown(), store.wish());
    let shown = stale;
    let rotated = store.run(&RotateOwn { wish, shown });
    assert_eq!(rotated, Err(OwnRefusal::OtherKey));
    assert_eq!(store.revoke(stale), Err(OwnRefusal::OtherKey));
    assert_eq!(store.shown(), present);
}

#[test]
fn a_revocation_needs_no_hour_and_may_come_again() {
    let mut store = Store::new();
    let wish = store.wish();
    let made = store.rotate(&wish).unwrap();
    let revoked = store.revoke(made.revision).unwrap();
    assert!(revoked.is_new && revoked.revision > made.revision);
    // S7: the second waits for the same barrier as the first.
    let again = RevokedOwn {
        is_new: false,
        ..revoked
    };
    assert_eq!(store.revoke(made.revision), Ok(again));
    let wish = store.wish();
    assert_eq!(store.rotate(&wish), Err(OwnRefusal::NoKey));
}

#[test]
fn an_emergency_is_no_way_around_the_hour() {
    let mut store = Store::new();
    for _ in 0..AT_ONCE_PER_DAY {
        store.emergency().unwrap();
        store.after(1000);
        // It begins the hour anew, for both ways.
        let wish = store.wish();
        assert_eq!(store.rotate(&wish), Err(too_early(3599)));
        let limited = Rotated::Refused(Refusal::RateLimited(3599));
        assert_eq!(store.rotate_by_gateway(), limited);
    }
    assert_eq!(store.emergency(), Err(OwnRefusal::AtOnceUsedUp(3599)));
    // Nobody is locked out for longer than the hour,
    store.after(HOUR_MS - 1000);
    let wish = store.wish();
    store.issue(&wish).unwrap();
    // and after a day all is as it was.
    assert_eq!(store.emergency(), Err(OwnRefusal::AtOnceUsedUp(3600)));
    store.after(24 * HOUR_MS);
    let wish = store.wish();
    store.issue(&wish).unwrap();
    store.emergency().unwrap();
}

#[test]
fn whom_the_operator_revoked_gets_no_key_by_himself() {
    let mut store = Store::new();
    let shown = store.shown();
    let revoke = Revoke::OfUser(user());
    store.run(&revoke).unwrap();
    let wish = store.wish();
    assert_eq!(store.issue(&wish), Err(OwnRefusal::NotByUser));
    // Nor by pressing the button on a page that was open.
    assert!(!store.revoke(shown).unwrap().is_new);
    assert_eq!(store.issue(&wish), Err(OwnRefusal::NotByUser));
    store.give(Digest::from_bytes([99; 32]));
    assert_eq!(store.issue(&wish), Err(OwnRefusal::HasKey));
    // A user who has revoked first is stopped by the operator's word as well.
    let shown = store.shown();
    store.revoke(shown).unwrap();
    for _ in 0..2 {
        assert!(!store.run(&revoke).unwrap().revoked);
        assert_eq!(store.issue(&wish), Err(OwnRefusal::NotByUser));
    }
    store.give(Digest::from_bytes([98; 32]));
    // The key that the operator gave is the user's own to revoke.
    store.emergency().unwrap();
}

#[test]
fn a_form_for_a_new_key_is_about_one_revocation() {
    let mut store = Store::new();
    let shown = store.shown();
    store.revoke(shown).unwrap();
    let shown = store.last_change();
    let wish = store.wish();
    let made = store.issue(&wish).unwrap();
    store.revoke(made.revision).unwrap();
    // Whatever became of the record of its ticket.
    let wish = store.wish();
    let stale = IssueOwn {
        wish: wish.clone(),
        shown,
    };
    assert_eq!(store.run(&stale), Err(OwnRefusal::OtherKey));
    store.issue(&wish).unwrap();
}

#[test]
fn an_operators_word_about_an_older_key_is_none_about_the_last() {
    let mut store = Store::new();
    let old = store.key().unwrap().digest;
    assert!(matches!(store.rotate_by_gateway(), Rotated::Done { .. }));
    let last = store.key().unwrap();
    store.revoke(last.revision).unwrap();
    let mut revoke = |digest| {
        assert!(!store.run(&Revoke::Key(digest)).unwrap().revoked);
        let (user, limit) = (user(), 20);
        let show = ShowOverview { user, limit };
        store.data.read(&show, store.now).unwrap().issue
    };
    assert_eq!(revoke(old), Ok(()));
    assert_eq!(revoke(last.digest), Err(OwnRefusal::NotByUser));
}
