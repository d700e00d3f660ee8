//! What the workers of a process tell each other in shared data: which keys were
//! revoked of late, and how often revoked keys were used. Any value may be there,
//! of another build, or none.

use std::collections::BTreeMap;

use arbitrary::{Result, Unstructured};
use rekey_engine::fuzzing::{Counted, PendingRevokedUses, RevocationLog, RevokedUseCounts};
use rekey_engine::testing::Memory;
use rekey_engine::{Cas, SharedData};
use rekey_protocol::{Digest, REFUSED_MOST};

/// The first byte says which; then values of it and what happens to them.
pub fn records(data: &[u8]) {
    if let Some((first, rest)) = data.split_first() {
        let mut input = Unstructured::new(rest);
        let _ = match first % 2 {
            0 => revoked(&mut input),
            _ => used(&mut input),
        };
    }
}

fn set(memory: &mut Memory, name: &str, value: &[u8]) {
    let _ = memory.set(name, value, Cas::Absent);
}

/// Each reader is told all that was added since it read last, in order, or that
/// it was too much.
fn revoked(input: &mut Unstructured<'_>) -> Result<()> {
    let (log, mut memory) = (RevocationLog::under("n."), Memory::default());
    if input.arbitrary()? {
        let value = input.arbitrary::<&[u8]>()?;
        // Nobody counts so far.
        if value.get(1) != Some(&u8::MAX) {
            set(&mut memory, "n.revoked", value);
        }
    }
    // Any number may be asked for; a worker begins with that of what it finds.
    let any: u64 = input.arbitrary()?;
    let _ = log.since(&mut memory, any);
    let found = log.since(&mut memory, 0);
    let mut reader = found.map_or(0, |missed| missed.newest);
    let mut added = Vec::new();
    while !input.is_empty() {
        let digests: Vec<_> = (0..input.int_in_range(1..=80)?)
            .map(|number: u8| Digest::of(&[number, added.len() as u8]))
            .collect();
        // A value of another schema is left alone, each time.
        if log.add(&mut memory, &digests).is_err() {
            assert_eq!(log.since(&mut memory, any), None);
            return Ok(());
        }
        added.extend(digests);
        if input.arbitrary()? {
            let missed = log.since(&mut memory, reader).expect("something was added");
            match missed.revoked {
                Some(revoked) => assert_eq!(revoked, added),
                None => assert!(added.len() > 100, "told nothing of {}", added.len()),
            }
            reader = missed.newest;
            added.clear();
            assert_eq!(log.since(&mut memory, reader), None);
        }
    }
    Ok(())
}

/// No use is lost or told twice, as long as there is room and each answer comes.
fn used(input: &mut Unstructured<'_>) -> Result<()> {
    let (pending, mut memory) = (PendingRevokedUses::under("n."), Memory::default());
    if input.ratio(1, 4)? {
        set(&mut memory, "n.uses", input.arbitrary()?);
        for _ in 0..2 {
            let next = pending.next(&mut memory);
            assert!(next.len() <= REFUSED_MOST);
            pending.told(&mut memory, &next);
        }
        return Ok(());
    }
    let mut uses = RevokedUseCounts::default();
    let mut expected = BTreeMap::<_, u32>::new();
    while !input.is_empty() {
        if input.ratio(1, 3)? {
            uses.hand_over(&pending, &mut memory);
            let next = pending.next(&mut memory);
            assert!(next.len() <= REFUSED_MOST);
            pending.told(&mut memory, &next);
            for told in next {
                let left = expected.get_mut(&told.digest).expect("it was used");
                *left = left.checked_sub(told.count).expect("told too often");
            }
        } else {
            let key = Digest::of(&[input.arbitrary()?]);
            if uses.count(key) == Counted::Kept {
                *expected.entry(key).or_default() += 1;
            }
        }
    }
    uses.hand_over(&pending, &mut memory);
    for _ in 0..8 {
        let next = pending.next(&mut memory);
        pending.told(&mut memory, &next);
        for told in next {
            *expected.get_mut(&told.digest).expect("it was used") -= told.count;
        }
    }
    assert!(
        expected.values().all(|left| *left == 0),
        "lost: {expected:?}"
    );
    Ok(())
}
