//! What a worker notes of the uses of active keys, and what is told of them.

use rekey_protocol::USED_MOST;

use super::*;
use crate::host::env::Versioned;
use crate::testing::Memory;

/// A moment at which hours begin with the monotonic clock's.
fn at(monotonic: u64) -> Moment {
    Moment {
        monotonic,
        wall: 1_000 * HOUR_MS + monotonic,
    }
}

fn digest(number: usize) -> Digest {
    Digest::of(&number.to_be_bytes())
}

fn used(uses: &mut LastUseTracker, number: usize, now: u64) {
    assert_eq!(uses.note(digest(number), at(now)), Noted::Kept);
}

fn to_tell() -> PendingLastUses {
    let entries = Entries::under("n.");
    PendingLastUses { entries }
}

/// All that is to be told, poll by poll, each answered.
fn tell_all(memory: &mut Memory) -> Vec<ActiveKeyUse> {
    let mut all = Vec::new();
    loop {
        let next = to_tell().next(memory, USED_MOST);
        assert!(next.len() <= USED_MOST);
        if next.is_empty() {
            return all;
        }
        to_tell().told(memory, &next);
        all.extend(next);
    }
}

#[test]
fn a_key_is_told_once_an_hour_however_often_it_is_used() {
    let mut memory = Memory::default();
    let mut uses = LastUseTracker::new(4096);
    for hour in 0..3 {
        for minute in 0..60 {
            used(&mut uses, 1, hour * HOUR_MS + minute * 60_000);
            uses.hand_over(&to_tell(), &mut memory);
        }
        let told = tell_all(&mut memory);
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0].at, hour * HOUR_MS);
    }
}

#[test]
fn the_last_moment_of_an_hour_and_the_first_of_the_next_are_two_hours() {
    let mut memory = Memory::default();
    let mut uses = LastUseTracker::new(4096);
    used(&mut uses, 1, HOUR_MS - 1);
    uses.hand_over(&to_tell(), &mut memory);
    let told = to_tell().next(&mut memory, USED_MOST);
    assert_eq!(told[0].told_at(HOUR_MS + 5).age_ms, 6);
    // While that is on its way, the key is used in the next hour.
    used(&mut uses, 1, HOUR_MS);
    uses.hand_over(&to_tell(), &mut memory);
    to_tell().told(&mut memory, &told);
    let told = tell_all(&mut memory);
    assert_eq!((told.len(), told[0].at), (1, HOUR_MS));
}

#[test]
fn a_warm_key_writes_nothing_after_its_first_use() {
    let mut memory = Memory::default();
    let mut uses = LastUseTracker::new(4096);
    for number in 0..1_000 {
        used(&mut uses, number, 0);
    }
    uses.hand_over(&to_tell(), &mut memory);
    assert_eq!(tell_all(&mut memory).len(), 1_000);
    let before = memory.entries.clone();
    for second in 0..3_599 {
        used(&mut uses, second as usize % 1_000, second * 1_000);
        uses.hand_over(&to_tell(), &mut memory);
    }
    assert_eq!(memory.entries, before);
}

#[test]
fn what_all_workers_noted_is_told_once() {
    let mut memory = Memory::default();
    let mut workers = [LastUseTracker::new(4096), LastUseTracker::new(1)];
    for (later, worker) in workers.iter_mut().enumerate() {
        for number in 0..500 {
            used(worker, number, 10 * later as u64);
        }
        worker.hand_over(&to_tell(), &mut memory);
    }
    let told = tell_all(&mut memory);
    assert_eq!(told.len(), 500);
    assert!(told.iter().all(|used| used.at == 10), "the newest use");
}

#[test]
fn what_was_not_answered_is_told_again() {
    let mut memory = Memory::default();
    let mut uses = LastUseTracker::new(4096);
    used(&mut uses, 1, 0);
    uses.hand_over(&to_tell(), &mut memory);
    for now in [100, 60_000, 3 * HOUR_MS, u64::from(u32::MAX) + 9] {
        let told = to_tell().next(&mut memory, USED_MOST);
        assert_eq!(told.len(), 1);
        let age_ms = u32::try_from(now).unwrap_or(u32::MAX);
        assert_eq!(told[0].told_at(now).age_ms, age_ms);
    }
    // A store that takes none is told none.
    assert_eq!(to_tell().next(&mut memory, 0), []);
}

