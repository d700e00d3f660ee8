//! The record of what a gateway may trust: its cursor in the store's history,
//! its generation and its lease (G1, G2, G5).

use arbitrary::{Result, Unstructured};
use rekey_engine::Moment;
use rekey_engine::control::{Control, SentPoll};
use rekey_engine::fuzzing::{decode_control, encode_control};
use rekey_protocol::{FeedResponse, GatewayId, Head, Incarnation};

/// The first byte says whether the rest is a record's value or what happens to
/// a record.
pub fn control(data: &[u8]) {
    match data.split_first() {
        Some((0..=99, value)) => read(value),
        Some((_, story)) => drop(happens(&mut Unstructured::new(story))),
        None => {}
    }
}

/// What can be read is written as it was.
fn read(value: &[u8]) {
    if let Some(control) = decode_control(value) {
        assert_eq!(encode_control(&control), value);
    }
}

fn happens(input: &mut Unstructured<'_>) -> Result<()> {
    let mut control = Control::new(GatewayId([1; 16]));
    let mut polls = Vec::new();
    let mut now = 1_000;
    while !input.is_empty() {
        match input.int_in_range(0..=9)? {
            0 => now += u64::from(input.arbitrary::<u16>()?),
            1..=3 => {
                let sent = Moment {
                    monotonic: now,
                    // It can be set back.
                    wall: u64::from(input.arbitrary::<u32>()?),
                };
                polls.push(control.poll(sent, input.int_in_range(100..=30_000)?));
            }
            4 => ended(&mut control, incarnation(input)?),
            // Any of the polls: answers come late, doubled and in disorder.
            _ if !polls.is_empty() => {
                let poll = polls[input.choose_index(polls.len())?];
                answered(&mut control, &poll, &answer(input)?);
            }
            _ => {}
        }
        assert_eq!(decode_control(&encode_control(&control)), Some(control));
    }
    Ok(())
}

fn incarnation(input: &mut Unstructured<'_>) -> Result<Incarnation> {
    Ok(Incarnation([input.int_in_range(1..=3)?; 16]))
}

fn answer(input: &mut Unstructured<'_>) -> Result<FeedResponse> {
    Ok(FeedResponse {
        poll: 0,
        changes: Vec::new(),
        cursor: Head {
            incarnation: incarnation(input)?,
            revision: input.int_in_range(0..=20)?,
        },
        granted_ms: input.arbitrary()?,
        reset: input.ratio(1, 4)?,
        keys_imported_at: input.int_in_range(0..=20)?,
        secrets: None,
        used_most: 0,
    })
}

fn answered(control: &mut Control, poll: &SentPoll, answer: &FeedResponse) {
    let before = *control;
    let Some(after) = before.after(poll, answer) else {
        return;
    };
    // G2: of another generation, or of another cursor, it is thrown away.
    assert!(before.awaits(poll) && before.generation.number == poll.generation);
    assert_eq!((after.applied, after.former), (Some(answer.cursor), None));
    assert_eq!(after.gateway, before.gateway);
    let began = after.generation != before.generation;
    if began {
        assert_eq!(after.generation.number, before.generation.number + 1);
        assert_eq!(after.generation.began, answer.cursor.revision);
    } else {
        // A cache does not span two lives of the store, and goes on only.
        let at = before.applied.expect("nothing can follow on nothing");
        assert_eq!(at.incarnation, answer.cursor.incarnation);
        assert!(answer.cursor.revision >= at.revision);
        assert!(after.deadline.monotonic >= before.deadline.monotonic, "G1");
    }
    if let Some(at) = before
        .applied
        .filter(|at| at.incarnation == answer.cursor.incarnation)
    {
        assert!(answer.cursor.revision >= at.revision, "G2: a reset back");
    }
    // G1: from when it was sent, and no longer than was asked for.
    let granted = u64::from(answer.granted_ms.min(poll.lease_ms));
    let until = poll.sent.monotonic + granted;
    let kept = if began { 0 } else { before.deadline.monotonic };
    assert!(
        after.deadline.monotonic <= until.max(kept),
        "a longer lease"
    );
    if after.deadline.monotonic > kept {
        assert_eq!(after.deadline.wall, poll.sent.wall + granted);
    }
    // An import that is known of is not forgotten in a life of the store.
    let imported = if began { 0 } else { before.keys_imported_at };
    assert_eq!(
        after.keys_imported_at,
        imported.max(answer.keys_imported_at)
    );
    // The same once more changes nothing.
    let again = after.after(poll, answer);
    assert!(again.is_none_or(|again| again == after));
    assert!(!after.trusts(after.deadline));
    *control = after;
}

/// G5: an answer of another life of the store ends the lease at once.
fn ended(control: &mut Control, incarnation: Incarnation) {
    let before = *control;
    let is_another = before
        .applied
        .is_some_and(|at| at.incarnation != incarnation);
    let ended = before.after_answer_of(incarnation);
    assert_eq!(ended.is_some(), is_another);
    if let Some(after) = ended {
        assert_eq!((after.applied, after.former), (None, before.applied));
        assert!(!after.trusts(Moment::default()));
        assert_eq!(after.generation.number, before.generation.number + 1);
        *control = after;
    }
}
