//! The change feed and the barrier, over real HTTP: who is told what, and when
//! a rotation's answer leaves.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::process::{Answer, Home, Store, again, await_some, fresh_digest, rotation};

/// A gateway as the store sees it.
pub(crate) struct Gateway {
    pub id: String,
    lease_ms: u32,
    polls: u64,
    pub cursor: Option<Value>,
    /// What it tells of its checksum secrets.
    pub secrets: Option<Value>,
}

impl Gateway {
    pub(crate) fn new(lease_ms: u32) -> Self {
        let id = fresh_digest().to_hex()[..32].to_owned();
        let (polls, cursor) = (0, None);
        Self {
            id,
            lease_ms,
            polls,
            cursor,
            secrets: None,
        }
    }

    /// One poll, answered; what it brought is not yet acknowledged.
    pub(crate) fn poll(&mut self, store: &Store) -> Answer {
        self.polls += 1;
        let mut body = json!({"gateway": self.id, "lease_ms": self.lease_ms, "poll": self.polls});
        if let Some(cursor) = &self.cursor {
            body["cursor"] = cursor.clone();
        }
        if let Some(secrets) = &self.secrets {
            body["secrets"] = secrets.clone();
        }
        store.post("/v1/feed", &body)
    }

    /// One poll, whose answer is applied: the next one acknowledges it.
    pub(crate) fn follow(&mut self, store: &Store) -> Value {
        let answer = self.poll(store);
        assert_eq!(answer.status, 200, "{answer:?}");
        let body = answer.json();
        assert_eq!(body["poll"], self.polls);
        self.cursor = Some(body["cursor"].clone());
        body
    }
}

pub(crate) const LEASE: u32 = 2_000;
pub(crate) const EXPIRY: Duration = Duration::from_millis(2_000 + 20 + 50);

#[test]
fn a_new_gateway_begins_at_the_head_with_a_lease() {
    let home = Home::new();
    let store = home.start();
    let user = store.add_user("alice");
    let mut gateway = Gateway::new(LEASE);
    let first = gateway.follow(&store);
    assert_eq!(
        (&first["reset"], &first["granted_ms"]),
        (&json!(true), &json!(LEASE))
    );
    assert_eq!(first["changes"], json!([]));
    let head = store.resolve(&user.digest).json()["head"].clone();
    assert_eq!(first["cursor"], head);
}

#[test]
fn a_poll_is_held_for_an_eighth_of_its_lease() {
    let home = Home::new();
    let store = home.start();
    let mut gateway = Gateway::new(LEASE);
    gateway.follow(&store);
    let began = Instant::now();
    let idle = gateway.follow(&store);
    assert!(began.elapsed() >= Duration::from_millis(u64::from(LEASE) / 8));
    assert_eq!(
        (&idle["changes"], &idle["granted_ms"]),
        (&json!([]), &json!(LEASE))
    );
    assert!(idle["reset"].is_null());
}

#[test]
fn s7_a_rotation_is_answered_when_the_last_gateway_has_acknowledged() {
    let home = Home::new();
    let store = home.start();
    let user = store.add_user("alice");
    let (mut near, mut far) = (Gateway::new(30_000), Gateway::new(30_000));
    near.follow(&store);
    far.follow(&store);
    let request = rotation(&user.digest, &fresh_digest());
    std::thread::scope(|scope| {
        let rotating = scope.spawn(|| store.rotate(&request).json());
        for gateway in [&mut near, &mut far] {
            // Held until there is something to tell.
            let told = gateway.follow(&store);
            assert_eq!(told["changes"][0]["digest"], user.digest.to_hex());
            assert_eq!(told["granted_ms"], 30_000);
        }
        assert!(!rotating.is_finished(), "nobody has acknowledged yet");
        let ack = scope.spawn(|| near.follow(&store));
        // Committed and told, and the answer is still held.
        let seen = store.resolve(&user.digest).json();
        assert_eq!(seen["state"], "revoked");
        assert!(!rotating.is_finished(), "one is missing");
        let last = scope.spawn(|| far.follow(&store));
        let answer = rotating.join().unwrap();
        assert_eq!(answer["outcome"], "rotated");
        // Wakes the two polls that acknowledged.
        store.add_user("bob");
        ack.join().unwrap();
        last.join().unwrap();
    });
}

#[test]
fn a_gateway_that_is_cut_off_costs_its_lease_and_margin_at_most() {
    let home = Home::new();
    let store = home.start();
    let (alice, bob) = (store.add_user("alice"), store.add_user("bob"));
    let mut gone = Gateway::new(LEASE);
    let polled = Instant::now();
    gone.follow(&store);
    let request = rotation(&alice.digest, &fresh_digest());
    assert_eq!(store.rotate(&request).json()["outcome"], "rotated");
    assert!(
        polled.elapsed() >= EXPIRY - Duration::from_millis(50),
        "{:?}",
        polled.elapsed()
    );
    // It trusts nothing any more: nobody waits for it now.
    let waited = || store.metric::<f64>("barrier_duration_seconds_sum").unwrap();
    let before = waited();
    let digest = bob.digest.to_hex();
    assert!(
        store
            .cli(&["keys", "revoke", "--digest", &digest])
            .status
            .success()
    );
    let waited = waited() - before;
    assert!(waited < EXPIRY.as_secs_f64(), "{waited} s");
}