#[test]
fn what_cannot_be_written_waits() {
    let mut memory = Memory::default();
    let mut uses = LastUseTracker::new(4096);
    used(&mut uses, 1, 0);
    memory.lose_races = 100;
    uses.hand_over(&to_tell(), &mut memory);
    memory.lose_races = 0;
    assert_eq!(to_tell().next(&mut memory, USED_MOST), []);
    uses.hand_over(&to_tell(), &mut memory);
    assert_eq!(tell_all(&mut memory).len(), 1);
}

#[test]
fn i8_the_newest_are_kept_while_nobody_is_told() {
    let mut memory = Memory::default();
    let mut uses = LastUseTracker::new(1 << 20);
    let all = 10 * (MOST_WAITING + MOST_TO_TELL);
    let mut dropped = 0;
    for number in 0..all {
        let noted = uses.note(digest(number), at(number as u64));
        dropped += usize::from(noted == Noted::InPlaceOfAnother);
        if number % 256 == 0 {
            uses.hand_over(&to_tell(), &mut memory);
        }
    }
    let value = &memory.entries["n.last_uses"].value;
    assert_eq!(value.len(), 40 * MOST_TO_TELL);
    assert_eq!(uses.waiting.len(), MOST_WAITING);
    // Every one that is neither told nor waits is counted.
    assert_eq!(dropped, all - MOST_WAITING - MOST_TO_TELL);
    let mut told = Vec::new();
    while told.len() < MOST_WAITING + MOST_TO_TELL {
        told.extend(tell_all(&mut memory));
        uses.hand_over(&to_tell(), &mut memory);
    }
    let newest = (all - MOST_WAITING) as u64;
    assert_eq!(
        told.iter().filter(|used| used.at >= newest).count(),
        MOST_WAITING
    );
    // What was dropped is told with its next use.
    let between = MOST_TO_TELL + 1;
    used(&mut uses, between, all as u64);
    uses.hand_over(&to_tell(), &mut memory);
    assert_eq!(tell_all(&mut memory)[0].digest, digest(between));
}

#[test]
fn i8_fingerprints_have_a_fixed_room_and_all_keys_get_their_turn() {
    let mut uses = LastUseTracker::new(1);
    assert_eq!(uses.noted.most_sets, LEAST_SETS as usize);
    assert_eq!(
        LastUseTracker::new(u32::MAX).noted.most_sets,
        MOST_SETS as usize
    );
    // Half of what there is room for: nearly all are told once.
    let keys = LEAST_SETS as usize * WAYS / 2;
    let mut memory = Memory::default();
    let mut told = 0;
    for _ in 0..3 {
        for number in 0..keys {
            let _ = uses.note(digest(number), at(0));
            if number % 1_000 == 0 {
                uses.hand_over(&to_tell(), &mut memory);
                told += tell_all(&mut memory).len();
            }
        }
        while !uses.waiting.is_empty() {
            uses.hand_over(&to_tell(), &mut memory);
            told += tell_all(&mut memory).len();
        }
    }
    assert!((keys..keys + keys / 2).contains(&told), "{told} of {keys}");
    assert_eq!(uses.noted.sets.len(), LEAST_SETS as usize);
}

#[test]
fn a_clock_that_is_set_tells_again_and_forgets_nothing() {
    let mut memory = Memory::default();
    let mut uses = LastUseTracker::new(4096);
    // Ten years ahead, back to the first second of the epoch, and right again.
    let day = 24 * HOUR_MS;
    for wall in [20_000 * day, 24_000 * day, 0, 20_000 * day] {
        let now = Moment { monotonic: 5, wall };
        assert_eq!(uses.note(digest(1), now), Noted::Kept);
        uses.hand_over(&to_tell(), &mut memory);
        let told = tell_all(&mut memory);
        // The age is by the clock that nobody sets.
        assert_eq!(told[0].told_at(5).age_ms, 0, "at {wall}");
    }
}

#[test]
fn what_is_not_ours_in_the_entry_is_nothing() {
    let mut memory = Memory::default();
    let name = "n.last_uses".to_owned();
    let held = Versioned {
        value: vec![1; 39],
        version: 1,
    };
    memory.entries.insert(name, held);
    assert_eq!(to_tell().next(&mut memory, USED_MOST), []);
    let mut uses = LastUseTracker::new(4096);
    used(&mut uses, 1, 0);
    uses.hand_over(&to_tell(), &mut memory);
    assert_eq!(tell_all(&mut memory).len(), 1);
}
