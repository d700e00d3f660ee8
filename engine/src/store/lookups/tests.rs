//! Which requests wait for which call, and may take its answer.

use super::*;
use rekey_protocol::{GatewayId, Head, Incarnation};

fn control(generation: u64, applied: u64) -> Control {
    let mut control = Control::new(GatewayId([1; 16]));
    control.generation.number = generation;
    control.applied = Some(Head {
        incarnation: Incarnation([1; 16]),
        revision: applied,
    });
    control.deadline = at(100);
    control
}

fn at(now: u64) -> Moment {
    Moment {
        monotonic: now,
        wall: now,
    }
}

/// Whether a request that arrives with `arrival` may take the answer, read
/// at `revision`, of a call sent with `sent`; before or after it.
fn may(before: bool, sent: &Control, arrival: (&Control, u64), revision: u64) -> bool {
    let mut lookups = Lookups::default();
    let digest = Digest::of(b"k");
    let (control, now) = arrival;
    let early = lookups.arrival(Some(control), at(now));
    let first = lookups.join(
        digest,
        RequestId(1),
        Purpose::Authenticate,
        early,
        CallId(1),
    );
    assert_eq!(first, Joined::NewCall);
    assert_eq!(lookups.send_due(Some(sent), 1_000).len(), 1);
    let late = lookups.arrival(Some(control), at(now));
    let second = lookups.join(digest, RequestId(2), Purpose::Authenticate, late, CallId(2));
    assert_eq!(second, Joined::CallInFlight, "one call for each key");
    assert!(lookups.send_due(Some(sent), 1_000).is_empty());
    let answered = lookups.answered(CallId(1)).unwrap();
    let waiter = &answered.waiters[if before { 0 } else { 1 }];
    let read = AnswerRead {
        revision,
        is_cached: true,
    };
    answered.sent.may_serve(&waiter.arrival, read)
}

#[test]
fn g7_the_answer_of_a_later_call_always_serves() {
    assert!(may(true, &control(2, 50), (&control(1, 60), 500), 0));
}

#[test]
fn g7_the_answer_of_an_earlier_call_serves_under_the_lease_alone() {
    let control = control(1, 50);
    assert!(may(false, &control, (&control, 99), 50));
    assert!(!may(false, &control, (&control, 100), 50), "lease is over");
    assert!(!may(false, &control, (&control, 99), 49), "read too early");
    let mut nothing = control;
    nothing.applied = None;
    assert!(!may(false, &nothing, (&control, 99), 50));
}

#[test]
fn g7_the_answer_of_another_generation_does_not_serve() {
    assert!(!may(false, &control(1, 50), (&control(2, 50), 99), 60));
}

#[test]
fn a_call_that_nobody_waits_for_is_not_sent() {
    let mut lookups = Lookups::default();
    let arrival = lookups.arrival(None, at(0));
    let digest = Digest::of(b"k");
    lookups.join(
        digest,
        RequestId(1),
        Purpose::Authenticate,
        arrival,
        CallId(1),
    );
    lookups.leave(RequestId(1));
    assert!(lookups.send_due(None, 1_000).is_empty());
    // The next one makes another call.
    let next = lookups.join(
        digest,
        RequestId(2),
        Purpose::Authenticate,
        arrival,
        CallId(2),
    );
    assert_eq!(next, Joined::NewCall);
    assert_eq!(lookups.send_due(None, 1_000).len(), 1);
    lookups.leave(RequestId(2));
    assert_eq!(lookups.waiting(), 0);
    let answered = lookups.answered(CallId(2)).unwrap();
    assert!(answered.waiters.is_empty(), "it goes on without them");
}

#[test]
fn a_request_that_asked_often_enough_is_given_up() {
    let mut lookups = Lookups::default();
    let arrival = lookups.arrival(None, at(0));
    let digest = Digest::of(b"k");
    lookups.join(
        digest,
        RequestId(1),
        Purpose::Authenticate,
        arrival,
        CallId(0),
    );
    let mut tries = 0;
    loop {
        lookups.send_due(None, 1_000);
        let mut answered = lookups.answered(CallId(tries)).unwrap();
        let waiter = answered.waiters.pop().unwrap();
        tries += 1;
        if lookups.ask_again(digest, waiter, CallId(tries)).is_some() {
            break;
        }
    }
    assert_eq!(tries, u64::from(MOST_TRIES) + 1);
    assert_eq!((lookups.waiting(), lookups.calls.len()), (0, 0));
}
