//! What holds a flood of made-up keys at the gateway.
//!
//! In: a key that is not in the cache. Out: whether the store may be asked about it: at
//! once, if the store has called it good before (`seen_keys`), else for a token
//! (`token_bucket`).

pub(crate) mod seen_keys;
pub(crate) mod token_bucket;
