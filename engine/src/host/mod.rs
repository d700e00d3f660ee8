//! The border to the host: what an event brings, and what the engine wants done.
//!
//! In: time, entropy, shared data and the parts of a request (`env`), as traits that
//! the adapter implements. Out: effects in their order (`outbox`), with the names of
//! counters and gauges (`metrics`).

pub(crate) mod env;
pub(crate) mod metrics;
pub(crate) mod outbox;
