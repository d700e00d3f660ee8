//! The lease on the side of the gateway: until when the cache may be trusted (G1).
//!
//! The first file to read about the lease here. Its shortest and longest time are in
//! `protocol/src/lease.rs`, where the store finds them, too. `lease_ms` in `config.rs`
//! is what the operator sets. `feed/feeder.rs` polls, and so extends the lease;
//! `control` keeps its end in the control record; `scenarios/lease.rs` tells the
//! stories. The store's side is `store/src/feed/leases.rs`.

use super::control::SentPoll;

/// A moment by both clocks of the gateway, in milliseconds. The monotonic one
/// stands still while a machine is suspended; the wall clock can be set back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Moment {
    /// By the monotonic clock, whose origin all workers of the process share.
    pub monotonic: u64,
    /// Since the Unix epoch.
    pub wall: u64,
}

/// Whether a lease that ends at this deadline lasts now: by both clocks.
pub(super) fn lasts(deadline: Moment, now: Moment) -> bool {
    now.monotonic < deadline.monotonic && now.wall < deadline.wall
}

/// The deadline after the answer to a poll. It is only raised within a generation,
/// and counts from the sending of the poll, however late the answer came.
pub(super) fn extended(deadline: Moment, poll: &SentPoll, granted_ms: u32) -> Moment {
    // The store believes in what was asked for, so no more is trusted.
    let granted = u64::from(granted_ms.min(poll.lease_ms));
    let until = Moment {
        monotonic: poll.sent.monotonic.saturating_add(granted),
        wall: poll.sent.wall.saturating_add(granted),
    };
    // The wall clock's follows the monotonic one's: it may have been set back since.
    match granted > 0 && until.monotonic > deadline.monotonic {
        true => until,
        false => deadline,
    }
}
