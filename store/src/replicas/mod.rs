//! Several stores before one database, sans-IO: what a store may promise by its own
//! clock, and whom a rotation has to wait for (R1 to R4, R7).
//!
//! Each store has a line in the database: up to which revision all its gateways have
//! forgotten what was revoked. It writes the line again each second, which is a beat.
//! A rotation waits until every line that was there has reached its revision, or is
//! deleted. A line is deleted by its own store, or by another one that saw it stand
//! still for longer than its store may promise anything.
//!
//! Knows no database, no network and no clock: time comes in as milliseconds of one
//! monotonic clock. The server and the simulator run the same code.

mod fence;
mod lines;

pub use fence::Fence;
pub use lines::{Line, LineId, Lines, Suspect};

/// For how long after the sending of a beat a store may promise something, in
/// milliseconds. It hides an election of the database's leader, which takes one to two
/// seconds. A rotation waits at most a little longer for a store that died.
pub const TTL_MS: u64 = 5_000;

/// What the clocks of two machines may differ in so many milliseconds: a hundredth, as
/// for leases, and a constant for their rounding.
pub const fn margin_ms(ttl_ms: u64) -> u64 {
    ttl_ms / 100 + 50
}

/// Between two beats.
pub const BEAT_EVERY_MS: u64 = 1_000;
