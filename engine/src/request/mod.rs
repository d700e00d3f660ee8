//! What a request brings, and what it is told.
//!
//! In: the parts of a request that decide on it
//! ([`RequestHead`](crate::RequestHead)). Out: the rule that its path falls under
//! (`route`), what it may not carry (`connection`), its key (`credentials`) and what
//! the endpoint needs besides (`endpoint`); or a [`Refusal`](crate::Refusal), which
//! becomes a [`Reply`](crate::Reply), at once or when its body has come (`held`).
//! Nothing here knows the store or the cache.

pub mod connection;
pub mod credentials;
pub mod endpoint;
pub mod held;
pub mod presented;
pub mod refusal;
pub mod reply;
pub mod route;
