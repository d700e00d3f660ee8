//! One rotation, attempt by attempt.

use super::*;
use rekey_protocol::{ChecksumSecrets, ErrorCode};

const REQUEST: RequestId = RequestId(1);

fn key() -> ApiKey {
    ChecksumSecrets::parse("0123456789abcdef")
        .unwrap()
        .issue(&[5; 64])
        .unwrap()
}

fn rotation_of(was_dead: bool) -> Rotation {
    let requester = Requester {
        client: Client::default(),
        pair: None,
    };
    let drawn = Drawn {
        id: RotationId([1; 16]),
        new: key(),
        salt: [0; SEAL_SALT_LEN],
    };
    let old = KeyToReplace {
        digest: Digest::of(b"old"),
        was_dead,
    };
    Rotation::new(REQUEST, old, Box::new(requester), drawn, 1_000)
}

fn rotation() -> Rotation {
    rotation_of(false)
}

fn refusal(progress: Progress) -> Option<ApiRefusal> {
    match progress {
        Progress::Refused { refusal, .. } => Some(refusal),
        _ => None,
    }
}

fn at() -> CreatedAt {
    CreatedAt::try_from("2025-01-31T16:00:00Z".to_owned()).unwrap()
}

#[test]
fn x1_what_never_left_is_unavailable() {
    for fault in [
        StoreFault::NotSent,
        StoreFault::Unauthorized,
        StoreFault::Refused(ErrorCode::Unavailable),
    ] {
        let mut rotation = rotation();
        assert!(rotation.next_attempt(CallId(1), 1_000).is_some());
        assert_eq!(
            refusal(rotation.failed(fault, 1_001)),
            Some(ApiRefusal::KeyStoreUnavailable)
        );
    }
}

#[test]
fn x1_nothing_happened_is_not_said_of_a_key_that_was_dead_before() {
    let mut rotation = rotation_of(true);
    assert!(rotation.next_attempt(CallId(1), 1_000).is_some());
    assert_eq!(
        refusal(rotation.failed(StoreFault::NotSent, 1_001)),
        Some(ApiRefusal::RotationUnconfirmed)
    );
}

#[test]
fn x1_what_may_have_left_is_asked_again_under_the_same_id() {
    let mut rotation = rotation();
    let first = rotation.next_attempt(CallId(1), 1_000).unwrap().request;
    assert!(matches!(
        rotation.failed(StoreFault::NoAnswer, 1_001),
        Progress::Pending
    ));
    assert!(
        rotation.next_attempt(CallId(2), 1_001).is_none(),
        "not before its pause"
    );
    let second = rotation.next_attempt(CallId(2), 1_100).unwrap().request;
    assert_eq!((first.attempt, second.attempt), (1, 2));
    assert_eq!(first.rotation_id, second.rotation_id);
    assert_eq!(first.new_digest, second.new_digest);
    // A certain failure of the second says nothing of the first.
    let progress = rotation.failed(StoreFault::NotSent, 1_101);
    assert!(matches!(progress, Progress::Pending));
}

#[test]
fn x1_patience_outlasts_the_longest_lease_and_ends_unconfirmed() {
    let mut rotation = rotation();
    let mut now = 1_000;
    let ended = loop {
        if let Some(attempt) = rotation.next_attempt(CallId(1), now) {
            assert!(now + u64::from(attempt.timeout_ms) <= 1_000 + PATIENCE_MS);
            now += 1;
            if let Some(refusal) = refusal(rotation.failed(StoreFault::NoAnswer, now)) {
                break refusal;
            }
        }
        now += 10;
    };
    assert_eq!(ended, ApiRefusal::RotationUnconfirmed);
    assert!(now - 1_000 > 30_350, "{now}");
    assert!(
        rotation.attempts() < 40,
        "backs off: {}",
        rotation.attempts()
    );
}

#[test]
fn x1_every_attempt_says_how_long_it_is_worth_beginning() {
    let mut rotation = rotation();
    let mut now = 1_000;
    let mut seen = Vec::new();
    while now < 1_000 + PATIENCE_MS {
        if let Some(attempt) = rotation.next_attempt(CallId(1), now) {
            let timeout = attempt.timeout_ms;
            let patience = attempt.request.patience_ms.unwrap();
            // Time is left for the answer, and the more the longer the call.
            assert!(patience < timeout && patience >= timeout / 2, "{timeout}");
            seen.push(patience);
            let _ = rotation.failed(StoreFault::NoAnswer, now);
        }
        now += 10;
    }
    assert!(seen.first() > seen.last() && seen.len() > 2, "{seen:?}");
}

#[test]
fn s11_another_key_is_never_shown() {
    let rotation = rotation();
    let decided = |new_digest| {
        rotation.decided(RotateOutcome::Rotated {
            created_at: at(),
            revision: 3,
            new_digest,
        })
    };
    assert!(matches!(decided(key().digest()), Progress::Rotated { .. }));
    let other = decided(Digest::of(b"other"));
    assert_eq!(refusal(other), Some(ApiRefusal::RotationUnconfirmed));
}

#[test]
fn a_client_that_left_ends_what_was_not_sent_and_is_not_asked_again_for() {
    let mut rotation1 = rotation();
    assert!(matches!(rotation1.client_left(), Progress::Dropped));
    let mut rotation2 = rotation();
    assert!(rotation2.next_attempt(CallId(1), 1_000).is_some());
    assert!(matches!(rotation2.client_left(), Progress::Pending));
    assert!(matches!(
        rotation2.failed(StoreFault::NoAnswer, 1_001),
        Progress::Dropped
    ));
}
