//! The checked model of attempts at several stores (R5, R6): a rotation whose answer is
//! lost is repeated under its id at another store, while the first attempt is late
//! between gateway and store or between store and etcd.
//!
//! - **I3**: the user has one active key, never none and never two;
//! - **I4**: "nothing has happened" is true and stays true, and so does "rotated".
//!
//! Rotations of a user who has a new key already are left out, and so is what the model
//! of one store has ([`crate::rotations`]): replays, the interval, the thief.

pub mod check;
pub mod state;
pub mod steps;
pub mod world;
