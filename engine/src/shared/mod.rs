//! What all workers of the process share, in the host's shared data.
//!
//! In: names and values. Out: typed entries that change by compare-and-swap
//! (`entry`), under names that only workers with the same configuration and build
//! use (`namespace`), and roles that one worker has at a time (`leader`, `workers`).
//! What an entry means is said where it is used.

pub mod codec;
pub mod entry;
pub mod leader;
pub mod namespace;
pub mod workers;
