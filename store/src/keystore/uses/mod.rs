//! Uses of keys, which nobody waits for: they are kept in memory and written down
//! some moments later, for many keys at once.

pub mod last_uses;
pub mod old_keys;

pub use last_uses::LastUses;
pub use old_keys::OldKeys;
