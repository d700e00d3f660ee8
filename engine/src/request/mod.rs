//! What a request brings, and what it is told.
//!
//! In: the parts of a request that decide on it
//! ([`RequestHead`](crate::RequestHead)). Out: the rule that its path falls under
//! (`route`), what it may not carry (`connection`), its key (`credentials`) and what
//! the endpoint needs besides (`endpoint`); or a [`ApiRefusal`](crate::ApiRefusal), which
//! becomes a [`Reply`](crate::Reply), at once or when its body has come (`held`).
//! Nothing here knows the store or the cache.

pub(crate) mod connection;
pub(crate) mod credentials;
pub(crate) mod endpoint;
pub(crate) mod held;
pub(crate) mod presented;
pub(crate) mod refusal;
pub(crate) mod reply;
#[cfg_attr(
    not(feature = "fuzzing"),
    allow(unreachable_pub, reason = "fuzz targets reach it")
)]
pub(crate) mod route;
