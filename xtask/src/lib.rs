//! The project's automation: what `cargo xtask …` does.
//!
//! It knows how the parts are built, and calls those who start, test or measure
//! them. It knows nothing of what they do.

pub mod bench;
pub mod build;
pub mod compose;
pub mod fuzz;
pub mod lint;
pub mod test;
pub mod up;
