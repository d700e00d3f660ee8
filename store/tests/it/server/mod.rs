//! The process: how it starts and stops, what it says of itself, and what it never says.

pub(crate) mod health;
pub(crate) mod lifecycle;
mod openapi;
mod secrets;
