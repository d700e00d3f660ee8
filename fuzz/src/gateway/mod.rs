//! Targets of the gateway: what clients, operators, other workers and the store give it.

mod config;
mod control;
mod engine;
mod head;
mod records;
mod route;
mod slots;

pub use config::config;
pub use control::control;
pub use engine::engine;
pub use head::head;
pub use records::records;
pub use route::route;
pub use slots::slots;
