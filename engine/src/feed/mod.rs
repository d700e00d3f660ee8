//! The store's change feed.
//!
//! In: answers to polls. Out: tombstones, the lease and the acknowledgement, in that
//! order (`feeder`); and on the way to the store, uses of revoked keys
//! (`revoked_uses`) and last uses of active ones (`last_uses`).

pub(crate) mod feeder;
pub(crate) mod last_uses;
#[cfg_attr(
    not(feature = "fuzzing"),
    allow(unreachable_pub, reason = "fuzz targets reach it")
)]
pub(crate) mod revoked_uses;
