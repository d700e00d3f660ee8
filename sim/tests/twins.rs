//! The model's twins decide like the engine's own code: the slot and the waiter
//! rule. (Control, leases and history are the real ones in the model itself.)

#![allow(clippy::unwrap_used, reason = "a test's helpers may panic")]

use std::collections::HashSet;

use rekey_engine::Moment;
use rekey_engine::control::{Control, Generation};
use rekey_engine::lookups::{AnswerRead, Lookups, Purpose};
use rekey_engine::slots::{self, ActiveKey, Merged, RevokedAt, Tombstone, WAYS};
use rekey_engine::{CallId, RequestId};
use rekey_protocol::{Digest, GatewayId, Head, Incarnation, RotationInterval};
use rekey_sim::model::gateway::request::may_serve;
use rekey_sim::model::gateway::slot::{Slot, View};
use rekey_sim::model::rules::Rules;
use rekey_sim::model::state;

const RULES: Rules = Rules::ALL;
const GENERATIONS: [state::Generation; 2] = [
    state::Generation {
        number: 1,
        began: 1,
    },
    state::Generation {
        number: 2,
        began: 2,
    },
];

fn digest(key: u8) -> Digest {
    Digest::of(&[key])
}

fn real(generation: state::Generation) -> Generation {
    Generation {
        number: generation.number.into(),
        began: generation.began.into(),
    }
}

fn active(revision: u8) -> ActiveKey {
    ActiveKey {
        user: "u".parse().unwrap(),
        revision: revision.into(),
        not_before: 0,
        interval: RotationInterval::HOUR,
    }
}

fn read(revision: u64, is_cached: bool) -> AnswerRead {
    AnswerRead {
        revision,
        is_cached,
    }
}

fn dead(revision: u8) -> Tombstone {
    let revoked = RevokedAt {
        revision: revision.into(),
        replayable: false,
    };
    Tombstone::new(revoked, 0)
}

fn seen(view: slots::View) -> View {
    match view {
        slots::View::Absent => View::Absent,
        slots::View::Revoked(_) => View::Revoked,
        slots::View::Active(_) => View::Active,
    }
}

fn merged(merged: Merged) -> View {
    match merged {
        Merged::TooOld => View::Absent,
        Merged::Revoked(_) => View::Revoked,
        Merged::Active(_) => View::Active,
    }
}

/// One key more than a slot has room for, two generations and revisions around
/// where they begin: every slot that can come about so is visited.
#[test]
fn the_slot_is_the_engines() {
    let keys = 0..=u8::try_from(WAYS).unwrap();
    let mut next = vec![(Slot::default(), None::<slots::Slot>)];
    let mut visited = HashSet::new();
    while let Some((twin, original)) = next.pop() {
        if !visited.insert(twin) {
            continue;
        }
        for at in GENERATIONS {
            let fresh = || slots::Slot::new(real(at));
            for key in keys.clone() {
                let digest = digest(key);
                let looked = original.as_ref().map(|slot| slot.look(real(at), &digest));
                assert_eq!(
                    looked.map_or(View::Absent, seen),
                    twin.look(&RULES, at.number, key),
                    "{twin:?} {at:?} {key}"
                );
                for revision in 1..=2 {
                    let mut a = (twin, original.clone().unwrap_or_else(fresh));
                    let buried = a.0.bury(&RULES, WAYS, at, key, revision);
                    let by_engine = a.1.bury(real(at), &digest, dead(revision));
                    assert_eq!(buried, by_engine.is_ok());
                    let mut b = (twin, original.clone().unwrap_or_else(fresh));
                    let filled = b.0.fill(&RULES, WAYS, at, key, revision);
                    let by_engine = b.1.fill(real(at), &digest, active(revision));
                    assert_eq!(filled, merged(by_engine), "{twin:?} {at:?} {key}");
                    next.extend([a, b].map(|(twin, slot)| (twin, Some(slot))));
                }
            }
        }
    }
    assert!(visited.len() > 10_000, "{}", visited.len());
}

