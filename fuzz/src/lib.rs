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

mod gateway;
mod store;
mod wire;

pub use gateway::{config, control, engine, head, records, route, slots};
pub use store::{dashboard, feed, import};
pub use wire::{key, messages, replay};

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
