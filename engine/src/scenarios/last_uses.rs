//! What the store is told of the uses of keys that it is not asked about.

use rekey_protocol::{Digest, KeyUse, REFUSED_MOST, USED_MOST};

use super::lease::{LEASE_MS, LIFE, active_at, head, revoked_at};
use super::*;

const HOUR_MS: u64 = 3_600_000;

impl Worker {
    /// The poll is answered with a lease, and so many uses may be told next.
    fn granted_uses(&mut self, used_most: usize) {
        self.fed(
            json!({"changes": [], "cursor": head(LIFE, 10), "granted_ms": LEASE_MS,
            "used_most": used_most}),
        );
    }

    /// What the next poll tells where the store takes all.
    fn told(&mut self) -> Vec<KeyUse> {
        self.granted_uses(USED_MOST);
        self.pass(100);
        self.poll().used
    }

    /// Has the table know a key.
    fn look_up(&mut self, key: &str) {
        let request = self.get(key);
        self.answer(200, active_at(LIFE, 10));
        assert!(matches!(self.ends[&request], End::Upstream(_)));
    }

    fn use_warm(&mut self, key: &str) {
        let request = self.get(key);
        assert!(matches!(self.ends[&request], End::Upstream(_)));
        assert!(self.calls.is_empty());
    }

    /// Passes to the beginning of the next hour of the wall clock, under a new lease.
    fn next_hour(&mut self) {
        let wall = 1_000_000 + self.now;
        self.now += HOUR_MS - wall % HOUR_MS;
        self.fed_with(CallOutcome::Lost);
        while self.polls.is_empty() {
            self.pass(100);
        }
        self.granted_uses(0);
        self.pass(100);
    }
}

fn digest_of(key: &str) -> Digest {
    Digest::of(key.as_bytes())
}

#[test]
fn a_warm_keys_use_is_told_once_an_hour_and_again_until_it_is_heard() {
    let mut worker = Worker::trusting();
    worker.look_up(&key(1));
    worker.pass(100);
    // The store has seen the look-up.
    assert!(worker.told().is_empty());
    for _ in 0..5 {
        worker.use_warm(&key(1));
        worker.pass(10);
    }
    worker.pass(40);
    let told = worker.told();
    assert_eq!(told.len(), 1);
    let used = told[0];
    assert_eq!(used.digest, digest_of(&key(1)));
    assert_eq!(used.age_ms, 90, "since the first of them");
    // The poll is lost. The next one has no leave to tell, the one after it has.
    worker.fed_with(CallOutcome::Lost);
    while worker.polls.is_empty() {
        worker.pass(100);
    }
    assert!(worker.poll().used.is_empty());
    let told = worker.told();
    assert_eq!((told.len(), told[0].digest), (1, used.digest));
    assert!(told[0].age_ms > used.age_ms);
    // It is heard; in this hour there is nothing more to say.
    assert!(worker.told().is_empty());
    worker.use_warm(&key(1));
    worker.pass(100);
    assert!(worker.told().is_empty());
    worker.next_hour();
    worker.look_up(&key(2));
    worker.use_warm(&key(1));
    worker.pass(100);
    let told = worker.told();
    assert_eq!((told.len(), told[0].digest), (1, used.digest));
}

#[test]
fn a_store_that_takes_none_is_told_none() {
    let mut worker = Worker::trusting();
    worker.look_up(&key(1));
    worker.use_warm(&key(1));
    worker.pass(100);
    // As one that knows nothing of it.
    worker.fed(json!({"changes": [], "cursor": head(LIFE, 10), "granted_ms": LEASE_MS}));
    worker.pass(100);
    let poll = String::from_utf8(worker.polls[0].1.body.to_vec()).unwrap();
    assert!(!poll.contains("used"), "{poll}");
    // It takes some now, and not more than it said, whatever it says.
    worker.look_up(&key(2));
    worker.use_warm(&key(2));
    worker.pass(100);
    worker.granted_uses(1);
    worker.pass(100);
    let told = worker.poll().used;
    assert_eq!((told.len(), told[0].digest), (1, digest_of(&key(1))));
    worker.granted_uses(usize::MAX >> 33);
    worker.pass(100);
    let told = worker.poll().used;
    assert_eq!((told.len(), told[0].digest), (1, digest_of(&key(2))));
}

#[test]
fn what_is_refused_or_needs_no_key_is_no_use_of_an_active_one() {
    let mut worker = Worker::trusting();
    worker.get(&key(1));
    worker.answer(200, revoked_at(LIFE, 10));
    worker.get(&key(1));
    worker.get("sb_live_nonsense");
    worker.request("GET", "/status", vec![]);
    worker.request("GET", "/status", vec![bearer(&key(2))]);
    worker.get(&key(3));
    worker.outcome(CallOutcome::Lost);
    worker.pass(100);
    assert!(worker.told().is_empty());
}

#[test]
fn a_store_that_is_away_loses_no_use() {
    let mut worker = Worker::trusting();
    for seed in 1..=50 {
        worker.look_up(&key(seed));
        worker.use_warm(&key(seed));
        worker.pass(1);
    }
    let began = worker.now;
    for _ in 0..20 {
        worker.fed_with(CallOutcome::Lost);
        while worker.polls.is_empty() {
            worker.pass(100);
        }
    }
    worker.granted_uses(USED_MOST);
    worker.pass(100);
    let told = worker.poll().used;
    assert_eq!(told.len(), 50);
    let away = worker.now - began - 100;
    let ages = told.iter().map(|used| u64::from(used.age_ms));
    assert!(ages.into_iter().all(|age| age >= away), "{away}");
    assert!(!worker.counts.contains_key(&Counter::LastUseDropped));
}

#[test]
fn i8_both_kinds_of_uses_share_the_room_of_a_poll() {
    let config = r#"{"store":{"cluster":"store"},"unknown_keys_per_second":1000}"#;
    let mut worker = Worker::trusting_with(config);
    let secrets = ChecksumSecrets::parse(SECRET).unwrap();
    let many = |first: u8, second: u8| {
        let mut random = [0; 64];
        random[0] = first;
        random[1] = second;
        secrets.issue(&random).unwrap().expose().to_owned()
    };
    for number in 0..150_u8 {
        let key = many(number % 60, number / 60);
        worker.look_up(&key);
        worker.use_warm(&key);
        let dead = many(number % 60, 10 + number / 60);
        worker.get(&dead);
        worker.answer(200, revoked_at(LIFE, 10));
    }
    worker.pass(100);
    let (mut refused, mut used, mut polls) = (0, 0, 0);
    while used < 150 {
        worker.granted_uses(USED_MOST);
        worker.pass(100);
        let poll = worker.poll();
        refused += poll.refused.len();
        used += poll.used.len();
        polls += 1;
        // However many revoked keys are used, some room is left.
        assert!(poll.used.len() >= 20, "{}", poll.used.len());
        assert!(poll.refused.len() + poll.used.len() <= REFUSED_MOST + 20);
        assert!(worker.polls[0].1.body.len() <= 12 * 1024);
    }
    assert_eq!((refused, used, polls), (150, 150, 3));
}
