//! Who may try a password, and when again: by account and by address, so that
//! neither one account nor many can be guessed at from one place or from many.
//!
//! Tries are counted, not failures: the answer to a throttled one must not tell
//! whether there is such an account. A browser in which a user has logged in
//! before has tries of its own, or a stranger could lock the user out.

use std::hash::{BuildHasher, Hash, RandomState};
use std::marker::PhantomData;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed, StateStore};
use governor::{Quota, RateLimiter};
use rekey_protocol::{Digest, UserId};

use crate::accounts::typed;

/// Tries of one account.
const ACCOUNT: Allowance = Allowance {
    at_once: NonZeroU32::new(10).unwrap(),
    then_every: Duration::from_secs(60),
};
/// Tries from one address.
const ADDRESS: Allowance = Allowance {
    at_once: NonZeroU32::new(30).unwrap(),
    then_every: Duration::from_secs(10),
};
/// Counters of accounts, and of addresses. A flood of names can neither make
/// them more nor make them forget.
const COUNTERS: usize = 1 << 18;

/// How many tries there are: so many at once, then one in so much time.
#[derive(Debug, Clone, Copy)]
struct Allowance {
    at_once: NonZeroU32,
    then_every: Duration,
}

/// Who tries.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Who<'a> {
    /// Anybody, by the address typed and the network address.
    Stranger(&'a str, IpAddr),
    /// Who is logged in as this user, or was in the same browser. By the user:
    /// a right password must not give new tries.
    Known(&'a UserId),
}

/// The tries so far. In memory: a restart forgives.
pub(crate) struct Throttle<C: Clock = DefaultClock> {
    accounts: Limits<Digest, C>,
    addresses: Limits<IpAddr, C>,
    /// Apart from the strangers', who could make theirs meet these.
    known: Limits<UserId, C>,
}

impl Throttle {
    /// No tries yet.
    pub(crate) fn new() -> Self {
        Self::by(DefaultClock::default())
    }
}

impl<C: Clock + Clone> Throttle<C> {
    fn by(clock: C) -> Self {
        Self {
            accounts: Limits::new(ACCOUNT, clock.clone()),
            addresses: Limits::new(ADDRESS, clock.clone()),
            known: Limits::new(ACCOUNT, clock),
        }
    }

    /// Counts a try, or says in how many whole seconds there may be one.
    pub(crate) fn allow(&self, who: Who<'_>) -> Result<(), u64> {
        match who {
            Who::Stranger(email, address) => {
                self.addresses.allow(&network(address))?;
                // Another spelling of an address gives no more tries.
                let account = typed::address(email.trim());
                self.accounts.allow(&Digest::of(account.as_bytes()))
            }
            Who::Known(user) => self.known.allow(user),
        }
    }
}

/// IPv6: one customer has at least a /64 (RFC 6177).
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()
        }
    }
}

struct Limits<K: Hash, C: Clock> {
    clock: C,
    limiter: RateLimiter<K, TryCounters<K>, C, NoOpMiddleware<C::Instant>>,
}

impl<K: Hash + Eq + Clone, C: Clock + Clone> Limits<K, C> {
    fn new(allowance: Allowance, clock: C) -> Self {
        let Allowance {
            at_once,
            then_every,
        } = allowance;
        // `None` for a time of zero only.
        let quota = Quota::with_period(then_every).unwrap_or(Quota::per_second(at_once));
        let quota = quota.allow_burst(at_once);
        Self {
            limiter: RateLimiter::new(quota, TryCounters::new(), clock.clone()),
            clock,
        }
    }

    fn allow(&self, key: &K) -> Result<(), u64> {
        self.limiter.check_key(key).map_err(|not_until| {
            let wait = not_until.wait_time_from(self.clock.now());
            let seconds = wait.as_millis().div_ceil(1000);
            u64::try_from(seconds).unwrap_or(u64::MAX).max(1)
        })
    }
}

/// A fixed number of counters, found by a keyed hash: two that share one have
/// fewer tries, and nobody can choose with whom to share.
struct TryCounters<K> {
    counters: Box<[InMemoryState]>,
    hash: RandomState,
    key: PhantomData<fn(&K)>,
}

impl<K> TryCounters<K> {
    fn new() -> Self {
        Self {
            counters: (0..COUNTERS).map(|_| InMemoryState::default()).collect(),
            hash: RandomState::new(),
            key: PhantomData,
        }
    }
}

