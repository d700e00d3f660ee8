//! The checked model of the revocation protocol.

pub mod check;
pub mod control;
pub mod feeder;
pub mod mutants;
pub mod possible;
pub mod recovery;
pub mod request;
pub mod rules;
pub mod run;
pub mod slot;
pub mod state;
pub mod steps;
pub mod store;
pub mod world;
pub mod worlds;
