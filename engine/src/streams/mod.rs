//! Open requests, which end when their key is revoked.
//!
//! In: requests that were let through, and revocations. Out: the requests to end, in
//! the worker that hears of a revocation (`open_requests`) and, through a log in
//! shared data, in the others of the process (`revocation_log`).

pub(crate) mod open_requests;
#[cfg_attr(
    not(feature = "fuzzing"),
    allow(unreachable_pub, reason = "fuzz targets reach it")
)]
pub(crate) mod revocation_log;
