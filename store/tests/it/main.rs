//! Tests of the real process: started as an operator starts it, called over
//! real HTTP and by its own commands, killed by real signals.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests, helpers and all"
)]

mod dashboard;
mod database;
mod gateways;
mod import;
mod operator;
mod process;
mod rotation;
mod server;
