//! Tests of the real process: started as an operator starts it, called over
//! real HTTP and by its own commands, killed by real signals.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests, helpers and all"
)]

mod admin;
mod backup;
mod checksum;
mod clock;
mod crash;
mod dashboard;
mod disk;
mod feed;
mod floods;
mod gateway;
mod health;
mod import;
mod import_bench;
mod import_stops;
mod in_doubt;
mod last_uses;
mod leftover;
mod lifecycle;
mod many;
mod openapi;
mod ownership;
mod people;
mod process;
mod replay;
mod replay_files;
mod restore;
mod restore_command;
mod rotation;
mod secrets;
mod unwanted;
mod ways;
