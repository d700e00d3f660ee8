//! The lease: for how long a gateway may trust its cache without hearing from the
//! store. Both sides count by the numbers here.
//!
//! To change the lease, begin here and go on to the two sides. The gateway decides in
//! `engine/src/cache/lease.rs` until when it trusts. The store counts in
//! `store/src/feed/leases.rs` how long a gateway may still do so. docs/protocol.md has
//! the rules (G1, S3 to S7, S9); the settings are `lease_ms` of the filter and
//! [`FeedRequest::lease_ms`](crate::FeedRequest::lease_ms) of each poll.

/// The longest lease that is granted, in milliseconds.
pub const LEASE_CAP_MS: u32 = 30_000;
/// The shortest lease that may be asked for, in milliseconds.
pub const LEASE_LEAST_MS: u32 = 100;

/// How much longer than the lease the store waits before it believes that a
/// gateway has stopped trusting, in milliseconds: the bound on the drift of two
/// clocks' rates (1 %), and a floor for short leases.
pub const fn lease_margin_ms(lease_ms: u32) -> u32 {
    lease_ms / 100 + 50
}

/// How long the store may hold a poll that has nothing to tell, in
/// milliseconds: an eighth of the lease.
///
/// A lease counts from the sending of its poll (G1), so one poll that is lost
/// has cost, by the time the next one is answered: the hold of the poll that
/// the lease in hand is from, the time until the lost one is given up, and the
/// hold of the one after it, with the network and a back-off besides. Who gives
/// a poll up after twice the hold (with [`lease_margin_ms`]) has then used half
/// of the lease. With a quarter it would be all of it: each lost poll would
/// cost the lease.
pub const fn poll_hold_ms(lease_ms: u32) -> u32 {
    lease_ms / 8
}