fn control(generation: u8, applied: u8) -> Control {
    let mut control = Control::new(GatewayId([1; 16]));
    control.generation.number = generation.into();
    control.applied = Some(Head {
        incarnation: Incarnation([1; 16]),
        revision: applied.into(),
    });
    control.deadline = Moment {
        monotonic: 10,
        wall: 10,
    };
    control
}

/// What the engine says of a request that joins a call after it was sent.
fn by_engine(sent: &Control, arrived: &Control, trusts: bool, revision: u8, cached: bool) -> bool {
    let now = u64::from(!trusts) * 10;
    let now = Moment {
        monotonic: now,
        wall: now,
    };
    let mut lookups = Lookups::default();
    let first = lookups.arrival(None, now);
    lookups.join(
        digest(0),
        RequestId(1),
        Purpose::Authenticate,
        first,
        CallId(1),
    );
    lookups.send_due(Some(sent), u64::MAX);
    let late = lookups.arrival(Some(arrived), now);
    lookups.join(
        digest(0),
        RequestId(2),
        Purpose::Authenticate,
        late,
        CallId(2),
    );
    let answered = lookups.answered(CallId(1)).unwrap();
    let of_asker = &answered.waiters[0].arrival;
    let sent = answered.sent;
    assert!(
        sent.may_serve(of_asker, read(0, cached)),
        "asked before it was sent"
    );
    sent.may_serve(&answered.waiters[1].arrival, read(revision.into(), cached))
}

#[test]
fn g7_the_waiter_rule_is_the_engines() {
    let mut served = 0;
    for case in 0..2_u32.pow(8) {
        let bit = |place: u32| u8::try_from(case >> place & 1).unwrap();
        let (sent, arrived) = (
            control(1 + bit(0), 1 + bit(1)),
            control(1 + bit(2), 1 + bit(3)),
        );
        let (trusts, cached) = (bit(4) == 1, bit(5) == 1);
        let revision = bit(6) + 2 * bit(7);
        let sent_in = 1 + bit(0);
        let arrival = (1 + bit(2), trusts, 1 + bit(3));
        let expected = by_engine(&sent, &arrived, trusts, revision, cached);
        let twin = may_serve(&RULES, Some(sent_in), arrival, revision, cached);
        assert_eq!(twin, expected, "{case:b}");
        served += u32::from(twin);
    }
    assert!(served > 0);
}

/// A mutant's control record differs from the engine's by its mutation only.
#[test]
fn g2_without_mutations_the_control_record_is_the_engines() {
    let mut kept = 0;
    for case in 0..3_u32.pow(8) {
        let digit = |place: u32| u8::try_from(case / 3_u32.pow(place) % 3).unwrap();
        let cursor =
            |life: u8, revision: u8| (life > 0).then_some(state::Cursor { life, revision });
        let former = cursor(digit(2), 1);
        let control = |generation: u8, applied: Option<state::Cursor>| state::Control {
            id: 1,
            generation: state::Generation {
                number: generation,
                began: 0,
            },
            applied,
            former: applied.is_none().then_some(former).flatten(),
            deadline: state::Moment {
                monotonic: digit(0),
                wall: digit(0),
            },
        };
        let (applied, then) = (cursor(digit(1), digit(2)), cursor(digit(3), 1));
        let sent = state::Sent {
            control: control(digit(4), then),
            at: state::Moment::default(),
            lease: 2,
        };
        let page = state::Page {
            revoked: [0; state::MOST],
            upto: state::Cursor {
                life: 1 + digit(5) % 2,
                revision: digit(6),
            },
            is_head: true,
            is_reset: digit(5) == 2,
            granted: digit(7),
        };
        let now = state::Moment::default();
        let control = control(1, applied);
        let by_engine = control.after(&RULES, &sent, &page, now);
        let twin = control.after_of_mutant(&RULES, &sent, &page, now);
        assert_eq!(by_engine, twin, "{control:?} {sent:?} {page:?}");
        kept += u32::from(twin.is_some());
    }
    assert!(kept > 0);
}
