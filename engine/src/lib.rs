//! Every decision of the filter, sans-IO: no clock, no randomness, no host.
//!
//! The adapter tells the [`Engine`] what happened (a request's headers came, a
//! call to the store was answered, time passed), with the time, entropy and
//! shared data of the moment in an [`Env`], and carries out the [`Effect`]s
//! that the engine yields. The filter and the tests drive the same engine.
//!
//! The methods of [`Engine`] are of three kinds: `on_*` takes an event,
//! [`Engine::poll_effect`] gives the next thing to do, and the rest are
//! getters. After each event the adapter polls until there is nothing left.
//!
//! The files, in the order of a request: [`config`] (what the operator said),
//! `route` (which rule a path falls under), `credentials` (the key in the
//! header), `tombstones` (keys known to be revoked), `store_call` (what the
//! store's answer means), `rotation` (one replacement of a key, over all its
//! attempts), `refusal` and `reply` (what the client reads).

pub mod config;
mod credentials;
mod engine;
mod env;
mod metrics;
mod refusal;
mod reply;
mod rotation;
mod route;
mod store_call;
mod tombstones;
mod workers;

#[cfg(test)]
mod scenarios;

pub use config::{Config, ConfigError};
pub use engine::{Effect, Engine, LogLevel, RequestId};
pub use env::{Cas, EntropyError, Env, RequestHead, SharedData, SharedDataError, Sources};
pub use metrics::Counter;
pub use refusal::Refusal;
pub use reply::Reply;
pub use store_call::{CallId, CallOutcome, CallOwner, StoreRequest};
