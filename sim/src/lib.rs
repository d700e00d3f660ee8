//! Trials of the revocation protocol without a network: many schedules of a
//! whole fleet in virtual time, and every interleaving of a small one in a model.

pub mod fleet;
pub mod model;
