//! Trials of the revocation protocol without a network: many schedules of a
//! whole fleet in virtual time.

pub mod fleet;
