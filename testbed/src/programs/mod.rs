//! The programs that a fleet runs and where they are: built here, or found, or fetched.

pub(crate) mod artifacts;
pub mod chromium;
pub mod envoy;
pub mod workspace;
