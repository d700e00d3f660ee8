//! End-to-end tests: the real filter in a real Envoy, the real key store, the
//! demo upstream behind them, and clients of every kind in front.
//!
//! Each test starts a fleet of its own on free ports and shares nothing, so
//! all of them run beside each other. They know the documented API and what
//! can be seen from outside; they know no type of the engine or the store.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod clients;
mod concurrency;
mod configuration;
mod contract;
mod crash;
mod dashboard;
mod drain;
mod fleet;
mod floods;
mod hostile;
mod identity;
mod replay;
mod restart;
mod secrets;
mod store_faults;
mod streams;
mod support;
