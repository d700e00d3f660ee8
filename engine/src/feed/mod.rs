//! The store's change feed.
//!
//! In: answers to polls. Out: tombstones, the lease and the acknowledgement, in that
//! order (`feeder`); and on the way to the store, uses of revoked keys
//! (`revoked_uses`) and last uses of active ones (`last_uses`).

pub mod feeder;
pub mod last_uses;
pub mod revoked_uses;
