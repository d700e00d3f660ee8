//! Floods: keys that nobody has must not reach the store, or only within their
//! budget, and hold up nobody whose key is good; and what is done with a revoked
//! key is shown to its user.

mod guessed;
mod old_keys;
mod unknown;
