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
//! `connection` (what may not go on), `route` (which rule a path falls under), `endpoint` and `credentials` (what
//! the client brought), [`control`] (what may be trusted, and until when),
//! [`slots`] (the keys that are known), [`lookups`] (who waits for the store),
//! `store_call` (what the store's answer means), `rotation` (one replacement of
//! a key, over all its attempts), `queue` (who waits for another one's end), `issuing`
//! (which secret new keys are made with), `refusal` and `reply` (what the client reads).
//! Beside the requests `feeder` follows the store's change feed, and `streams` with
//! `revocations` ends those that are open when their key is revoked.
//! A flood of keys that nobody has is held by `budget`, `acquaintances` and
//! `unknown`; `uses` counts what is still done with revoked ones.
//!
//! The rules of the revocation protocol (docs/protocol.md) are plain functions of
//! plain values in [`control`], [`slots`], [`lookups`] and [`course`], so that a model
//! checker can run them as they are.

mod acquaintances;
mod budget;
mod claims;
mod codec;
pub mod config;
mod connection;
pub mod control;
pub mod course;
mod credentials;
mod endpoint;
mod engine;
mod entry;
mod env;
mod feeder;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod health;
mod held;
mod issuing;
mod last_uses;
pub mod lookups;
mod metrics;
mod namespace;
mod outbox;
mod presented;
mod queue;
mod refusal;
mod replay;
mod reply;
mod revocations;
mod rotation;
mod route;
pub mod slots;
mod store_call;
mod streams;
mod unknown;
mod uses;
mod workers;

#[cfg(test)]
mod scenarios;

pub use config::{Config, ConfigError};
pub use control::Moment;
pub use engine::Engine;
pub use env::{Cas, EntropyError, Env, RequestHead, SharedData, SharedDataError, Sources};
pub use metrics::{Counter, Gauge};
pub use outbox::{Effect, LogLevel, RequestId};
pub use refusal::Refusal;
pub use reply::Reply;
pub use store_call::{CallId, CallOutcome, StoreRequest};
