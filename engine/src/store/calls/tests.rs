//! What the answers of the store mean.

use super::*;

const ACTIVE: &str = r#"{"state":"active","user":"u_1","revision":5,"rotation_allowed_in":0,
    "head":{"incarnation":"00112233445566778899aabbccddeeff","revision":9}}"#;

fn marked(status: u16, body: &str) -> CallOutcome<'_> {
    CallOutcome::Answer {
        status,
        marked: true,
        body: body.as_bytes(),
    }
}

fn error(code: &str) -> String {
    format!(r#"{{"error":{{"code":"{code}","message":"m"}}}}"#)
}

#[test]
fn only_a_marked_and_whole_answer_counts() {
    assert!(read_resolved(marked(200, ACTIVE)).is_ok());
    let unmarked = CallOutcome::Answer {
        status: 200,
        marked: false,
        body: ACTIVE.as_bytes(),
    };
    assert_eq!(read_resolved(unmarked), Err(StoreFault::NoAnswer));
    // A body cut by EOF looks complete to the gateway (facts, d).
    for end in 0..ACTIVE.len() {
        assert_eq!(
            read_resolved(marked(200, &ACTIVE[..end])),
            Err(StoreFault::Unreadable)
        );
    }
    let doubled = ACTIVE.repeat(2);
    assert_eq!(
        read_resolved(marked(200, &doubled)),
        Err(StoreFault::Unreadable)
    );
    assert_eq!(read_resolved(CallOutcome::Lost), Err(StoreFault::NoAnswer));
    assert_eq!(
        read_resolved(CallOutcome::NotSent),
        Err(StoreFault::NotSent)
    );
}

#[test]
fn unknown_is_a_no_and_other_errors_are_not() {
    let unknown = error("unknown_key");
    assert_eq!(
        read_resolved(marked(404, &unknown)),
        Ok(ResolveOutcome::Unknown { head: None })
    );
    assert_eq!(
        read_decided(marked(404, &unknown)),
        Ok(RotateOutcome::Unknown)
    );
    for (status, code) in [
        (404, "not_found"),
        (401, "unauthorized"),
        (500, "internal"),
        (503, "unavailable"),
        (401, "unknown_key"),
        (500, "unknown_key"),
    ] {
        let body = error(code);
        assert!(
            read_resolved(marked(status, &body)).is_err(),
            "{status} {code}"
        );
    }
    assert_eq!(
        read_resolved(marked(404, "gone")),
        Err(StoreFault::Unreadable)
    );
}

#[test]
fn a_user_id_that_could_break_a_header_is_unreadable() {
    let forged = ACTIVE.replace("u_1", "u\\r\\nx: y");
    assert_eq!(
        read_resolved(marked(200, &forged)),
        Err(StoreFault::Unreadable)
    );
}

#[test]
fn what_is_known_to_have_changed_nothing() {
    let fault = |status, code| read_decided(marked(status, &error(code))).unwrap_err();
    for (status, code) in [
        (401, "unauthorized"),
        (400, "bad_request"),
        (503, "unavailable"),
        (413, "payload_too_large"),
    ] {
        assert!(fault(status, code).nothing_changed(), "{status} {code}");
    }
    for (status, code) in [
        (500, "internal"),
        (500, "unavailable"),
        (409, "of_tomorrow"),
        (302, "bad_request"),
    ] {
        assert!(!fault(status, code).nothing_changed(), "{status} {code}");
    }
    assert!(StoreFault::NotSent.nothing_changed());
    assert!(!StoreFault::NoAnswer.nothing_changed());
    assert!(!StoreFault::Unreadable.nothing_changed());
}

#[test]
fn retry_after_is_clamped() {
    let limited = |seconds: u64| {
        let body = format!(r#"{{"outcome":"rate_limited","retry_after":{seconds}}}"#);
        match read_decided(marked(200, &body)).unwrap() {
            RotateOutcome::RateLimited { retry_after, .. } => retry_after,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((limited(0), limited(u64::MAX)), (1, 3600));
}
