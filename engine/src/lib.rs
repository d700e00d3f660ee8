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
//! The folders, in the order of a request: `request` (what the client brought, and
//! what it is told), `cache` (what is known of its key, and until when that may be
//! trusted), `limits` (whether the store may be asked), `store` (the calls, and which
//! request waits for which), `rotation` (a key's replacement), `streams` (open requests,
//! which end with their key). `feed` follows the store's changes meanwhile. All of
//! them stand on `shared` (shared data) and `host` (the border to the adapter), and
//! `engine` joins them.
//!
//! The rules of the revocation protocol are plain functions of plain values in
//! [`control`], [`slots`], [`lookups`] and [`attempts`], so that a model checker can
//! run them as they are.

mod cache;
pub mod config;
mod engine;
mod feed;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod host;
mod limits;
mod request;
mod rotation;
mod shared;
mod store;
mod streams;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

#[cfg(test)]
mod scenarios;

pub use cache::{control, slots};
pub use rotation::attempts;
pub use store::lookups;

pub use cache::lease::Moment;
pub use config::{Config, ConfigError};
pub use engine::Engine;
pub use host::env::{
    Cas, EntropyError, Env, RequestHead, SharedData, SharedDataError, Sources, Versioned,
};
pub use host::metrics::{Counter, Gauge};
pub use host::outbox::{Effect, LogLevel, RequestId};
pub use request::refusal::ApiRefusal;
pub use request::reply::Reply;
pub use store::calls::{CallId, CallOutcome, StoreRequest};
