//! How often a gateway asks the store about keys that it never saw: a token
//! bucket for the whole process, in shared data, so that a flood of made-up keys
//! stays at the gateway.
//!
//! A token is taken when a call is begun, and given back when the store turns
//! out to know the key. So users of real keys, thousands after a cold start,
//! are held up only by what is in flight at one moment, and made-up keys by the
//! rate. A refusal costs one read and no write.
//!
//! There is one bucket for each [`KeyClass`]: what may be made up by anybody
//! must not use up what only holders of real keys can ask for. A client with one
//! old key can ask with it without end, so there are many buckets for old keys: the
//! client uses up one of them.

use rekey_protocol::Digest;

use crate::config::Config;
use crate::host::env::Env;
use crate::shared::SharedTable;
use crate::shared::codec::{FieldReader, FieldWriter};
use crate::shared::entry::{Entries, Entry, Layout, Next, Schema, Unreadable};

/// A bucket holds what its rate gives in two seconds, and this at least: what a
/// page with all its parts, or a client with all its workers, asks at once.
const BURST_SECONDS: u64 = 2;
const BURST_LEAST: u64 = 50;
/// Tokens are counted in thousandths: that many a millisecond is so many tokens
/// a second.
const TOKEN: u64 = 1000;
/// Buckets for revoked keys, and which part of the rate each of them has.
const REVOKED_BUCKETS: u8 = 64;
const REVOKED_PART: u64 = 8;

/// What is known of a key that the store is asked about, and so which bucket
/// pays for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyClass {
    /// Its checksum is right: it was issued with the secret that this gateway
    /// knows. Who makes keys up cannot make these, unless the secret leaked.
    Checked,
    /// It has no checksum, or another one. It may be of before the checksum, if
    /// such are accepted at all, or anything that looks like a key.
    Unchecked,
    /// The store said that it was revoked, so the client has had a real key.
    /// Which of their buckets: see [`KeyClass::revoked`].
    Revoked(u8),
}

impl KeyClass {
    /// Of this key, which was revoked.
    pub fn revoked(digest: &Digest) -> Self {
        let first = digest.as_bytes().first().copied().unwrap_or_default();
        Self::Revoked(first % REVOKED_BUCKETS)
    }
}

/// A token that was taken; to be given back or dropped, which is to spend it.
#[derive(Debug)]
#[must_use = "what is dropped is spent"]
pub struct BucketToken(KeyClass);

impl BucketToken {
    /// What it was taken for.
    pub fn class(&self) -> KeyClass {
        self.0
    }
}

/// The buckets of a process.
pub(crate) struct TokenBuckets {
    entries: Entries<Bucket>,
    /// Tokens a second; also thousandths of a token a millisecond.
    rate: u64,
}

/// A bucket at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bucket {
    /// What it lacks to be full, in thousandths of a token.
    lacks: u64,
    /// The moment, in monotonic milliseconds.
    at: u64,
}

impl SharedTable for TokenBuckets {
    type Value = Bucket;

    fn open(entries: Entries<Bucket>, config: &Config) -> Self {
        Self::new(entries, config.unknown_keys_per_second)
    }
}

impl TokenBuckets {
    /// Buckets of so many tokens a second each.
    pub(crate) fn new(entries: Entries<Bucket>, per_second: u32) -> Self {
        Self {
            entries,
            rate: per_second.into(),
        }
    }

    /// Takes a token; none if there is none, or if nobody can tell because the
    /// host does not give its memory.
    pub(crate) fn take(&self, class: KeyClass, env: &mut Env<'_>) -> Option<BucketToken> {
        let now = env.now.monotonic;
        let taken = self.bucket(class).update(env.sources, |held| {
            let mut bucket = self.at(class, held, now);
            bucket.lacks += TOKEN;
            match bucket.lacks <= self.capacity(class) {
                true => Next::Write(bucket, true),
                false => Next::Keep(false),
            }
        });
        (taken == Ok(true)).then_some(BucketToken(class))
    }

    /// Gives a token back. One that cannot be is spent.
    pub(crate) fn give_back(&self, token: BucketToken, env: &mut Env<'_>) {
        let now = env.now.monotonic;
        let _ = self.bucket(token.0).update(env.sources, |held| {
            let mut bucket = self.at(token.0, held, now);
            bucket.lacks = bucket.lacks.saturating_sub(TOKEN);
            Next::Write(bucket, ())
        });
    }

    /// The bucket now, by what it was.
    fn at(&self, class: KeyClass, held: Option<Bucket>, now: u64) -> Bucket {
        let full = Bucket { lacks: 0, at: now };
        let held = held.unwrap_or(full);
        // An update may have changed the rate, and with it what a bucket holds.
        let lacked = held.lacks.min(self.capacity(class));
        let since = now.saturating_sub(held.at);
        Bucket {
            lacks: lacked.saturating_sub(since.saturating_mul(self.rate(class))),
            at: held.at.max(now),
        }
    }

    fn rate(&self, class: KeyClass) -> u64 {
        match class {
            KeyClass::Checked | KeyClass::Unchecked => self.rate,
            KeyClass::Revoked(_) => (self.rate / REVOKED_PART).max(1),
        }
    }

    fn capacity(&self, class: KeyClass) -> u64 {
        TOKEN * (BURST_SECONDS * self.rate(class)).max(BURST_LEAST)
    }

