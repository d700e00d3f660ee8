//! Who may try a password, and when again: by account and by address, so that
//! neither one account nor many can be guessed at from one place or from many.
//!
//! Tries are counted, not failures: the answer to a throttled one must not tell
//! whether there is such an account. An address from which a user has logged in
//! before has tries of its own, or a stranger could lock the user out.

use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use rekey_protocol::Digest;

/// Tries of one account: so many at once, then one in so many seconds.
const ACCOUNT: (NonZeroU32, Duration) = (NonZeroU32::new(10).unwrap(), Duration::from_secs(60));
/// Tries from one address.
const ADDRESS: (NonZeroU32, Duration) = (NonZeroU32::new(30).unwrap(), Duration::from_secs(10));
/// Accounts, and addresses, that are remembered at most.
const REMEMBERED: usize = 100_000;

/// The tries so far. In memory: a restart forgives.
pub struct Throttle<C: Clock = DefaultClock> {
    accounts: Limits<Digest, C>,
    addresses: Limits<IpAddr, C>,
}

impl Throttle {
    /// No tries yet.
    pub fn new() -> Self {
        Self::by(DefaultClock::default())
    }
}

impl<C: Clock + Clone> Throttle<C> {
    fn by(clock: C) -> Self {
        Self {
            accounts: Limits::new(ACCOUNT, clock.clone()),
            addresses: Limits::new(ADDRESS, clock),
        }
    }

    /// Counts a try, or says in how many whole seconds there may be one.
    /// `is_known`: the account's user has logged in from there before.
    pub fn allow(&self, email: &str, address: IpAddr, is_known: bool) -> Result<(), u64> {
        self.addresses.allow(&network(address))?;
        let mut account = email.trim().to_ascii_lowercase();
        if is_known {
            account.push(' ');
            account.push_str(&address.to_string());
        }
        self.accounts.allow(&Digest::of(account.as_bytes()))
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

type Limiter<K, C> = RateLimiter<K, HashMapStateStore<K>, C, NoOpMiddleware<<C as Clock>::Instant>>;

struct Limits<K: Hash + Eq + Clone, C: Clock> {
    quota: Quota,
    clock: C,
    limiter: Mutex<Limiter<K, C>>,
}

impl<K: Hash + Eq + Clone, C: Clock + Clone> Limits<K, C> {
    fn new((burst, every): (NonZeroU32, Duration), clock: C) -> Self {
        // `None` for a time of zero only.
        let quota = Quota::with_period(every).unwrap_or(Quota::per_second(burst));
        let quota = quota.allow_burst(burst);
        Self {
            limiter: Mutex::new(RateLimiter::hashmap_with_clock(quota, clock.clone())),
            quota,
            clock,
        }
    }

    fn allow(&self, key: &K) -> Result<(), u64> {
        let mut limiter = self.limiter.lock().unwrap_or_else(PoisonError::into_inner);
        if limiter.len() >= REMEMBERED {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
        // So many at work at once, each slowly: who is in an honest hurry
        // among them must not be shut out by their number.
        if limiter.len() >= REMEMBERED {
            tracing::warn!("too many try to log in: the tries so far are forgotten");
            *limiter = RateLimiter::hashmap_with_clock(self.quota, self.clock.clone());
        }
        limiter.check_key(key).map_err(|not_until| {
            let wait = not_until.wait_time_from(self.clock.now());
            u64::try_from(wait.as_millis().div_ceil(1000))
                .unwrap_or(u64::MAX)
                .max(1)
        })
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
            throttle.allow(email, from, false)
        };
        for _ in 0..10 {
            assert_eq!(from_anywhere("ann@example.com"), Ok(()));
        }
        assert_eq!(from_anywhere(" ANN@example.com"), Err(60));
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
            throttle.allow(&format!("{number}@example.com"), address(from), false)
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
            assert_eq!(try_from(number, &format!("2001:db8::{number:x}")), Ok(()));
        }
        assert_eq!(try_from(30, "2001:db8::ffff"), Err(10));
        assert_eq!(try_from(30, "2001:db8:0:1::"), Ok(()));
    }

    #[test]
    fn strangers_do_not_lock_out_who_comes_from_home() {
        let (throttle, _) = throttle();
        for number in 0..1000 {
            let _ = throttle.allow("ann@example.com", stranger(number), false);
        }
        assert!(
            throttle
                .allow("ann@example.com", address(HOME), false)
                .is_err()
        );
        assert_eq!(
            throttle.allow("ann@example.com", address(HOME), true),
            Ok(())
        );
    }

    #[test]
    fn i8_what_is_remembered_is_bounded() {
        let (throttle, clock) = throttle();
        let number_of = |limits: &Limits<IpAddr, _>| limits.limiter.lock().unwrap().len();
        let count = REMEMBERED as u32 + 10;
        for number in 0..count {
            assert_eq!(
                throttle.allow(&number.to_string(), stranger(number), false),
                Ok(())
            );
        }
        assert!(number_of(&throttle.addresses) <= REMEMBERED);
        clock.advance(Duration::from_secs(3600));
        for number in 0..REMEMBERED as u32 {
            let _ = throttle.allow(&number.to_string(), stranger(number), false);
        }
        assert!(number_of(&throttle.addresses) <= REMEMBERED);
    }
}
