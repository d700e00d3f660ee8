//! What is kept so that a rotation can be answered again (X2 to X6).

use rekey_protocol::{ReplayProof, RotationId};

use super::bench::{HOUR, add, at, digest, rotate};
use super::{Subject, on_every_engine, operation};
use crate::clock::UnixMillis;
use crate::operations::keys::replays::NoteFirstUse;
use crate::operations::keys::revoke::Revoke;
use crate::operations::keys::rotate::{Rotate, Rotated};
use crate::rules::replay::MOST_FAILURES;

on_every_engine![
    x3_the_client_gets_its_answer_again,
    x4_only_the_first_use_is_noted,
    x4_wrong_proofs_destroy_a_record,
    x4_a_revoked_key_takes_its_record_along,
    x5_nobody_gets_the_answer_after_the_window,
];

/// Another request of the client that made the rotation `id`.
fn again(id: u8, attempt: u8) -> Rotate {
    let Rotate(mut request) = rotate(id, 1, 2);
    request.rotation_id = RotationId([100 + attempt; 16]);
    request.new_digest = digest(100 + attempt);
    Rotate(request)
}

/// A user whose key 1 the rotation 1 has replaced by 2.
fn rotated(subject: &mut impl Subject) {
    add(subject, "ann", 1);
    let done = subject.run(rotate(1, 1, 2), at(subject, 0)).unwrap();
    assert!(matches!(done, Rotated::Done { .. }), "{done:?}");
}

fn x3_the_client_gets_its_answer_again(subject: &mut impl Subject) {
    rotated(subject);
    for attempt in 0..2 {
        let replayed = subject.run(again(1, attempt), at(subject, 1_000)).unwrap();
        let Rotated::Replayed(replayed) = replayed else {
            panic!("{replayed:?}");
        };
        assert_eq!(
            (replayed.id, replayed.new_digest),
            (RotationId([1; 16]), digest(2))
        );
        assert_eq!(replayed.sealed.0, [1; 88]);
    }
}

operation!(Used() -> Option<Option<UnixMillis>>, |_this, tx, _cx| {
    let record = tx.replay(RotationId([1; 16]))?;
    Ok(record.map(|record| record.used))
});

fn x4_only_the_first_use_is_noted(subject: &mut impl Subject) {
    rotated(subject);
    assert_eq!(subject.run(Used(), at(subject, 0)), Ok(Some(None)));
    for millis in [5, 9] {
        let now = at(subject, millis);
        subject.run(NoteFirstUse(digest(2)), now).unwrap();
        subject.run(NoteFirstUse(digest(9)), now).unwrap();
    }
    let first = at(subject, 5).limit;
    assert_eq!(subject.run(Used(), at(subject, 9)), Ok(Some(Some(first))));
}

fn x4_wrong_proofs_destroy_a_record(subject: &mut impl Subject) {
    rotated(subject);
    for attempt in 0..MOST_FAILURES as u8 {
        let Rotate(mut request) = again(1, attempt);
        let replay = request.replay.as_mut().unwrap();
        replay.proof = ReplayProof([9; 32]);
        let refused = subject.run(Rotate(request), at(subject, 1_000)).unwrap();
        let is_last = u32::from(attempt) + 1 == MOST_FAILURES;
        assert_eq!(
            matches!(refused, Rotated::Refused(_)),
            is_last,
            "{refused:?}"
        );
    }
    let refused = subject.run(again(1, 50), at(subject, 1_000)).unwrap();
    assert!(matches!(refused, Rotated::Refused(_)), "{refused:?}");
    assert_eq!(subject.run(Used(), at(subject, 0)), Ok(None));
}

fn x4_a_revoked_key_takes_its_record_along(subject: &mut impl Subject) {
    rotated(subject);
    let now = at(subject, 1_000);
    subject.run(Revoke::Key(digest(2)), now).unwrap().unwrap();
    assert_eq!(subject.run(Used(), now), Ok(None));
}

fn x5_nobody_gets_the_answer_after_the_window(subject: &mut impl Subject) {
    rotated(subject);
    let refused = subject.run(again(1, 0), at(subject, HOUR)).unwrap();
    assert!(matches!(refused, Rotated::Refused(_)), "{refused:?}");
}
