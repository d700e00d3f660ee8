//! The project's automation: what `cargo xtask …` does, and the test bed that
//! `up` and the end-to-end tests stand on.
//!
//! It knows how the parts are built, started and told of each other. Of what
//! they do only [`load`] and [`bench`] know something: the documented API, and
//! the store's messages that a simulated gateway needs. No part knows a
//! decision.

pub mod bench;
pub mod build;
pub mod chromium;
pub mod compose;
pub mod envoy;
pub mod fuzz;
pub mod lint;
pub mod load;
pub mod random;
pub mod shell;
pub mod test;
pub mod testbed;
pub mod up;
pub mod workspace;
