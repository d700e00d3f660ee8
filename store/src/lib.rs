//! Rekey's key store: which API key is whose, and whether it is active.
//!
//! A server with two HTTP APIs and a web dashboard over one SQLite file, and the
//! commands that call it. It knows digests, never keys: a plain key exists here only
//! while it is issued. It knows no gateway either; it answers whoever bears the
//! token.
//!
//! - [`rotation`] and [`replay`] decide, without a database or a clock.
//! - [`feed::core`] decides what gateways may trust and when a 200 may leave.
//! - [`answers`] is what a gateway is answered, without HTTP.
//! - [`operations`] decide what changes, in the words of a transaction.
//! - [`engine`] keeps: one writer, many readers, all or nothing.
//! - [`keystore`] stands on an engine: the feed, imports, the uses of keys.
//! - [`http`] speaks; [`api`] holds the admin messages, `rekey-protocol` those
//!   of the gateways.
//! - [`dashboard`] is what people see in a browser.
//! - [`cli`] is the command line.
//!
//! Without the feature `server` there is only what decides, and the engine in memory:
//! what a simulator needs, and no SQLite.

pub mod answers;
pub mod api;
#[cfg(feature = "server")]
pub mod cli;
pub mod clock;
#[cfg(feature = "server")]
pub mod config;
pub mod crash;
#[cfg(feature = "server")]
pub mod dashboard;
pub mod email;
pub mod engine;
pub mod feed;
#[cfg(feature = "server")]
pub mod http;
#[cfg(feature = "server")]
pub mod issue;
#[cfg(feature = "server")]
pub mod keystore;
#[cfg(feature = "server")]
pub mod log;
pub mod metrics;
pub mod operations;
pub mod password;
#[cfg(feature = "server")]
pub mod published;
pub mod replay;
pub mod rotation;
#[cfg(feature = "server")]
pub mod serve;
#[cfg(feature = "server")]
pub mod strangers;
pub mod typed;
