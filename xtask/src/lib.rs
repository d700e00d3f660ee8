//! The project's automation: what `cargo xtask …` does, and the test bed that
//! `up` and the end-to-end tests stand on.
//!
//! It knows how the parts are built, started and told of each other. It knows
//! nothing of what they do: no key format, no protocol, no decision.

pub mod bench;
pub mod build;
pub mod compose;
pub mod envoy;
pub mod lint;
pub mod load;
pub mod shell;
pub mod test;
pub mod testbed;
pub mod up;
pub mod workspace;