    fn bucket(&self, class: KeyClass) -> Entry<'_, Bucket> {
        match class {
            KeyClass::Checked => self.entries.at("checked"),
            KeyClass::Unchecked => self.entries.at("unchecked"),
            KeyClass::Revoked(number) => self.entries.at(format_args!("revoked.{number}")),
        }
    }
}

impl Layout for Bucket {
    const SCHEMA: Schema = Schema {
        table: "budget",
        version: 1,
        unreadable: Unreadable::IsReplaced,
    };

    fn encode(&self) -> Vec<u8> {
        FieldWriter::default().u64(self.lacks).u64(self.at).finish()
    }

    fn decode(value: &[u8]) -> Option<Self> {
        let mut fields = FieldReader::new(value);
        let (lacks, at) = (fields.u64()?, fields.u64()?);
        fields.end()?;
        Some(Self { lacks, at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Memory;

    fn buckets(per_second: u32) -> TokenBuckets {
        TokenBuckets::new(Entries::under("n."), per_second)
    }

    const CLASS: KeyClass = KeyClass::Unchecked;

    fn take_all(budget: &TokenBuckets, memory: &mut Memory, now: u64) -> Vec<BucketToken> {
        std::iter::from_fn(|| budget.take(CLASS, &mut memory.at(now))).collect()
    }

    #[test]
    fn no_more_is_given_than_the_burst_and_the_rate() {
        for (rate, burst) in [(1, 50), (25, 50), (100, 200), (100_000, 200_000)] {
            let mut memory = Memory::default();
            // Two workers share it.
            let budgets = [buckets(rate), buckets(rate)];
            let mut taken = 0;
            for now in 0..=10_000 {
                for budget in &budgets {
                    taken += take_all(budget, &mut memory, now).len();
                }
            }
            assert_eq!(taken, burst + 10 * rate as usize, "{rate} a second");
        }
    }

    #[test]
    fn a_refusal_writes_nothing() {
        let (budget, mut memory) = (buckets(1), Memory::default());
        drop(take_all(&budget, &mut memory, 0));
        let before = memory.entries.clone();
        assert!(budget.take(CLASS, &mut memory.at(999)).is_none());
        assert_eq!(memory.entries, before);
        assert!(budget.take(CLASS, &mut memory.at(1_000)).is_some());
    }

    #[test]
    fn what_is_given_back_can_be_taken_again_and_no_more() {
        let (budget, mut memory) = (buckets(1), Memory::default());
        for _ in 0..10 {
            let tokens = take_all(&budget, &mut memory, 0);
            assert_eq!(tokens.len(), 50);
            for token in tokens {
                budget.give_back(token, &mut memory.at(0));
            }
        }
        // A full bucket does not grow by what is given back late.
        let late = take_all(&budget, &mut memory, 0);
        for token in late {
            budget.give_back(token, &mut memory.at(1_000_000));
        }
        assert_eq!(take_all(&budget, &mut memory, 1_000_000).len(), 50);
    }

    #[test]
    fn one_kind_does_not_use_up_anothers() {
        let (budget, mut memory) = (buckets(1), Memory::default());
        drop(take_all(&budget, &mut memory, 0));
        for other in [KeyClass::Checked, KeyClass::Revoked(0)] {
            assert!(budget.take(other, &mut memory.at(0)).is_some());
        }
    }

    #[test]
    fn x5_who_asks_without_end_with_one_old_key_leaves_room_for_others() {
        let (budget, mut memory) = (buckets(800), Memory::default());
        let kind = |number: u8| KeyClass::revoked(&Digest::of(&[number]));
        let mut taken = 0;
        for now in 0..=1_000 {
            while budget.take(kind(0), &mut memory.at(now)).is_some() {
                taken += 1;
            }
        }
        assert_eq!(taken, 200 + 100);
        let others: Vec<_> = (1..=64).map(kind).collect();
        let free = others.iter().filter(|other| **other != kind(0));
        let free: Vec<_> = free
            .map(|other| budget.take(*other, &mut memory.at(1_000)))
            .collect();
        assert!(free.len() > 55 && free.iter().all(Option::is_some));
    }

    #[test]
    fn another_rate_takes_over_at_once() {
        let mut memory = Memory::default();
        drop(take_all(&buckets(100_000), &mut memory, 0));
        let slower = buckets(10);
        assert!(slower.take(CLASS, &mut memory.at(99)).is_none());
        assert!(slower.take(CLASS, &mut memory.at(100)).is_some());
    }

    #[test]
    fn i8_a_bucket_for_each_kind_is_all_there_is() {
        let (budget, mut memory) = (buckets(1000), Memory::default());
        for now in 0..1_000_u64 {
            let revoked = KeyClass::revoked(&Digest::of(&now.to_be_bytes()));
            for kind in [KeyClass::Checked, KeyClass::Unchecked, revoked] {
                let _ = budget.take(kind, &mut memory.at(now));
            }
        }
        assert_eq!(memory.entries.len(), 2 + 64);
        assert!(memory.entries.values().all(|held| held.value.len() == 16));
    }

    #[test]
    fn a_lost_race_is_run_again() {
        let (budget, mut memory) = (buckets(1), Memory::default());
        memory.lose_races = 3;
        assert!(budget.take(CLASS, &mut memory.at(0)).is_some());
        memory.lose_races = 100;
        assert!(budget.take(CLASS, &mut memory.at(0)).is_none());
    }
}
