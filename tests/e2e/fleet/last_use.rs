//! A warm key costs no call, and its user sees when it was used all the same: the
//! gateway tells it with its polls.

use rekey_protocol::RESOLVE_PATH;

use super::run::{Run, gateways};
use crate::support::client::SCRAPE;
use crate::support::dashboard::Visitor;
use crate::support::fleet::eventually;
use crate::support::store_view::{answered, metric};

const EMAIL: &str = "ada@example.com";
const PASSWORD: &str = "correct horse battery";
const PROFILE: &str = "/settings/profile";
const LEASE_MS: u32 = 3_000;
/// Uses that the store heard of when their hour was on record.
const KNOWN: &str = r#"rekey_store_last_uses_total{outcome="known"}"#;

fn known(run: &Run) -> u64 {
    metric(&run.fleet.store, KNOWN) as u64
}

/// What stands beside "Last used".
fn last_use(visitor: &Visitor) -> String {
    let page = visitor.open(PROFILE).body;
    let (_, rest) = page.split_once("<dd id=\"last-use\">").unwrap();
    rest.split_once("</dd>").unwrap().0.to_owned()
}

#[test]
fn a_warm_key_is_told_without_a_call_of_its_own() {
    let run = Run::start(gateways(1, LEASE_MS), 0);
    let store = &run.fleet.store;
    let ada = store.add_login(EMAIL, PASSWORD).unwrap();
    let visitor = Visitor::log_in(&store.dashboard_url(), EMAIL, PASSWORD);
    assert_eq!(last_use(&visitor), "never");
    let client = run.fleet.client();
    let scrape = || client.get(SCRAPE, &ada.api_key).status;
    assert_eq!(scrape(), 200);
    // By the look-up.
    eventually("the use to be on record", || {
        last_use(&visitor).starts_with("<time").then_some(())
    });
    assert_eq!(known(&run), 0, "no gateway has told of it");
    let looked_up = answered(store, RESOLVE_PATH);
    for _ in 0..50 {
        assert_eq!(scrape(), 200);
    }
    eventually("the gateway to tell", || (known(&run) > 0).then_some(()));
    assert_eq!(answered(store, RESOLVE_PATH), looked_up, "it is warm");
    // Each worker that served it tells once, and there are few.
    assert!(known(&run) <= 8);

    let seen = last_use(&visitor);
    assert!(
        seen.contains(", between ") && seen.contains(":00 UTC"),
        "{seen}"
    );
    run.fleet.assert_no_trap();
}
