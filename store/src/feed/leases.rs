//! Leases and the barrier, sans-IO: which gateways may trust what until when,
//! and when a revocation has reached them all (docs/protocol.md).
//!
//! Knows no clock, no database and no network: time comes in as milliseconds
//! of one monotonic clock, revisions as numbers. The server and the simulator
//! run the same code.
//!
//! This is the store's half of a lease. Its longest, its shortest and its margin
//! are in `protocol/src/api/feed.rs`, because both sides count with them. The
//! gateway's half is `engine/src/cache/control.rs`; how long a lease it asks for is
//! `lease_ms` in `engine/src/config.rs`.

use std::collections::{BTreeMap, BTreeSet};

use rekey_protocol::{GatewayId, lease_margin_ms};

use super::history::Reach;

/// A gateway that has not polled for so long, in milliseconds, is forgotten.
/// Longer than any lease: what is forgotten blocks nobody.
const FORGOTTEN_MS: u64 = 120_000;

/// The state of the protocol on the store's side.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Leases {
    gateways: BTreeMap<GatewayId, LeaseHolder>,
    /// The same by what they have acknowledged, the furthest behind first.
    by_acked: BTreeSet<(u64, GatewayId)>,
    /// Until then nothing is known of the leases of an earlier life (S9).
    held_until: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct LeaseHolder {
    /// All changes up to this revision are applied there.
    acked: u64,
    /// The last revision that was sent there.
    sent: u64,
    /// When its cached trust has surely ended.
    expires: u64,
    /// When it last polled.
    seen: u64,
}

/// A poll that has been registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[must_use = "its answer is to be recorded"]
pub struct Registered {
    gateway: GatewayId,
    lease_ms: u32,
    may_grant: bool,
}

/// How many of the gateways that may be there the store has heard of since its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// None of them.
    None,
    /// Some of them.
    Some,
    /// All of them.
    All,
}

/// How far the fleet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Floor {
    /// No gateway accepts what was revoked up to this revision.
    pub revision: u64,
    /// When to ask again although no poll came in between.
    pub recheck_at: Option<u64>,
}

impl Leases {
    /// After a start at `now`: every 200 waits until the longest lease that an
    /// earlier life may have granted is over, with its margin (S9).
    pub fn new(now: u64, longest_lease_ms: u32) -> Self {
        let held_until = match longest_lease_ms {
            0 => now,
            lease => now + u64::from(lease) + u64::from(lease_margin_ms(lease)),
        };
        Self {
            gateways: BTreeMap::new(),
            by_acked: BTreeSet::new(),
            held_until,
        }
    }

    /// A poll came in: to be called before anything is read for its answer
    /// (S3). `acked` is the revision of its cursor if that can be served (S8).
    pub fn register(
        &mut self,
        now: u64,
        gateway: GatewayId,
        lease_ms: u32,
        acked: Option<u64>,
    ) -> Registered {
        let entry = self.gateways.entry(gateway).or_default();
        self.by_acked.remove(&(entry.acked, gateway));
        // S5: maxima.
        entry.acked = entry.acked.max(acked.unwrap_or(0));
        entry.seen = now;
        // S6: a gateway that has not acknowledged what it was last sent may
        // never have got it. It gets no lease, so its expiry must not move
        // either: otherwise no rotation of anyone would end while polls arrive
        // and answers do not.
        let may_grant = entry.acked >= entry.sent;
        if may_grant {
            let margin = lease_margin_ms(lease_ms);
            entry.expires = entry
                .expires
                .max(now + u64::from(lease_ms) + u64::from(margin));
        }
        self.by_acked.insert((entry.acked, gateway));
        Registered {
            gateway,
            lease_ms,
            may_grant,
        }
    }

    /// An answer up to `revision` is about to be sent. Returns the lease it
    /// grants, in milliseconds: none for a partial page (S4).
    pub fn answer(&mut self, registered: Registered, revision: u64, reach: Reach) -> u32 {
        if let Some(entry) = self.gateways.get_mut(&registered.gateway) {
            entry.sent = entry.sent.max(revision);
        }
        if registered.may_grant && reach == Reach::Head {
            registered.lease_ms
        } else {
            0
        }
    }

    /// How many of the gateways that may hold a lease have polled by now. Those that an
    /// earlier life may have granted one have polled, or have lost it, when the longest
    /// of these is over (S9).
    pub fn known(&self, now: u64) -> Known {
        if now >= self.held_until {
            Known::All
        } else if self.following() > 0 {
            Known::Some
        } else {
            Known::None
        }
    }

    /// How far the fleet is at `now`. The barrier of R is open when the floor
    /// has reached R.
    pub fn floor(&mut self, now: u64) -> Floor {
        if now < self.held_until {
            return Floor {
                revision: 0,
                recheck_at: Some(self.held_until),
            };
        }
        while let Some((acked, id)) = self.by_acked.first().copied() {
            let entry = self.gateways.get(&id).copied().unwrap_or_default();
            if now < entry.expires {
                return Floor {
                    revision: acked,
                    recheck_at: Some(entry.expires),
                };
            }
            // It trusts nothing any more; it comes back in with its next poll.
            self.by_acked.remove(&(acked, id));
        }
        Floor {
            revision: u64::MAX,
            recheck_at: None,
        }
    }

