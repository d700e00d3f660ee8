//! The words of a transaction and the operations that speak them, on every engine.

mod dashboard;
mod imports;
mod keys;
mod log;
mod owners;
mod pages;
mod replays;

use super::{Owner, Subject, bench, on_every_engine, on_every_owner, operation};
