//! The table, slot by slot.

use super::*;
use crate::cache::key_cache::KeyCache;
use crate::host::env::Versioned;
use crate::shared::entry::Entries;
use crate::testing::Memory;

const FIRST: Generation = Generation {
    number: 1,
    began: 10,
};
const SECOND: Generation = Generation {
    number: 2,
    began: 50,
};

fn digest(n: u32) -> Digest {
    Digest::of(&n.to_be_bytes())
}

fn active(revision: u64) -> ActiveKey {
    ActiveKey {
        user: "u_1".parse().unwrap(),
        revision,
        not_before: 77,
        interval: RotationInterval::HOUR,
    }
}

fn written(revision: u64, replayable: bool, now: u64) -> Tombstone {
    let revoked = RevokedAt {
        revision,
        replayable,
    };
    Tombstone::new(revoked, now)
}

fn dead(revision: u64) -> Tombstone {
    written(revision, false, 0)
}

/// A table in which all keys share one slot.
fn one_slot() -> (KeyCache, Memory) {
    (KeyCache::new(Entries::under("t."), 1), Memory::default())
}

#[test]
fn holds_what_was_put_in_and_nothing_else() {
    let (table, mut shared) = (KeyCache::new(Entries::under("t."), 4096), Memory::default());
    table
        .bury(&mut shared, FIRST, &digest(1), dead(12))
        .unwrap();
    let merged = table.fill(&mut shared, FIRST, &digest(2), &active(12));
    assert_eq!(merged, Ok(Merged::Active(active(12))));
    assert!(matches!(
        table.look(&mut shared, FIRST, &digest(1)),
        View::Revoked(_)
    ));
    assert_eq!(
        table.look(&mut shared, FIRST, &digest(2)),
        View::Active(active(12))
    );
    assert_eq!(table.look(&mut shared, FIRST, &digest(3)), View::Absent);
}

#[test]
fn keys_that_share_a_slot_live_side_by_side() {
    let (table, mut shared) = one_slot();
    for n in 0..WAYS as u32 {
        table
            .fill(&mut shared, FIRST, &digest(n), &active(12))
            .unwrap();
    }
    for n in 0..WAYS as u32 {
        assert_eq!(
            table.look(&mut shared, FIRST, &digest(n)),
            View::Active(active(12))
        );
    }
    table
        .fill(&mut shared, FIRST, &digest(99), &active(12))
        .unwrap();
    assert_eq!(
        table.look(&mut shared, FIRST, &digest(0)),
        View::Absent,
        "the oldest goes"
    );
}

#[test]
fn i8_is_bounded() {
    let (table, mut shared) = (KeyCache::new(Entries::under("t."), 16), Memory::default());
    for n in 0..3000 {
        table
            .bury(&mut shared, FIRST, &digest(n), dead(n.into()))
            .unwrap();
        let _ = table.fill(&mut shared, FIRST, &digest(n + 9000), &active(u64::MAX));
    }
    assert_eq!(shared.entries.len(), 16);
    let largest = shared.entries.values().map(|held| held.value.len()).max();
    assert!(largest < Some(WAYS * 128), "{largest:?}");
}

#[test]
fn x5_who_asks_again_gets_no_more_time_for_it() {
    let window = u64::from(REPLAY_WINDOW_MS);
    let [first, later] = [5, 9_000].map(|now| written(3, true, now));
    let silent = written(3, false, 7);
    for (one, other) in [
        (first, later),
        (later, first),
        (first, silent),
        (silent, first),
    ] {
        assert_eq!(one.merge(other).replay_until, 5 + window);
    }
}

#[test]
fn g3_a_tombstone_is_written_also_where_no_record_was() {
    // The late fill of an answer that the store gave before the revocation.
    let (table, mut shared) = one_slot();
    table
        .bury(&mut shared, FIRST, &digest(1), dead(20))
        .unwrap();
    let late = table.fill(&mut shared, FIRST, &digest(1), &active(19));
    assert!(matches!(late, Ok(Merged::Revoked(_))));
    assert!(matches!(
        table.look(&mut shared, FIRST, &digest(1)),
        View::Revoked(_)
    ));
}

#[test]
fn s1_at_a_tie_the_tombstone_wins() {
    let (table, mut shared) = one_slot();
    table
        .bury(&mut shared, FIRST, &digest(1), dead(20))
        .unwrap();
    for revision in [20, 21] {
        let merged = table.fill(&mut shared, FIRST, &digest(1), &active(revision));
        assert!(matches!(merged, Ok(Merged::Revoked(_))));
    }
}

#[test]
fn g8_an_evicted_tombstone_raises_the_floor() {
    let (table, mut shared) = one_slot();
    table
        .bury(&mut shared, FIRST, &digest(1), dead(20))
        .unwrap();
    for n in 0..WAYS as u32 {
        let revision = 30 + u64::from(n);
        table
            .bury(&mut shared, FIRST, &digest(100 + n), dead(revision))
            .unwrap();
    }
    assert_eq!(table.look(&mut shared, FIRST, &digest(1)), View::Absent);
    // Read before it was revoked: it must not come back.
    let merged = table.fill(&mut shared, FIRST, &digest(1), &active(19));
    assert_eq!(merged, Ok(Merged::TooOld));
    assert_eq!(table.look(&mut shared, FIRST, &digest(1)), View::Absent);
}

