//! Makes new keys and user ids from the system's randomness.

use rekey_protocol::{ApiKey, ChecksumSecrets, RANDOM_BYTES, UserId};
use zeroize::Zeroizing;

/// Crockford's base 32 in lower case: 32 letters, so five bits each, no bias.
const LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const USER_ID_LETTERS: usize = 20;

/// A new key.
pub fn key(secrets: &ChecksumSecrets) -> Result<ApiKey, getrandom::Error> {
    let mut random = Zeroizing::new([0; RANDOM_BYTES]);
    loop {
        getrandom::fill(&mut *random)?;
        if let Some(key) = secrets.issue(&random) {
            return Ok(key);
        }
    }
}

/// A new user id: `u_` and 100 random bits.
pub fn user_id() -> Result<UserId, getrandom::Error> {
    named("u_")
}

/// What a removed user is called: `removed-` and 100 random bits.
pub fn pseudonym() -> Result<UserId, getrandom::Error> {
    named("removed-")
}

fn named(prefix: &str) -> Result<UserId, getrandom::Error> {
    let mut random = [0; USER_ID_LETTERS];
    getrandom::fill(&mut random)?;
    let letters = random
        .iter()
        .filter_map(|byte| LETTERS.get(usize::from(byte % 32)))
        .map(|letter| char::from(*letter));
    let text: String = prefix.chars().chain(letters).collect();
    UserId::try_from(text).map_err(|_| getrandom::Error::UNEXPECTED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_keys_differ_each_time() {
        let (one, other) = (user_id().unwrap(), user_id().unwrap());
        assert_ne!(one, other);
        assert_eq!(one.as_str().len(), 22);
        let secrets = ChecksumSecrets::parse("0123456789abcdef").unwrap();
        let (one, other) = (key(&secrets).unwrap(), key(&secrets).unwrap());
        assert_ne!(one.digest(), other.digest());
        assert!(secrets.verify(&one));
    }
}
