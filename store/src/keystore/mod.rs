//! The key store, on whatever engine.

pub mod uses;
