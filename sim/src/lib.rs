//! Checks of the revocation protocol that no real process could run: a model
//! whose every interleaving is explored.

pub mod model;
