//! What is noted of uses of keys: the last of each, and those of keys that were
//! replaced or revoked.

pub mod last_uses;
pub mod old_keys;