    /// Forgets gateways that have not polled for long.
    pub fn prune(&mut self, now: u64) {
        self.gateways
            .retain(|_, entry| now < entry.seen + FORGOTTEN_MS);
        let gateways = &self.gateways;
        self.by_acked.retain(|(_, id)| gateways.contains_key(id));
    }

    /// Gateways that are not known to have lost their lease.
    pub fn following(&self) -> usize {
        self.by_acked.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: GatewayId = GatewayId([1; 16]);
    const B: GatewayId = GatewayId([2; 16]);
    const LEASE: u32 = 3000;
    const EXPIRY: u64 = 3000 + 30 + 50;

    fn leases() -> Leases {
        Leases::new(0, 0)
    }

    fn poll(leases: &mut Leases, now: u64, gateway: GatewayId, acked: u64, head: u64) -> u32 {
        let registered = leases.register(now, gateway, LEASE, Some(acked));
        leases.answer(registered, head, Reach::Head)
    }

    #[test]
    fn without_gateways_every_barrier_is_open() {
        assert_eq!(
            leases().floor(5),
            Floor {
                revision: u64::MAX,
                recheck_at: None
            }
        );
    }

    #[test]
    fn the_barrier_opens_when_the_last_gateway_has_acknowledged() {
        let mut leases = leases();
        assert_eq!(poll(&mut leases, 0, A, 5, 5), LEASE);
        assert_eq!(poll(&mut leases, 0, B, 5, 5), LEASE);
        assert_eq!(leases.floor(1).revision, 5);
        assert_eq!(poll(&mut leases, 2, A, 6, 6), LEASE);
        assert_eq!(leases.floor(3).revision, 5);
        assert_eq!(poll(&mut leases, 4, B, 6, 6), LEASE);
        assert_eq!(leases.floor(5).revision, 6);
    }

    #[test]
    fn a_dead_gateway_blocks_for_its_lease_and_margin() {
        let mut leases = leases();
        let _ = poll(&mut leases, 100, A, 5, 5);
        assert_eq!(
            leases.floor(101),
            Floor {
                revision: 5,
                recheck_at: Some(100 + EXPIRY)
            }
        );
        assert_eq!(leases.floor(99 + EXPIRY).revision, 5);
        assert_eq!(leases.floor(100 + EXPIRY).revision, u64::MAX);
        // It comes back, where it stood.
        let _ = poll(&mut leases, 10_000, A, 5, 9);
        assert_eq!(leases.floor(10_001).revision, 5);
    }

    #[test]
    fn s4_a_partial_page_grants_nothing() {
        let mut leases = leases();
        let registered = leases.register(0, A, LEASE, Some(5));
        assert_eq!(leases.answer(registered, 9, Reach::Part), 0);
    }

    #[test]
    fn s5_a_shorter_lease_or_an_older_cursor_takes_nothing_back() {
        let mut leases = leases();
        let _ = poll(&mut leases, 0, A, 5, 5);
        let registered = leases.register(10, A, 100, Some(4));
        let _ = leases.answer(registered, 5, Reach::Head);
        assert_eq!(
            leases.floor(11),
            Floor {
                revision: 5,
                recheck_at: Some(EXPIRY)
            }
        );
    }

    #[test]
    fn s6_no_renewal_without_an_acknowledgement() {
        let mut leases = leases();
        assert_eq!(poll(&mut leases, 0, A, 5, 6), LEASE);
        // Its answers are lost, its polls are not: rotations go on all the same.
        for now in (100..20_000).step_by(100) {
            assert_eq!(poll(&mut leases, now, A, 5, 6), 0);
        }
        assert_eq!(leases.floor(20_000).revision, u64::MAX);
        // A cursor of nothing acknowledges nothing.
        let registered = leases.register(20_000, A, LEASE, None);
        assert_eq!(leases.answer(registered, 6, Reach::Head), 0);
        assert_eq!(poll(&mut leases, 20_001, A, 6, 6), LEASE);
    }

    #[test]
    fn s9_after_a_start_the_leases_of_the_earlier_life_are_waited_out() {
        let mut leases = Leases::new(1_000, LEASE);
        let until = 1_000 + EXPIRY;
        assert_eq!(
            leases.floor(until - 1),
            Floor {
                revision: 0,
                recheck_at: Some(until)
            }
        );
        assert_eq!(leases.floor(until).revision, u64::MAX);
    }

    #[test]
    fn what_has_not_polled_for_long_is_forgotten() {
        let mut leases = leases();
        let _ = poll(&mut leases, 0, A, 5, 5);
        let _ = poll(&mut leases, FORGOTTEN_MS, B, 5, 5);
        leases.prune(FORGOTTEN_MS);
        assert_eq!((leases.gateways.len(), leases.by_acked.len()), (1, 1));
        assert_eq!(leases.following(), 1);
    }
}
