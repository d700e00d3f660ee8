//! Short ways to what the tests of the suite need: names, keys, times, and the
//! operations that they begin with.

use rekey_protocol::{Client, Replay, ReplayProof, RotateRequest, RotationId, SealedKey};

use super::Subject;
use crate::api::AuditEvent;
use crate::clock::{StoreTime, UnixMillis};
use crate::operations::audit::{Selection, ShowEvents};
use crate::operations::keys::rotate::Rotate;
use crate::operations::keys::{Resolve, Resolved};
pub(super) use crate::operations::testing::{digest, user};
use crate::operations::users::{AddUser, NewUser};

/// An hour, in milliseconds.
pub(super) const HOUR: i64 = 3_600_000;

/// So many milliseconds after the beginning of a test, by both clocks.
pub(super) fn at(subject: &impl Subject, millis: i64) -> StoreTime {
    StoreTime::both(UnixMillis(subject.begun().0 + millis))
}

/// A user with this first key.
pub(super) fn new_user(name: &str, key: u8) -> AddUser {
    AddUser(NewUser {
        id: user(name),
        email: format!("{name}@example.com").parse().unwrap(),
        digest: digest(key),
        hint: format!("{key:04}"),
        phc: Some(format!("hash of {name}")),
    })
}

/// Adds a user with this first key, at the beginning.
pub(super) fn add(subject: &mut impl Subject, name: &str, key: u8) {
    let now = at(subject, 0);
    subject.run(new_user(name, key), now).unwrap().unwrap();
}

/// A gateway's first attempt, with a record for replays.
pub(super) fn rotate(id: u8, old: u8, new: u8) -> Rotate {
    Rotate(RotateRequest {
        rotation_id: RotationId([id; 16]),
        attempt: 1,
        old_digest: digest(old),
        new_digest: digest(new),
        hint: format!("{new:04}"),
        replay: Some(Box::new(Replay {
            proof: ReplayProof([id; 32]),
            sealed: SealedKey([id; 88]),
        })),
        client: Client::default(),
        patience_ms: None,
    })
}

/// What is known of a key.
pub(super) fn resolved(subject: &impl Subject, key: u8) -> Option<Resolved> {
    let now = at(subject, 0);
    subject.read(Resolve(digest(key)), now).ok()
}

/// The whole audit log, or a user's.
pub(super) fn log(subject: &impl Subject, name: Option<&str>) -> Vec<AuditEvent> {
    let wanted = Selection {
        user: name.map(user),
        limit: u32::MAX,
        ..Selection::default()
    };
    let now = at(subject, 0);
    let page = subject.read(ShowEvents(wanted), now);
    page.map(|page| page.events).unwrap_or_default()
}

/// What the log calls its rows, in their order.
pub(super) fn actions(subject: &impl Subject, name: &str) -> Vec<String> {
    let events = log(subject, Some(name)).into_iter();
    events.map(|event| event.action).collect()
}