#[test]
fn g8_a_fill_that_would_push_out_a_newer_tombstone_is_too_old() {
    let (table, mut shared) = one_slot();
    for n in 0..WAYS as u32 {
        table
            .bury(&mut shared, FIRST, &digest(n), dead(30))
            .unwrap();
    }
    let merged = table.fill(&mut shared, FIRST, &digest(100), &active(29));
    assert_eq!(merged, Ok(Merged::TooOld));
    for n in 0..WAYS as u32 {
        assert!(matches!(
            table.look(&mut shared, FIRST, &digest(n)),
            View::Revoked(_)
        ));
    }
    let merged = table.fill(&mut shared, FIRST, &digest(100), &active(30));
    assert_eq!(merged, Ok(Merged::Active(active(30))));
}

#[test]
fn g8_an_older_answer_never_replaces_a_newer_one() {
    let (table, mut shared) = one_slot();
    table
        .fill(&mut shared, FIRST, &digest(1), &active(30))
        .unwrap();
    let merged = table.fill(&mut shared, FIRST, &digest(1), &active(20));
    assert_eq!(merged, Ok(Merged::Active(active(30))));
}

#[test]
fn g8_records_of_another_generation_count_as_absent() {
    let (table, mut shared) = one_slot();
    table
        .bury(&mut shared, FIRST, &digest(1), dead(20))
        .unwrap();
    table
        .fill(&mut shared, FIRST, &digest(2), &active(20))
        .unwrap();
    for n in [1, 2] {
        assert_eq!(table.look(&mut shared, SECOND, &digest(n)), View::Absent);
    }
    // The next generation's floor is where it began.
    let merged = table.fill(&mut shared, SECOND, &digest(3), &active(49));
    assert_eq!(merged, Ok(Merged::TooOld));
    let merged = table.fill(&mut shared, SECOND, &digest(3), &active(50));
    assert_eq!(merged, Ok(Merged::Active(active(50))));
}

#[test]
fn g5_what_belongs_to_an_earlier_generation_changes_nothing() {
    let (table, mut shared) = one_slot();
    table
        .bury(&mut shared, SECOND, &digest(1), dead(60))
        .unwrap();
    let merged = table.fill(&mut shared, FIRST, &digest(1), &active(99));
    assert_eq!(merged, Ok(Merged::TooOld));
    assert!(
        table
            .bury(&mut shared, FIRST, &digest(2), dead(20))
            .is_err()
    );
    assert!(matches!(
        table.look(&mut shared, SECOND, &digest(1)),
        View::Revoked(_)
    ));
}

#[test]
fn a_lost_race_is_run_again_and_has_an_end() {
    let (table, mut shared) = one_slot();
    shared.lose_races = 3;
    table
        .bury(&mut shared, FIRST, &digest(1), dead(20))
        .unwrap();
    assert!(matches!(
        table.look(&mut shared, FIRST, &digest(1)),
        View::Revoked(_)
    ));
    shared.lose_races = u32::MAX;
    assert!(
        table
            .bury(&mut shared, FIRST, &digest(2), dead(20))
            .is_err()
    );
    assert!(
        table
            .fill(&mut shared, FIRST, &digest(2), &active(20))
            .is_err()
    );
}

#[test]
fn g10_a_value_of_another_schema_is_a_miss_and_stays() {
    let (table, mut shared) = one_slot();
    let mut foreign = Slot::new(FIRST);
    foreign.bury(FIRST, &digest(1), dead(20)).unwrap();
    let mut foreign = foreign.encode();
    foreign[0] = Slot::SCHEMA.version + 1;
    for value in [foreign, vec![1, 2, 3], vec![]] {
        let held = Versioned {
            value: value.clone(),
            version: 1,
        };
        shared.entries.insert("t.slot.0".into(), held);
        assert_eq!(table.look(&mut shared, FIRST, &digest(1)), View::Absent);
        assert!(
            table
                .bury(&mut shared, FIRST, &digest(1), dead(20))
                .is_err()
        );
        assert!(
            table
                .fill(&mut shared, FIRST, &digest(1), &active(20))
                .is_err()
        );
        assert_eq!(shared.entries["t.slot.0"].value, value);
    }
}

#[test]
fn a_slot_survives_its_encoding_and_no_part_of_it_does() {
    let mut slot = Slot::new(FIRST);
    slot.bury(FIRST, &digest(1), dead(20)).unwrap();
    slot.fill(FIRST, &digest(2), active(20));
    let value = slot.encode();
    assert_eq!(Slot::decode(&value), Some(slot));
    // Cut between two records it is a slot with fewer of them.
    let whole = [17, 17 + 61, value.len()];
    for end in (0..value.len()).filter(|end| !whole.contains(end)) {
        assert_eq!(Slot::decode(&value[..end]), None, "{end}");
    }
}

#[test]
fn x5_how_long_a_tombstone_is_not_final_only_grows() {
    let (table, mut shared) = one_slot();
    let mut bury = |replayable, now| {
        let tombstone = written(20, replayable, now);
        let buried = table.bury(&mut shared, FIRST, &digest(1), tombstone);
        buried.unwrap();
        match table.look(&mut shared, FIRST, &digest(1)) {
            View::Revoked(tombstone) => tombstone.replay_until,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(bury(false, 1_000), 0);
    assert_eq!(bury(true, 2_000), 602_000);
    assert_eq!(bury(false, 3_000), 602_000);
}
