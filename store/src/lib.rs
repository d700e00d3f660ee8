//! Rekey's key store: which API key is whose, and whether it is active.
//!
//! A server with two HTTP APIs and a web dashboard over one SQLite file, and the
//! commands that call it. It knows digests, never keys: a plain key exists here only
//! while it is issued. It knows no gateway either; it answers whoever bears the
//! token.
//!
//! - [`rules`] decide about rotations, replays and answers, without a database or a
//!   clock.
//! - [`feed::core`] decides what gateways may trust and when a 200 may leave.
//! - [`operations`] decide what changes, in the words of a transaction.
//! - [`engine`] keeps: one writer, many readers, all or nothing.
//! - [`keystore`] stands on an engine: the feed, imports, the uses of keys, and the
//!   making of new ones.
//! - [`accounts`] are what people type to log in.
//! - [`server`] puts the parts together and takes them apart again.
//! - [`http`] speaks; [`api`] holds the admin messages, `rekey-protocol` those
//!   of the gateways.
//! - [`dashboard`] is what people see in a browser.
//! - [`cli`] is the command line.
//!
//! Without the feature `server` there is only what decides, and the engine in memory:
//! what a simulator needs, and no SQLite.

pub mod accounts;
pub mod api;
#[cfg(feature = "server")]
pub mod cli;
pub mod clock;
pub mod crash;
#[cfg(feature = "server")]
pub mod dashboard;
pub mod engine;
pub mod feed;
#[cfg(feature = "server")]
pub mod http;
#[cfg(feature = "server")]
pub mod keystore;
pub mod metrics;
pub mod operations;
pub mod replicas;
pub mod rules;
#[cfg(feature = "server")]
pub mod server;
