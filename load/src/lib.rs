//! Clients that keep a fleet busy and judge every answer. The fleet's tests use
//! them, and so does the bench, the program of this crate.
//!
//! A [`Book`] knows of each key whether it is alive, being replaced or dead,
//! and since when. [`Traffic`] asks with all of them, everywhere and all the
//! time, and [`Probe`] asks with one key on every worker at one moment. An
//! answer is judged by the moment at which its request was *sent*: an old key
//! is accepted wrongly if its 200 had been received before (I2), and a key
//! that nobody replaces is never refused.
//!
//! It knows the documented API, and nothing of what is behind it.

mod book;
mod churn;
mod connection;
mod flood;
mod memory;
mod population;
mod probe;
mod rotate;
mod storm;
mod traffic;

pub use book::{Book, Key, Verdict};
pub use churn::Churn;
pub use connection::{Answer, Connection, REGENERATE, SERVED, get, regenerate};
pub use flood::{Flood, Flooded, Guess, Refused, refused_per_second};
pub use memory::Memory;
pub use population::{import, random_key};
pub use probe::Probe;
pub use rotate::{Rotated, rotate};
pub use storm::{Storm, Stormed};
pub use traffic::{Faults, Pace, Tally, Traffic, Unavailable};
