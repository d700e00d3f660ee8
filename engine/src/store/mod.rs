//! Calls to the key store.
//!
//! In: keys that requests wait to know of, and what came back for a call. Out: the
//! calls (`calls`), what their answers mean, which request may take which answer
//! (`lookups`), and what the operator is told of the store (`health`).

#[cfg_attr(
    not(feature = "fuzzing"),
    allow(unreachable_pub, reason = "fuzz targets reach it")
)]
pub(crate) mod calls;
pub(crate) mod health;
pub mod lookups;
