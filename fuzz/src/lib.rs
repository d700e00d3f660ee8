//! Fuzz targets for everything that takes bytes from strangers: clients of the
//! gateway, browsers, whoever answers in the store's place, and files.
//!
//! A target is a function of bytes that panics where a property is broken.
//! `fuzz_targets/` hands them to libFuzzer, which finds new inputs by what
//! branches they take (`cargo xtask fuzz`, or cargo-fuzz); `tests/` runs them
//! over the inputs that are worth keeping (`corpus/`) and over mutations of
//! those. None of them knows a clock or randomness of its own: an input that
//! fails fails again.

// What fails here is what is looked for.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod config;
mod control;
mod dashboard;
mod engine;
mod feed;
mod head;
mod import;
mod key;
mod messages;
mod records;
mod replay;
mod route;
mod slots;

pub use config::config;
pub use control::control;
pub use dashboard::dashboard;
pub use engine::engine;
pub use feed::feed;
pub use head::head;
pub use import::import;
pub use key::key;
pub use messages::messages;
pub use records::records;
pub use replay::replay;
pub use route::route;
pub use slots::slots;

/// A target and its name, which is that of its program and of its folder in
/// `corpus/`.
pub type Target = (&'static str, fn(&[u8]));

/// All targets, by name.
pub const TARGETS: &[Target] = &[
    ("config", config),
    ("control", control),
    ("dashboard", dashboard),
    ("engine", engine),
    ("feed", feed),
    ("head", head),
    ("import", import),
    ("key", key),
    ("messages", messages),
    ("records", records),
    ("replay", replay),
    ("route", route),
    ("slots", slots),
];

/// Whether a text is anywhere in some bytes.
fn holds(bytes: &[u8], text: &[u8]) -> bool {
    !text.is_empty() && bytes.windows(text.len()).any(|window| window == text)
}
