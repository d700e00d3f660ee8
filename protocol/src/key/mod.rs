//! The format of an API key: what a kind of key is (`kind`), a key in plain text
//! (`api_key`), and the keyed checksum that tells issued keys from made-up ones
//! (`checksum`). The store and the caches know a key by its [`Digest`](crate::Digest)
//! only.

mod api_key;
mod checksum;
mod kind;

pub use api_key::{ApiKey, MalformedKey};
pub use checksum::{ChecksumSecrets, RANDOM_BYTES, SECRET_MIN_LEN, SecretsError};
pub use kind::{HINT_LEN, KEY_BITS, KEY_LEN, KEY_PREFIX, begins_as_a_key, masked, may_hold_a_key};
