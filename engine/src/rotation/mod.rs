//! The replacement of a key, from the request to the new key.
//!
//! In: a request to the endpoint whose key is good, and the store's answers. Out:
//! attempts at the store under one rotation id (`lifecycle`), and how the
//! rotation ends (`attempts` says what may have happened). Requests with one key take turns
//! (`queue`); a client with an `Idempotency-Key` gets a lost answer again (`replay`);
//! `issuing` says which checksum secret a new key is made with.

pub mod attempts;
pub(crate) mod issuing;
pub(crate) mod lifecycle;
pub(crate) mod queue;
#[cfg_attr(
    not(feature = "fuzzing"),
    allow(unreachable_pub, reason = "fuzz targets reach it")
)]
pub(crate) mod replay;
