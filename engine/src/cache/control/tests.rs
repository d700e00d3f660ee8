//! What may be trusted, and when an answer to a poll changes that.

use super::*;
use crate::host::env::Versioned;
use crate::testing::Memory;

fn cell() -> ControlCell {
    ControlCell {
        entries: Entries::under("n."),
    }
}

const LIFE: Incarnation = Incarnation([1; 16]);
const NEXT_LIFE: Incarnation = Incarnation([2; 16]);
const LEASE: u32 = 3_000;

fn at(monotonic: u64) -> Moment {
    Moment {
        monotonic,
        wall: 1_000_000 + monotonic,
    }
}

fn head(incarnation: Incarnation, revision: u64) -> Head {
    Head {
        incarnation,
        revision,
    }
}

fn answer(cursor: Head, granted_ms: u32) -> FeedResponse {
    FeedResponse {
        poll: 1,
        changes: vec![],
        cursor,
        granted_ms,
        reset: false,
        keys_imported_at: 0,
        secrets: None,
        used_most: 0,
    }
}

fn reset(cursor: Head) -> FeedResponse {
    FeedResponse {
        reset: true,
        ..answer(cursor, LEASE)
    }
}

/// A gateway in its first generation, which began at revision 10 and time 100.
fn following() -> Control {
    let new = Control::new(GatewayId([7; 16]));
    let poll = new.poll(at(100), LEASE);
    new.after(&poll, &reset(head(LIFE, 10))).unwrap()
}

#[test]
fn g1_the_lease_runs_from_the_sending_of_its_poll_by_both_clocks() {
    let control = following();
    let end = 100 + u64::from(LEASE);
    assert!(control.trusts(at(end - 1)));
    assert!(!control.trusts(at(end)));
    // The machine was suspended: its monotonic clock stood still.
    let suspended = Moment {
        monotonic: 200,
        wall: at(end).wall,
    };
    assert!(!control.trusts(suspended));
    assert!(!Control::new(GatewayId([7; 16])).trusts(at(0)));
}

#[test]
fn g1_the_deadline_is_only_raised_and_no_more_than_was_asked_for() {
    let control = following();
    let (early, late) = (control.poll(at(500), LEASE), control.poll(at(900), LEASE));
    let raised = control
        .after(&late, &answer(head(LIFE, 10), LEASE))
        .unwrap();
    assert_eq!(raised.deadline, at(3_900));
    // The answer to the earlier poll comes after that to the later one.
    let again = raised
        .after(&early, &answer(head(LIFE, 10), LEASE))
        .unwrap();
    assert_eq!(again.deadline, at(3_900));
    let generous = raised
        .after(&late, &answer(head(LIFE, 10), u32::MAX))
        .unwrap();
    assert_eq!(generous.deadline, at(3_900));
}

#[test]
fn s4_without_a_grant_the_deadline_stays_and_the_changes_count() {
    let control = following();
    let poll = control.poll(at(500), LEASE);
    let next = control.after(&poll, &answer(head(LIFE, 20), 0)).unwrap();
    assert_eq!(next.deadline, control.deadline);
    assert_eq!(next.applied, Some(head(LIFE, 20)));
}

#[test]
fn g2_an_answer_that_something_else_overtook_is_thrown_away() {
    let control = following();
    let poll = control.poll(at(500), LEASE);
    let ahead = control
        .after(&poll, &answer(head(LIFE, 20), LEASE))
        .unwrap();
    // Of another feeder's older cursor.
    assert_eq!(ahead.after(&poll, &answer(head(LIFE, 15), LEASE)), None);
    // Of another generation, another gateway.
    let other_generation = SentPoll {
        generation: 9,
        ..ahead.poll(at(600), LEASE)
    };
    let other_gateway = SentPoll {
        gateway: GatewayId([8; 16]),
        ..ahead.poll(at(600), LEASE)
    };
    for poll in [other_generation, other_gateway] {
        assert_eq!(ahead.after(&poll, &answer(head(LIFE, 30), LEASE)), None);
    }
    // Backwards, and something after nothing.
    let poll = ahead.poll(at(600), LEASE);
    assert_eq!(ahead.after(&poll, &answer(head(LIFE, 19), LEASE)), None);
    let new = Control::new(GatewayId([7; 16]));
    let poll = new.poll(at(600), LEASE);
    assert_eq!(new.after(&poll, &answer(head(LIFE, 19), LEASE)), None);
}

#[test]
fn a_reset_begins_a_generation_at_its_cursor() {
    let control = following();
    assert_eq!(
        (control.generation.number, control.generation.began),
        (1, 10)
    );
    let poll = control.poll(at(500), LEASE);
    let next = control.after(&poll, &reset(head(NEXT_LIFE, 5))).unwrap();
    assert_eq!((next.generation.number, next.generation.began), (2, 5));
    assert_eq!(next.deadline, at(500 + u64::from(LEASE)));
    // G2: the same history does not go back.
    assert_eq!(control.after(&poll, &reset(head(LIFE, 9))), None);
}

/// S8, G5: this gateway applied all up to 10, and then read a key at 15. A backup
/// of 12 is restored: 10 can be served, and the key of 15 is not in it.
#[test]
fn no_generation_spans_two_lives_of_the_store() {
    let control = following();
    let poll = control.poll(at(500), LEASE);
    let next = control
        .after(&poll, &answer(head(NEXT_LIFE, 99), LEASE))
        .unwrap();
    assert_eq!((next.generation.number, next.generation.began), (2, 99));
    assert_eq!(next.applied, Some(head(NEXT_LIFE, 99)));
    assert!(next.trusts(at(501)));
}

