//! The records of known keys in shared data: what is read is what was written,
//! and a key that was revoked is not believed again (I1, G6, G8).

use std::collections::BTreeMap;

use arbitrary::{Result, Unstructured};
use rekey_engine::control::Generation;
use rekey_engine::fuzzing::{decode_slot, encode_slot};
use rekey_engine::slots::{
    ActiveKey, GenerationOver, Merged, RevokedAt, Slot, Tombstone, View, WAYS,
};
use rekey_protocol::{Digest, RotationInterval};

/// Keys of this world: more than a slot holds.
const KEYS: u8 = 7;

/// The first byte says whether the rest is a slot's value or what happens to a
/// slot.
pub fn slots(data: &[u8]) {
    match data.split_first() {
        Some((0..=99, value)) => read(value),
        Some((_, story)) => drop(happens(&mut Unstructured::new(story))),
        None => {}
    }
}

/// What can be read is written as it was.
fn read(value: &[u8]) {
    let Some(slot) = decode_slot(value) else {
        return;
    };
    assert_eq!(encode_slot(&slot), value);
    let number = value.get(1..9).and_then(|bytes| bytes.try_into().ok());
    let key = value.get(17..49).and_then(|bytes| bytes.try_into().ok());
    if let (Some(number), Some(key)) = (number, key) {
        let number = u64::from_be_bytes(number);
        buried(
            slot,
            Generation { number, began: 0 },
            Digest::from_bytes(key),
        );
    }
}

/// A tombstone stays, whatever was there: until it is pushed out, and then
/// nothing else is left of the key.
fn buried(mut slot: Slot, generation: Generation, key: Digest) {
    let tombstone = tombstone(7, false);
    slot.bury(generation, &key, tombstone)
        .expect("it is of this generation");
    for other in 0..=WAYS {
        let view = slot.look(generation, &key);
        assert!(!matches!(view, View::Active(_)), "{view:?}");
        let other = Digest::of(&[u8::try_from(other).unwrap_or_default()]);
        slot.bury(generation, &other, tombstone)
            .expect("it is of this generation");
    }
    let active = active(6);
    let merged = slot.fill(generation, &key, active);
    assert!(!matches!(merged, Merged::Active(_)), "{merged:?}");
}

/// Written down at the time of its revision.
fn tombstone(revision: u64, replayable: bool) -> Tombstone {
    let revoked = RevokedAt {
        revision,
        replayable,
    };
    Tombstone::new(revoked, revision)
}

fn active(revision: u64) -> ActiveKey {
    ActiveKey {
        user: "u_1".parse().unwrap(),
        revision,
        not_before: revision,
        interval: RotationInterval::HOUR,
    }
}

/// What was revoked in this generation, and at which revision.
type Revoked = BTreeMap<Digest, u64>;

fn happens(input: &mut Unstructured<'_>) -> Result<()> {
    let mut generation = Generation {
        number: 1,
        began: input.int_in_range(0..=9)?,
    };
    let mut slot = Slot::new(generation);
    let mut revoked = Revoked::new();
    while !input.is_empty() {
        let key = Digest::of(&[input.int_in_range(0..=KEYS)?]);
        let revision = input.int_in_range(0..=40)?;
        match input.int_in_range(0..=9)? {
            0..=3 => {
                let tombstone = tombstone(revision, input.arbitrary()?);
                bury(&mut slot, generation, key, tombstone, &mut revoked);
            }
            4..=8 => fill(&mut slot, generation, key, revision, &mut revoked),
            _ => {
                late(&mut slot, generation, &key);
                // What was known counts as absent from now on.
                generation = Generation {
                    number: generation.number + 1,
                    began: revision,
                };
                revoked.clear();
                assert_eq!(slot.look(generation, &key), View::Absent);
            }
        }
        // It goes through shared data between any two events.
        let value = encode_slot(&slot);
        assert_eq!(decode_slot(&value).as_ref(), Some(&slot));
        let held =
            (0..=KEYS).filter(|key| slot.look(generation, &Digest::of(&[*key])) != View::Absent);
        assert!(held.count() <= WAYS);
    }
    Ok(())
}

fn bury(
    slot: &mut Slot,
    generation: Generation,
    key: Digest,
    tombstone: Tombstone,
    revoked: &mut Revoked,
) {
    let before = slot.look(generation, &key);
    slot.bury(generation, &key, tombstone)
        .expect("it is of this generation");
    let at = revoked.entry(key).or_default();
    *at = (*at).max(tombstone.revision);
    let View::Revoked(now) = slot.look(generation, &key) else {
        panic!("a tombstone was written, and is not there");
    };
    assert!(now.revision >= tombstone.revision);
    let mut ends = vec![tombstone.replay_until];
    if let View::Revoked(before) = before {
        assert!(now.revision >= before.revision);
        ends.push(before.replay_until);
    }
    // The earlier of the ends that were told.
    let end = ends.into_iter().filter(|end| *end > 0).min();
    assert_eq!(now.replay_until, end.unwrap_or(0));
}

fn fill(
    slot: &mut Slot,
    generation: Generation,
    key: Digest,
    revision: u64,
    revoked: &mut Revoked,
) {
    let before = slot.look(generation, &key);
    let merged = slot.fill(generation, &key, active(revision));
    if let View::Revoked(_) = before {
        // I1: whatever the store says later.
        assert!(matches!(merged, Merged::Revoked(_)), "{merged:?}");
        assert_eq!(slot.look(generation, &key), before);
    }
    match merged {
        Merged::Active(active) => {
            // G8: also where the tombstone had to go. Only a store that read it
            // later than it was revoked can say so, and none does (S1).
            let at = revoked.get(&key);
            assert!(at.is_none_or(|at| active.revision >= *at));
            assert!(active.revision >= generation.began);
            // G6: decided from what the slot says now.
            assert_eq!(slot.look(generation, &key), View::Active(active.clone()));
            if let View::Active(before) = before {
                assert!(active.revision >= before.revision, "it went back");
            }
        }
        Merged::Revoked(_) => assert!(revoked.contains_key(&key)),
        Merged::TooOld => assert_eq!(slot.look(generation, &key), before),
    }
}

/// Who still is in an earlier generation reads and writes nothing here.
fn late(slot: &mut Slot, generation: Generation, key: &Digest) {
    let earlier = Generation {
        number: generation.number - 1,
        began: 0,
    };
    let before = slot.clone();
    // Nothing was written in this generation if it has just begun.
    if slot.look(generation, key) == View::Absent {
        return;
    }
    let buried = slot.bury(earlier, key, tombstone(1_000, false));
    assert_eq!(buried, Err(GenerationOver));
    assert_eq!(slot.fill(earlier, key, active(1_000)), Merged::TooOld);
    assert_eq!(slot.look(earlier, key), View::Absent);
    assert_eq!(*slot, before);
}
