//! Targets of the store: its dashboard, its change feed and its import.

mod dashboard;
mod feed;
mod import;

pub use dashboard::dashboard;
pub use feed::feed;
pub use import::import;
