//! Makes new keys and user ids from the system's randomness.

use std::sync::Arc;

use rekey_protocol::{ApiKey, ChecksumSecrets, RANDOM_BYTES, UserId};
use zeroize::Zeroizing;

use crate::feed::Feed;
use crate::feed::secrets::Usable;

/// Crockford's base 32 in lower case: 32 letters, so five bits each, no bias.
const LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const USER_ID_LETTERS: usize = 20;

/// Makes keys that no gateway refuses. Cheap to clone.
#[derive(Clone)]
pub struct Issuer {
    secrets: Arc<ChecksumSecrets>,
    feed: Feed,
}

/// Why no key was made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoKey {
    /// The system gave no randomness.
    #[error("no randomness: {0}")]
    Random(#[from] getrandom::Error),
    /// Nobody knows yet which secret all gateways accept.
    #[error(
        "no key was made, and nothing was changed: the store has just started and has not heard \
         of a gateway yet, so it does not know which of its checksum secrets they accept. Repeat \
         it in a moment"
    )]
    NotYet,
    /// Some gateway would refuse it, whichever secret it were made with.
    #[error(
        "no key was made, and nothing was changed: each secret of REKEY_CHECKSUM_SECRET here is \
         refused by some gateway. Give all gateways and this store one secret in common; the \
         store's log names the gateways"
    )]
    Refused,
}

impl Issuer {
    /// Makes keys with these secrets: the newest that the gateways of this feed
    /// accept.
    pub fn new(secrets: ChecksumSecrets, feed: Feed) -> Self {
        feed.use_secrets(&secrets);
        let secrets = Arc::new(secrets);
        Self { secrets, feed }
    }

    /// A new key.
    pub fn key(&self) -> Result<ApiKey, NoKey> {
        match self.feed.usable_secret() {
            Usable::Secret(place) => Ok(key(&self.secrets, place)?),
            Usable::NotYet => Err(NoKey::NotYet),
            Usable::Nothing => Err(NoKey::Refused),
        }
    }
}

fn key(secrets: &ChecksumSecrets, place: usize) -> Result<ApiKey, getrandom::Error> {
    let mut random = Zeroizing::new([0; RANDOM_BYTES]);
    loop {
        getrandom::fill(&mut *random)?;
        if let Some(key) = secrets.issue_with(place, &random) {
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
        let (one, other) = (key(&secrets, 0).unwrap(), key(&secrets, 0).unwrap());
        assert_ne!(one.digest(), other.digest());
        assert!(secrets.verify(&one));
    }
}