#[test]
fn g5_an_answer_of_another_life_ends_lease_and_generation() {
    let control = following();
    assert_eq!(control.after_answer_of(LIFE), None);
    let ended = control.after_answer_of(NEXT_LIFE).unwrap();
    assert!(!ended.trusts(at(101)));
    assert_eq!((ended.generation.number, ended.applied), (2, None));
    assert_eq!(ended.after_answer_of(LIFE), None, "nothing left to end");
    // S8: the store is still told what this gateway knew; if it remembers that,
    // a generation begins where it stands.
    let poll = ended.poll(at(300), LEASE);
    assert_eq!(poll.cursor, control.applied);
    let told = answer(head(NEXT_LIFE, 99), LEASE);
    let next = ended.after(&poll, &told).unwrap();
    assert_eq!((next.generation.number, next.generation.began), (3, 99));
    assert_eq!((next.former, next.trusts(at(301))), (None, true));
    // It was a stray answer, and the store is in the life that it was in.
    let told = answer(head(LIFE, 12), LEASE);
    let next = ended.after(&poll, &told).unwrap();
    assert_eq!((next.generation.number, next.generation.began), (3, 12));
    assert_eq!(
        ended.after(&poll, &answer(head(LIFE, 9), LEASE)),
        None,
        "G2"
    );
    // A poll that was in flight does not bring it back.
    let poll = control.poll(at(100), LEASE);
    assert_eq!(ended.after(&poll, &answer(head(LIFE, 11), LEASE)), None);
}

#[test]
fn the_record_is_made_once_and_survives_a_round_trip() {
    let (cell, mut memory) = (cell(), Memory::default());
    let made = cell.read(&mut memory.at(0)).unwrap();
    assert_eq!(cell.read(&mut memory.at(1)), Some(made));
    let next = Control {
        gateway: made.gateway,
        ..following()
    };
    for next in [next, next.after_answer_of(NEXT_LIFE).unwrap()] {
        assert_eq!(cell.update(&mut memory, |_| Some(next)), Some(next));
        assert_eq!(cell.read(&mut memory.at(2)), Some(next));
    }
}

#[test]
fn a_value_is_one_record_and_a_record_one_value() {
    let none = Control::new(GatewayId([1; 16])).encode();
    let some = following().encode();
    assert_eq!(Control::decode(&some), Some(following()));
    let kind = 16 + 8 + 8;
    for (value, at, byte) in [
        // No such kind of cursor, and a cursor where there is none.
        (&some, kind, 3),
        (&none, kind, u8::MAX),
        (&some, kind, NEITHER),
        (&none, kind + 1 + 16, 1),
    ] {
        let mut value = value.clone();
        value[at] = byte;
        assert_eq!(Control::decode(&value), None, "{byte} at {at}");
    }
}

#[test]
fn g2_a_change_is_decided_again_after_a_lost_race_and_has_an_end() {
    let (cell, mut memory) = (cell(), Memory::default());
    let made = cell.read(&mut memory.at(0)).unwrap();
    let asked = std::cell::Cell::new(0);
    let change = |control: &Control| {
        asked.set(asked.get() + 1);
        Some(*control)
    };
    memory.lose_races = 3;
    assert_eq!(cell.update(&mut memory, change), Some(made));
    assert_eq!(asked.get(), 4);
    memory.lose_races = u32::MAX;
    assert_eq!(cell.update(&mut memory, change), None);
}

#[test]
fn what_cannot_be_understood_is_neither_trusted_nor_overwritten() {
    let (cell, mut memory) = (cell(), Memory::default());
    for foreign in [vec![], vec![1, 2, 3], vec![0; 200]] {
        let held = Versioned {
            value: foreign.clone(),
            version: 1,
        };
        memory.entries.insert("n.control".into(), held);
        assert_eq!(cell.read(&mut memory.at(0)), None);
        assert_eq!(cell.update(&mut memory, |control| Some(*control)), None);
        assert_eq!(memory.entries["n.control"].value, foreign);
    }
}

#[test]
fn the_last_import_only_grows_within_a_generation_and_ends_with_it() {
    let imported = |cursor, at| FeedResponse {
        keys_imported_at: at,
        ..answer(cursor, LEASE)
    };
    let follow = |control: &Control, answer: &FeedResponse| {
        let next = control.after(&control.poll(at(200), LEASE), answer);
        next.unwrap()
    };
    let control = follow(&following(), &imported(head(LIFE, 20), 15));
    assert_eq!(control.keys_imported_at, 15);
    assert_eq!(Control::decode(&control.encode()), Some(control));
    let control = follow(&control, &imported(head(LIFE, 21), 0));
    assert_eq!(control.keys_imported_at, 15);
    let restarted = FeedResponse {
        reset: true,
        ..imported(head(NEXT_LIFE, 7), 3)
    };
    assert_eq!(follow(&control, &restarted).keys_imported_at, 3);
    let ended = control.after_answer_of(NEXT_LIFE).unwrap();
    assert_eq!(ended.keys_imported_at, 0);
}
