//! What must be true of a rotation, whatever was killed during it: what the
//! client was told, what the store holds and what the gateway accepts agree.

use rekey_testbed::Account;

use crate::support::client::{Answer, Broken, SCRAPE};
use crate::support::fleet::TestFleet;
use crate::support::store_view;

/// What the client knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Told {
    /// 200, with this key.
    NewKey(String),
    /// 503 `key_store_unavailable`.
    NothingHappened,
    /// The connection broke.
    Nothing,
}

impl Told {
    /// # Panics
    /// Any other answer: a 401 for a good key, or "unconfirmed" although the
    /// store was back long before the gateway's patience was over.
    pub(super) fn by(answer: &Result<Answer, Broken>) -> Self {
        let Ok(answer) = answer else {
            return Self::Nothing;
        };
        match answer.outcome() {
            (200, _) => Self::NewKey(answer.new_key()),
            (503, code) if code == "key_store_unavailable" => Self::NothingHappened,
            _ => panic!("{answer:?}"),
        }
    }
}

/// What became of the user's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Became {
    /// It is as it was.
    Kept,
    /// It was replaced, and the client has the new one.
    Replaced,
    /// It was replaced, and the answer was lost.
    Lost,
}

/// Checks the invariants of one rotation after everything is up again.
///
/// # Panics
/// One is broken.
pub(super) fn check(fleet: &TestFleet, user: &Account, told: &Told) -> Became {
    let old = store_view::digest(&user.api_key);
    let keys = store_view::keys(&fleet.store, &user.user_id);
    // I3: never none, never two, and the audit log tells how it came.
    let [active] = keys.active.as_slice() else {
        panic!("one active key: {keys:?}, {told:?}");
    };
    let kept = *active == old;
    assert_eq!(keys.rotations, usize::from(!kept), "{keys:?}, {told:?}");

    let client = fleet.client();
    let with_old = client.get(SCRAPE, &user.api_key).outcome();
    if kept {
        assert_eq!(with_old, (200, "ok".to_owned()), "{told:?}");
    } else {
        assert_eq!(with_old, (401, "api_key_revoked".to_owned()), "{told:?}");
    }
    match told {
        Told::NewKey(new) => {
            assert_eq!(*active, store_view::digest(new), "the key that was shown");
            assert_eq!(client.get(SCRAPE, new).status, 200);
            let again = client.regenerate(new);
            assert_eq!(again.outcome(), (429, "rate_limited".to_owned()));
            Became::Replaced
        }
        Told::NothingHappened => {
            assert!(kept, "it said that nothing was changed: {keys:?}");
            can_still_rotate(fleet, user)
        }
        Told::Nothing if kept => can_still_rotate(fleet, user),
        Told::Nothing => Became::Lost,
    }
}

/// I4: who kept the old key is not locked out, and the hour has not begun.
fn can_still_rotate(fleet: &TestFleet, user: &Account) -> Became {
    let client = fleet.client();
    let new = client.regenerate(&user.api_key).new_key();
    assert_eq!(client.get(SCRAPE, &new).status, 200);
    assert_eq!(client.get(SCRAPE, &user.api_key).status, 401);
    Became::Kept
}
