//! The words of a transaction and the operations that speak them, on every engine.

mod dashboard;
mod imports;
mod keys;
mod log;
mod replays;

use super::{Subject, bench, on_every_engine, operation};
