//! What the gateway knows of keys, and until when it may be believed.
//!
//! In: what the store said of a key, and the answers to polls. Out: the control
//! record (`control`: generation, applied cursor, end of the `lease`), a key's record
//! (`key_cache` of `slots`: active, revoked, or nothing), and the keys that the store does not
//! know (`negative`). A request reads control first, then the slot (G4).

pub mod control;
pub(crate) mod key_cache;
pub(crate) mod lease;
pub(crate) mod negative;
pub mod slots;
