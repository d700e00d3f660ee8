//! What is done with a key after it was replaced: counted by every worker, told
//! to the store with the polls, shown to its user.

use rekey_testbed::FleetOptions;

use crate::fleet::run::{Run, plugin};
use crate::support::client::SCRAPE;
use crate::support::dashboard::Visitor;
use crate::support::fleet::{TestFleet, eventually, stat};
use crate::support::store_view::{audit, metric};

const EMAIL: &str = "ada@example.com";
const PASSWORD: &str = "correct horse battery";
const PROFILE: &str = "/settings/profile";
const OLD_KEY_USED: &str = "old_key_used";
/// Long enough for a gateway on a busy machine to keep it.
const LEASE_MS: u32 = 20_000;

/// The closing lines of `rekey-store audit`.
fn closing(fleet: &TestFleet, user: &str) -> String {
    let mut command = fleet.store.cli();
    let output = command.args(["audit", "--user", user]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().filter(|line| line.starts_with("The old key"));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn uses_of_an_old_key_are_shown_to_its_user() {
    let options = FleetOptions {
        gateways: 2,
        plugin: plugin(LEASE_MS, 20_000),
        ..FleetOptions::default()
    };
    // The rotation waits for a gateway with a lease only. One that begins to follow
    // the feed after it has no tombstone, and asks the store about the first use.
    let Run { fleet, .. } = Run::start(options, 0);
    let ada = fleet.store.add_login(EMAIL, PASSWORD).unwrap();
    let visitor = Visitor::log_in(&fleet.store.dashboard_url(), EMAIL, PASSWORD);
    let old = &ada.api_key;
    let new = fleet.client().regenerate(old).new_key();
    // Nobody uses it: nobody is worried.
    assert_eq!(closing(&fleet, &ada.user_id), "");
    assert!(!visitor.open(PROFILE).body.contains("Your old key"));

    let uses = [(0, 30), (1, 7)];
    for (gateway, times) in uses {
        let client = fleet.client_of(gateway);
        for _ in 0..times {
            let outcome = client.get(SCRAPE, old).outcome();
            assert_eq!(outcome, (401, "api_key_revoked".into()));
        }
    }
    // Good and unknown ones are none of it.
    assert_eq!(fleet.client().get(SCRAPE, &new).status, 200);
    assert_eq!(fleet.client().get(SCRAPE, "sb_live_nonsense").status, 401);

    let hint = &old[old.len() - 4..];
    let told = format!("…{hint} was used 37 times since it was replaced, last at ");
    eventually("all of it to be told", || {
        closing(&fleet, &ada.user_id).contains(&told).then_some(())
    });
    let page = visitor.open(PROFILE).body;
    assert!(page.contains("Your old key"), "{page}");
    assert!(
        page.contains("was used 37 times since it was replaced"),
        "{page}"
    );
    assert!(page.contains(&format!("sb_live_…{hint}")), "{page}");

    // One row in the log that can only grow; its count is as of then.
    let events = audit(&fleet.store, &ada.user_id);
    let rows: Vec<_> = events
        .iter()
        .filter(|event| event["action"] == OLD_KEY_USED)
        .collect();
    assert_eq!(rows.len(), 1, "{rows:?}");
    let uses = rows[0]["uses"].as_u64().unwrap();
    assert!((1..=37).contains(&uses), "{rows:?}");
    assert_eq!(rows[0]["hint"], *hint);

    let hits = |gateway: usize| {
        let name = "wasmcustom.rekey.tombstones.event.hit";
        stat(&fleet.gateways[gateway], name)
    };
    assert_eq!(hits(0) + hits(1), 37);
    let recorded = r#"rekey_store_old_key_uses_total{outcome="recorded"}"#;
    assert!((metric(&fleet.store, recorded) - 37.0).abs() < 0.5);
    fleet.assert_no_trap();
}
