//! Trials of the revocation protocol without a network: many schedules of a
//! whole fleet in virtual time, and every interleaving of small ones in models.

pub mod fleet;
pub mod model;
pub mod replicas;
pub mod rotations;
mod switches;
