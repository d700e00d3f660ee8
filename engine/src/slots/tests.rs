//! The table, slot by slot.

use super::*;
use crate::env::testing::Memory;

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

fn active(revision: u64) -> Active {
    Active {
        user: "u_1".parse().unwrap(),
        revision,
        not_before: 77,
    }
}

/// A table in which all keys share one slot.
fn one_slot() -> (Table, Memory) {
    (Table::new("t.", 1), Memory::default())
}

#[test]
fn holds_what_was_put_in_and_nothing_else() {
    let (table, mut shared) = (Table::new("t.", 4096), Memory::default());
    table.bury(&mut shared, FIRST, &digest(1), 12).unwrap();
    let merged = table.fill(&mut shared, FIRST, &digest(2), &active(12));
    assert_eq!(merged, Ok(Merged::Active(active(12))));
    assert_eq!(table.look(&mut shared, FIRST, &digest(1)), View::Revoked);
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
    let (table, mut shared) = (Table::new("t.", 16), Memory::default());
    for n in 0..3000 {
        table
            .bury(&mut shared, FIRST, &digest(n), n.into())
            .unwrap();
        let _ = table.fill(&mut shared, FIRST, &digest(n + 9000), &active(u64::MAX));
    }
    assert_eq!(shared.entries.len(), 16);
    let largest = shared.entries.values().map(|(value, _)| value.len()).max();
    assert!(largest < Some(WAYS * 128), "{largest:?}");
}

#[test]
fn g3_a_tombstone_is_written_also_where_no_record_was() {
    // The late fill of an answer that the store gave before the revocation.
    let (table, mut shared) = one_slot();
    table.bury(&mut shared, FIRST, &digest(1), 20).unwrap();
    let late = table.fill(&mut shared, FIRST, &digest(1), &active(19));
    assert_eq!(late, Ok(Merged::Revoked));
    assert_eq!(table.look(&mut shared, FIRST, &digest(1)), View::Revoked);
}

#[test]
fn s1_at_a_tie_the_tombstone_wins() {
    let (table, mut shared) = one_slot();
    table.bury(&mut shared, FIRST, &digest(1), 20).unwrap();
    for revision in [20, 21] {
        let merged = table.fill(&mut shared, FIRST, &digest(1), &active(revision));
        assert_eq!(merged, Ok(Merged::Revoked));
    }
}

#[test]
fn g8_an_evicted_tombstone_raises_the_floor() {
    let (table, mut shared) = one_slot();
    table.bury(&mut shared, FIRST, &digest(1), 20).unwrap();
    for n in 0..WAYS as u32 {
        let revision = 30 + u64::from(n);
        table
            .bury(&mut shared, FIRST, &digest(100 + n), revision)
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
        table.bury(&mut shared, FIRST, &digest(n), 30).unwrap();
    }
    let merged = table.fill(&mut shared, FIRST, &digest(100), &active(29));
    assert_eq!(merged, Ok(Merged::TooOld));
    for n in 0..WAYS as u32 {
        assert_eq!(table.look(&mut shared, FIRST, &digest(n)), View::Revoked);
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
    table.bury(&mut shared, FIRST, &digest(1), 20).unwrap();
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
    table.bury(&mut shared, SECOND, &digest(1), 60).unwrap();
    let merged = table.fill(&mut shared, FIRST, &digest(1), &active(99));
    assert_eq!(merged, Ok(Merged::TooOld));
    assert!(table.bury(&mut shared, FIRST, &digest(2), 20).is_err());
    assert_eq!(table.look(&mut shared, SECOND, &digest(1)), View::Revoked);
}

#[test]
fn a_lost_race_is_run_again_and_has_an_end() {
    let (table, mut shared) = one_slot();
    shared.lose_races = 3;
    table.bury(&mut shared, FIRST, &digest(1), 20).unwrap();
    assert_eq!(table.look(&mut shared, FIRST, &digest(1)), View::Revoked);
    shared.lose_races = u32::MAX;
    assert!(table.bury(&mut shared, FIRST, &digest(2), 20).is_err());
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
    assert!(foreign.bury(FIRST, &digest(1), 20));
    let mut foreign = foreign.encode();
    foreign[0] = SCHEMA + 1;
    for value in [foreign, vec![1, 2, 3], vec![]] {
        shared.entries.insert("t.slot.0".into(), (value.clone(), 1));
        assert_eq!(table.look(&mut shared, FIRST, &digest(1)), View::Absent);
        assert!(table.bury(&mut shared, FIRST, &digest(1), 20).is_err());
        assert!(
            table
                .fill(&mut shared, FIRST, &digest(1), &active(20))
                .is_err()
        );
        assert_eq!(shared.entries["t.slot.0"].0, value);
    }
}

#[test]
fn a_slot_survives_its_encoding_and_no_part_of_it_does() {
    let mut slot = Slot::new(FIRST);
    assert!(slot.bury(FIRST, &digest(1), 20));
    slot.fill(FIRST, &digest(2), active(20));
    let value = slot.encode();
    assert_eq!(Slot::decode(&value), Some(slot));
    // Cut between two records it is a slot with fewer of them.
    let whole = [17, 17 + 53, value.len()];
    for end in (0..value.len()).filter(|end| !whole.contains(end)) {
        assert_eq!(Slot::decode(&value[..end]), None, "{end}");
    }
}
