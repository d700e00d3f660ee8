//! The sealed record of a rotation: it opens for its own pair of old key and
//! `Idempotency-Key`, as it was sealed, and for nothing else (X2).

use arbitrary::{Result, Unstructured};
use rekey_engine::fuzzing::Pair;
use rekey_protocol::{
    ApiKey, ChecksumSecrets, CreatedAt, RANDOM_BYTES, Replayed, RotationId, SEAL_SALT_LEN,
    SEALED_KEY_LEN, SealedKey,
};

/// A pair, a seal, and what becomes of it on the way.
pub fn replay(data: &[u8]) {
    let _ = case(Unstructured::new(data));
}

fn case(mut input: Unstructured<'_>) -> Result<()> {
    let (old, new) = (issue(&mut input)?, issue(&mut input)?);
    let (id, salt) = (RotationId(input.arbitrary()?), input.arbitrary()?);
    let other = input.arbitrary::<SealedBytes>()?;
    let place = input.choose_index(other.len())?;
    let flip = input.int_in_range(1..=u8::MAX)?;
    let idempotency_key = input.take_rest();
    // What a request may bear (docs/clients.md).
    if idempotency_key.len() > 255 {
        return Ok(());
    }
    let pair = || Pair::new(old.clone(), idempotency_key.to_vec().into());
    let sealed = seal(&pair(), &new, id, salt);
    let opened = pair().open(&sealed).expect("it was sealed for this pair");
    assert_eq!(opened.expose(), new.expose());

    let mut changed = sealed.clone();
    changed.sealed.0[place] ^= flip;
    assert!(pair().open(&changed).is_none(), "byte {place} was changed");
    let longer = [idempotency_key, b"x"].concat();
    assert!(
        Pair::new(old.clone(), longer.into())
            .open(&sealed)
            .is_none()
    );
    if let Some((_, shorter)) = idempotency_key.split_last() {
        let shorter = Pair::new(old.clone(), shorter.to_vec().into());
        assert!(shorter.open(&sealed).is_none());
    }
    if new.expose() != old.expose() {
        let mut turned = sealed.clone();
        turned.new_digest = old.digest();
        assert!(pair().open(&turned).is_none());
    }
    // Whatever a store sends in its place.
    let mut forged = sealed;
    forged.sealed = SealedKey(other);
    assert!(forged.sealed == changed.sealed || pair().open(&forged).is_none());
    Ok(())
}

type SealedBytes = [u8; SEALED_KEY_LEN];

fn issue(input: &mut Unstructured<'_>) -> Result<ApiKey> {
    let secrets = ChecksumSecrets::parse("a-secret-of-the-fuzzer").unwrap();
    let random: [u8; 32] = input.arbitrary()?;
    let random: [u8; RANDOM_BYTES] = [random, random].concat().try_into().unwrap();
    secrets
        .issue(&random)
        .ok_or(arbitrary::Error::IncorrectFormat)
}

fn seal(pair: &Pair, new: &ApiKey, id: RotationId, salt: [u8; SEAL_SALT_LEN]) -> Replayed {
    Replayed {
        rotation_id: id,
        new_digest: new.digest(),
        created_at: CreatedAt::try_from("2025-01-31T16:00:00Z".to_owned()).unwrap(),
        sealed: pair.replay(new, id, salt).unwrap().sealed,
    }
}