impl<K: Hash> StateStore for TryCounters<K> {
    type Key = K;

    fn measure_and_replace<T, F, E>(&self, key: &K, change: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let place = self.hash.hash_one(key) as usize % COUNTERS;
        match self.counters.get(place) {
            Some(counter) => counter.measure_and_replace(&NotKeyed::NonKey, change),
            None => change(None).map(|(result, _)| result),
        }
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    const HOME: &str = "192.0.2.1";

    fn throttle() -> (Throttle<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        (Throttle::by(clock.clone()), clock)
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// An address that nobody has used yet.
    fn stranger(number: u32) -> IpAddr {
        std::net::Ipv4Addr::from_bits(0x0a00_0000 + number).into()
    }

    #[test]
    fn an_account_has_ten_tries_then_one_a_minute_from_wherever() {
        let (throttle, clock) = throttle();
        let mut tries = 0..;
        let mut from_anywhere = |email: &str| {
            let from = stranger(tries.next().unwrap());
            throttle.allow(Who::Stranger(email, from))
        };
        for _ in 0..10 {
            assert_eq!(from_anywhere("ann@example.com"), Ok(()));
        }
        for spelled in [
            " ANN@example.com",
            "ann＠example.com",
            "a\u{ad}nn@EXAMPLE.com",
        ] {
            assert_eq!(from_anywhere(spelled), Err(60));
        }
        assert_eq!(from_anywhere("bob@example.com"), Ok(()));
        clock.advance(Duration::from_millis(59_001));
        assert_eq!(from_anywhere("ann@example.com"), Err(1));
        clock.advance(Duration::from_secs(1));
        assert_eq!(from_anywhere("ann@example.com"), Ok(()));
        assert_eq!(from_anywhere("ann@example.com"), Err(60));
    }

    #[test]
    fn an_address_has_thirty_tries_over_all_accounts() {
        let (throttle, clock) = throttle();
        let try_from = |number: u32, from: &str| {
            let email = format!("{number}@example.com");
            throttle.allow(Who::Stranger(&email, address(from)))
        };
        for number in 0..30 {
            assert_eq!(try_from(number, HOME), Ok(()));
        }
        assert_eq!(try_from(30, HOME), Err(10));
        assert_eq!(try_from(30, "::ffff:192.0.2.1"), Err(10));
        assert_eq!(try_from(30, "192.0.2.2"), Ok(()));
        clock.advance(Duration::from_secs(10));
        assert_eq!(try_from(31, HOME), Ok(()));
        for number in 0..30 {
            let from = format!("2001:db8::{number:x}");
            assert_eq!(try_from(100 + number, &from), Ok(()));
        }
        assert_eq!(try_from(130, "2001:db8::ffff"), Err(10));
        assert_eq!(try_from(130, "2001:db8:0:1::"), Ok(()));
    }

    #[test]
    fn strangers_do_not_lock_out_who_has_been_here_before() {
        let (throttle, _) = throttle();
        let home = address(HOME);
        for number in 0..1000 {
            let _ = throttle.allow(Who::Stranger("ann@example.com", stranger(number)));
            let _ = throttle.allow(Who::Stranger(&number.to_string(), home));
        }
        assert!(
            throttle
                .allow(Who::Stranger("ann@example.com", home))
                .is_err()
        );
        // Nor by her name.
        for number in 0..20 {
            let _ = throttle.allow(Who::Stranger("ann", stranger(2000 + number)));
        }
        let user = "ann".parse().unwrap();
        for _ in 0..10 {
            assert_eq!(throttle.allow(Who::Known(&user)), Ok(()));
        }
        // Nor has a stolen browser more tries than others.
        assert_eq!(throttle.allow(Who::Known(&user)), Err(60));
    }

    #[test]
    fn i8_a_flood_of_names_makes_nothing_forgotten() {
        let (throttle, _) = throttle();
        let ann = |from| throttle.allow(Who::Stranger("ann@example.com", stranger(from)));
        for from in 0..10 {
            assert_eq!(ann(from), Ok(()));
        }
        for number in 0..200_000 {
            let email = number.to_string();
            let _ = throttle.allow(Who::Stranger(&email, stranger(number)));
        }
        assert_eq!(ann(7_000_000), Err(60));
    }
}
