//! What becomes in memory of uses that are heard of.

use super::*;
use crate::operations::uses::last_uses::HOUR_MS;

const HOUR: i64 = HOUR_MS;
/// Some moment in an hour of 2015.
const NOW: UnixMillis = UnixMillis(400_000 * HOUR + 1_234_567);

fn digest(number: usize) -> Digest {
    Digest::of(&number.to_be_bytes())
}

/// The beginning of the hour so many hours before [`NOW`].
fn hours_ago(hours: i64) -> UnixMillis {
    UnixMillis(hour_of(NOW).0 - hours * HOUR)
}

fn hear(heard: &mut Heard, now: UnixMillis, key: usize, at: UnixMillis) -> Heeded {
    heard.hear(now, digest(key), at)
}

#[test]
fn what_is_heard_is_cut_to_the_hour_and_never_later_than_now() {
    let mut heard = Heard::default();
    let at = |ms| UnixMillis(NOW.0 + ms);
    for (key, at) in [(1, 0), (2, -1_234_568), (3, 1), (4, 500 * HOUR), (5, -HOUR)] {
        assert_eq!(
            hear(&mut heard, NOW, key, UnixMillis(NOW.0 + at)),
            Heeded::Waits
        );
    }
    // An age before the epoch is a gateway's nonsense, and no fault of ours.
    hear(&mut heard, NOW, 6, UnixMillis(i64::MIN + HOUR));
    hear(&mut heard, NOW, 1, at(-3 * HOUR));
    let hours: Vec<_> = (1..=5).map(|key| heard.waiting[&digest(key)]).collect();
    let expected = [0, 1, 0, 0, 1].map(hours_ago);
    assert_eq!(hours, expected);
}

#[test]
fn a_key_is_written_once_an_hour() {
    let mut heard = Heard::default();
    let mut rows = 0;
    for minute in 0..180 {
        let now = UnixMillis(hour_of(NOW).0 + minute * 60_000);
        for key in 0..10 {
            // Ten gateways tell it.
            hear(&mut heard, now, key, now);
        }
        let batch = heard.take(MOST_ROWS);
        rows += batch.len();
        heard.note_recorded(&batch);
    }
    assert_eq!(rows, 3 * 10);
    // What is told late is on record by then.
    let now = UnixMillis(hour_of(NOW).0 + 180 * 60_000 - 1);
    for ago in 0..5 {
        let at = UnixMillis(now.0 - ago * HOUR);
        assert_eq!(hear(&mut heard, now, 1, at), Heeded::Known);
    }
}

#[test]
fn one_that_was_written_for_an_earlier_hour_is_not_known_for_this_one() {
    let mut heard = Heard::default();
    hear(&mut heard, NOW, 1, hours_ago(1));
    let batch = heard.take(MOST_ROWS);
    heard.note_recorded(&batch);
    assert_eq!(hear(&mut heard, NOW, 1, NOW), Heeded::Waits);
    // Nor is one whose hour ended while it was written.
    let mut heard = Heard::default();
    hear(&mut heard, NOW, 1, NOW);
    let batch = heard.take(MOST_ROWS);
    let next = UnixMillis(NOW.0 + HOUR);
    hear(&mut heard, next, 2, next);
    heard.note_recorded(&batch);
    assert_eq!(hear(&mut heard, next, 1, next), Heeded::Waits);
}

#[test]
fn i8_memory_is_bounded_and_all_get_their_turn() {
    let mut heard = Heard::default();
    let all = MOST_WAITING + 1_000;
    let mut dropped = 0;
    for key in 0..all {
        let heeded = hear(&mut heard, NOW, key, NOW);
        dropped += usize::from(heeded == Heeded::Dropped);
    }
    assert_eq!((heard.waiting.len(), dropped), (MOST_WAITING, 1_000));
    // One that waits already needs no room.
    assert_eq!(hear(&mut heard, NOW, 0, NOW), Heeded::Waits);
    // Whatever comes meanwhile, each is written before long.
    let mut first = heard.waiting.clone();
    for turn in 0..4 * MOST_WAITING / MOST_ROWS {
        let batch = heard.take(MOST_ROWS);
        assert_eq!(batch.len(), MOST_ROWS);
        first.retain(|digest, _| !batch.contains_key(digest));
        for key in 0..MOST_ROWS {
            hear(&mut heard, NOW, all + turn * MOST_ROWS + key, NOW);
        }
    }
    assert_eq!(first.len(), 0, "not written");
    // Fewer than a batch are taken once each.
    let mut few = Heard::default();
    for key in 0..7 {
        hear(&mut few, NOW, key, NOW);
    }
    few.taken = few.waiting.keys().nth(3).copied();
    assert_eq!(few.take(MOST_ROWS).len(), 7);
    assert!(few.waiting.is_empty());
}

#[test]
fn what_could_not_be_written_waits_and_newer_words_stay() {
    let mut heard = Heard::default();
    hear(&mut heard, NOW, 1, hours_ago(1));
    hear(&mut heard, NOW, 2, hours_ago(1));
    let batch = heard.take(MOST_ROWS);
    hear(&mut heard, NOW, 1, NOW);
    assert_eq!(heard.put_back(batch), 0);
    assert_eq!(heard.waiting[&digest(1)], hours_ago(0));
    assert_eq!(heard.waiting[&digest(2)], hours_ago(1));
    // Without room it is counted.
    let batch = heard.take(MOST_ROWS);
    for key in 0..MOST_WAITING {
        hear(&mut heard, NOW, 10 + key, NOW);
    }
    assert_eq!(heard.put_back(batch), 2);
}
