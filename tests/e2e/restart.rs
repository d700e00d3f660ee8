//! What outlives a restart, asked for or not, of the gateway or the store:
//! the old key stays refused, the new one valid, the hour goes on; and who was
//! not restarted serves again by itself.

use rekey_testbed::FleetOptions;

use crate::support::client::{Client, SCRAPE};
use crate::support::faults::death::Death;
use crate::support::fleet::{self, TestFleet, eventually};
use crate::support::store_view;

/// A user who has rotated.
struct Rotated {
    user_id: String,
    old: String,
    new: String,
}

impl Rotated {
    fn start(fleet: &TestFleet) -> Self {
        let user = fleet.user();
        let new = fleet.client().regenerate(&user.api_key).new_key();
        Self {
            user_id: user.user_id,
            old: user.api_key,
            new,
        }
    }

    /// All that the documented API promises after a rotation.
    fn still_holds(&self, fleet: &TestFleet) {
        let client = fleet.client();
        let revoked = (401, "api_key_revoked".to_owned());
        for _ in 0..4 {
            assert_eq!(client.get(SCRAPE, &self.old).outcome(), revoked);
            assert_eq!(client.regenerate(&self.old).outcome(), revoked);
            assert_eq!(client.get(SCRAPE, &self.new).status, 200);
            let limited = client.regenerate(&self.new);
            assert_eq!(limited.outcome(), (429, "rate_limited".to_owned()));
            let seconds: u64 = limited.header("retry-after").parse().unwrap();
            assert!((3000..=3600).contains(&seconds), "{seconds}");
        }
        let keys = store_view::keys(&fleet.store, &self.user_id);
        assert_eq!(keys.active, [store_view::digest(&self.new)]);
        assert_eq!(keys.rotations, 1);
    }
}

fn until_served(client: &Client, key: &str) {
    eventually("the first answer of the upstream", || {
        let answer = client.try_get(SCRAPE, key).ok()?;
        assert!(matches!(answer.status, 200 | 503), "{answer:?}");
        (answer.status == 200).then_some(())
    });
}

#[test]
fn all_holds_after_a_restart_of_the_gateway() {
    let mut fleet = fleet::start(FleetOptions::default());
    let user = Rotated::start(&fleet);
    user.still_holds(&fleet);
    for end in Death::BOTH {
        end.bring_to(&fleet.gateways[0].process);
        assert!(
            fleet.client().try_get(SCRAPE, &user.new).is_err(),
            "{end:?}"
        );
        fleet.gateways[0].restart().unwrap();
        user.still_holds(&fleet);
        // It starts with nothing, and still nobody can be talked into a second
        // rotation or into the first one's key.
        let another = Rotated::start(&fleet);
        another.still_holds(&fleet);
    }
    fleet.assert_no_trap();
}

#[test]
fn all_holds_after_a_restart_of_the_store() {
    let mut fleet = fleet::start(FleetOptions::default());
    let gateway = fleet.gateways[0].process.pid();
    let unused = fleet.user();
    // What it refuses it remembers within a generation of its cache.
    fleet.until_it_trusts(&unused.api_key);
    let user = Rotated::start(&fleet);
    user.still_holds(&fleet);
    for end in Death::BOTH {
        end.bring_to(&fleet.store.process);
        nothing_is_decided_without_the_store(&fleet, &user, &unused.api_key);
        fleet.store.restart().unwrap();
        until_served(&fleet.client(), &user.new);
        fleet.until_it_trusts(&user.new);
        user.still_holds(&fleet);
        assert_eq!(fleet.client().get(SCRAPE, &unused.api_key).status, 200);
        let another = Rotated::start(&fleet);
        another.still_holds(&fleet);
    }
    assert_eq!(fleet.gateways[0].process.pid(), gateway, "not restarted");
    fleet.assert_no_trap();
}

/// I7: once the lease is over it is a 503, and never a 401 for a key that may be
/// good.
fn nothing_is_decided_without_the_store(fleet: &TestFleet, user: &Rotated, unused: &str) {
    let client = fleet.client();
    fleet.until_the_lease_is_over(&user.new);
    let unavailable = (503, "key_store_unavailable".to_owned());
    for key in [&user.new, unused] {
        for answer in [client.get(SCRAPE, key), client.regenerate(key)] {
            assert_eq!(answer.outcome(), unavailable);
            assert_eq!(answer.header("retry-after"), "1");
        }
    }
    // This gateway refused the old key before, and refuses it on its own now.
    let revoked = (401, "api_key_revoked".to_owned());
    assert_eq!(client.get(SCRAPE, &user.old).outcome(), revoked);
    assert_eq!(client.regenerate(&user.old).outcome(), revoked);
}

#[test]
fn all_holds_after_both_are_killed_at_once() {
    let mut fleet = fleet::start(FleetOptions::default());
    let users: Vec<_> = (0..5).map(|_| Rotated::start(&fleet)).collect();
    fleet.store.process.kill_9().unwrap();
    fleet.gateways[0].process.kill_9().unwrap();
    // The gateway first: it must start without its store.
    fleet.gateways[0].restart().unwrap();
    let answer = fleet.client().get(SCRAPE, &users[0].old);
    assert_eq!(answer.outcome(), (503, "key_store_unavailable".to_owned()));
    fleet.store.restart().unwrap();
    until_served(&fleet.client(), &users[0].new);
    for user in &users {
        user.still_holds(&fleet);
    }
    fleet.assert_no_trap();
}

#[test]
fn the_interval_goes_on_while_the_store_is_down() {
    let three_seconds = FleetOptions {
        rotation_interval: "3s".to_owned(),
        ..FleetOptions::default()
    };
    let mut fleet = fleet::start(three_seconds);
    let client = fleet.client();
    let new = client.regenerate(&fleet.user().api_key).new_key();
    fleet.store.process.kill_9().unwrap();
    fleet.store.restart().unwrap();
    until_served(&client, &new);
    // A restart neither forgets the last rotation nor begins its interval anew.
    let limited = client.regenerate(&new);
    assert_eq!(limited.status, 429, "{}", limited.body);
    eventually("the end of the interval", || {
        let answer = client.regenerate(&new);
        assert!(matches!(answer.status, 200 | 429), "{answer:?}");
        (answer.status == 200).then_some(())
    });
}