#[test]
fn s7_repeats_and_revocations_wait_too() {
    let home = Home::new();
    let store = home.start();
    let (alice, bob) = (store.add_user("alice"), store.add_user("bob"));
    let polled = Instant::now();
    Gateway::new(LEASE).follow(&store);
    let request = rotation(&alice.digest, &fresh_digest());
    let digest = bob.digest.to_hex();
    let waited = |call: &dyn Fn()| {
        call();
        let waited = polled.elapsed();
        assert!(waited >= EXPIRY - Duration::from_millis(50), "{waited:?}");
    };
    let rotated = |request: &Value| assert_eq!(store.rotate(request).json()["outcome"], "rotated");
    let revoked = || {
        let output = store.cli(&["keys", "revoke", "--digest", &digest]);
        assert!(output.status.success());
    };
    std::thread::scope(|scope| {
        scope.spawn(|| waited(&|| rotated(&request)));
        scope.spawn(|| waited(&|| rotated(&again(&request))));
        scope.spawn(|| waited(&revoked));
    });
}

#[test]
fn s7_a_key_is_issued_when_no_gateway_accepts_the_one_before() {
    let home = Home::new();
    let store = home.start();
    let user = store.add_user("alice");
    let polled = Instant::now();
    Gateway::new(LEASE).follow(&store);
    let succeeds = |command: &[&str]| assert!(store.cli(command).status.success());
    std::thread::scope(|scope| {
        scope.spawn(|| succeeds(&["keys", "revoke", "--user", "alice"]));
        // It is on disk; who gave that command up issues the next key.
        store.await_revoked(&user.digest);
        succeeds(&["keys", "issue", "--user", "alice"]);
        let waited = polled.elapsed();
        assert!(waited >= EXPIRY - Duration::from_millis(50), "{waited:?}");
    });
}

#[test]
fn s6_answers_that_are_never_acknowledged_stop_granting() {
    let home = Home::new();
    let store = home.start();
    let user = store.add_user("alice");
    let mut deaf = Gateway::new(LEASE);
    deaf.follow(&store);
    store.add_user("bob");
    // Its polls arrive, their answers do not: it asks from where it stood.
    let cursor = deaf.cursor.clone();
    assert_eq!(deaf.follow(&store)["granted_ms"], LEASE);
    for _ in 0..3 {
        deaf.cursor = cursor.clone();
        assert_eq!(deaf.follow(&store)["granted_ms"], 0);
    }
    let request = rotation(&user.digest, &fresh_digest());
    assert_eq!(store.rotate(&request).json()["outcome"], "rotated");
}

#[test]
fn s9_after_a_restart_the_leases_of_the_earlier_life_are_waited_out() {
    let home = Home::new();
    let store = home.start();
    let user = store.add_user("alice");
    Gateway::new(LEASE).follow(&store);
    store.kill();
    let before = Instant::now();
    let store = home.start();
    let request = rotation(&user.digest, &fresh_digest());
    let answer = store.rotate(&request);
    assert_eq!(answer.json()["outcome"], "rotated");
    // The store is started a little after `before`, never earlier.
    assert!(before.elapsed() >= EXPIRY, "{:?}", before.elapsed());
}

#[test]
fn s8_after_a_restart_a_gateway_begins_anew_and_follows() {
    let home = Home::new();
    let store = home.start();
    let user = store.add_user("alice");
    let mut gateway = Gateway::new(100);
    gateway.follow(&store);
    let request = rotation(&user.digest, &fresh_digest());
    assert_eq!(store.rotate(&request).json()["outcome"], "rotated");
    assert_eq!(store.stop(), Some(0));
    let store = home.start();
    let anew = gateway.follow(&store);
    assert_eq!(
        (&anew["reset"], &anew["changes"]),
        (&json!(true), &json!([]))
    );
    let head = store.resolve(&user.digest).json()["head"].clone();
    assert_eq!(anew["cursor"], head);
    let next = gateway.follow(&store);
    assert!(next["reset"].is_null());
    assert_eq!(next["granted_ms"], 100);
}

#[test]
fn a_lease_out_of_range_is_refused_by_name() {
    let home = Home::new();
    let store = home.start();
    for lease_ms in [0, 99, 30_001] {
        let refused = Gateway::new(lease_ms).poll(&store);
        assert_eq!(refused.status, 400);
        assert!(
            refused.text.contains("lease_ms takes 100 to 30000"),
            "{}",
            refused.text
        );
    }
}

#[test]
fn the_barrier_and_its_gateways_are_measured() {
    let home = Home::new();
    let store = home.start();
    let user = store.add_user("alice");
    Gateway::new(100).follow(&store);
    store.rotate(&rotation(&user.digest, &fresh_digest()));
    await_some(|| (store.metric("barrier_duration_seconds_count") == Some(1)).then_some(()));
}
