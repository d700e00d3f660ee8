//! Tests of the real process: started as an operator starts it, called over
//! real HTTP and by its own commands, killed by real signals.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests, helpers and all"
)]

mod admin;
mod crash;
mod dashboard;
mod feed;
mod floods;
mod gateway;
mod import;
mod lifecycle;
mod many;
mod openapi;
mod people;
mod process;
mod replay;
mod restore;
mod rotation;
mod secrets;
