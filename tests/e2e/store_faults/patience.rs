//! A rotation whose outcome never becomes known: it is pursued for longer than
//! the store may hold an answer back, and then the client is told so.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use rekey_protocol::ApiKey;
use rekey_testbed::FleetOptions;
use serde_json::Value;

use super::super::support::client::SCRAPE;
use super::super::support::stand_ins::scripted_store::{
    Act, Asked, Then, active, honest, marked, rotated,
};
use super::{Fault, USER, assert_unconfirmed, start};

/// The longest lease (30 s) with its margin and 2 s: the store may hold the
/// answer of a rotation for so long (docs/protocol.md).
const LONGEST_BARRIER: Duration = Duration::from_millis(32_350);

const FAULTS: [Fault; 9] = [
    Fault::Closes,
    Fault::Resets,
    Fault::HalfBody,
    Fault::HalfBodyWithoutLength,
    Fault::Garbage,
    Fault::WithoutMarker,
    Fault::Proxy(503),
    Fault::Store(500, "internal"),
    Fault::Silent,
];

/// All at once, because each takes the whole patience.
#[test]
fn an_outcome_that_stays_unknown_is_said_to_be_unknown() {
    let (fleet, store) = start(FleetOptions::default(), honest(USER));
    let cases: Vec<_> = FAULTS
        .into_iter()
        .map(|fault| (fault, fleet.user().api_key))
        .collect();
    let fault_of: BTreeMap<String, Fault> = cases
        .iter()
        .map(|(fault, key)| (digest(key), *fault))
        .collect();
    let script = move |asked: &Asked| {
        if !asked.is_rotate() {
            return Act::Send(marked(200, &active(USER)), Then::Live);
        }
        let Value::String(old) = &asked.body["old_digest"] else {
            return Act::Keep(Then::Close);
        };
        fault_of[old].act(&rotated(asked, USER))
    };
    store.follow(script);

    let client = fleet.client();
    thread::scope(|scope| {
        for (fault, key) in &cases {
            let client = &client;
            scope.spawn(move || {
                let case = format!("{fault:?}");
                let began = Instant::now();
                let answer = client.regenerate(key);
                let took = began.elapsed();
                assert_unconfirmed(&case, &answer);
                assert!(took > LONGEST_BARRIER, "{case}: {took:?}");
                // And before stream_idle_timeout of envoy.yaml ends it (45 s).
                assert!(took < Duration::from_secs(40), "{case}: {took:?}");
            });
        }
        // Nobody else waits meanwhile.
        let key = fleet.user().api_key;
        let began = Instant::now();
        assert_eq!(client.get(SCRAPE, &key).status, 200);
        assert!(began.elapsed() < Duration::from_secs(5));
    });

    let asked = store.take_asked();
    for (fault, key) in &cases {
        let old = digest(key);
        let of_it: Vec<_> = asked
            .iter()
            .filter(|asked| asked.body["old_digest"] == old.as_str())
            .collect();
        let attempts: Vec<_> = of_it.iter().map(|asked| asked.attempt()).collect();
        let counted: Vec<_> = (1..=attempts.len() as u64).collect();
        assert_eq!(attempts, counted, "{fault:?}: one call for each attempt");
        assert!(attempts.len() < 40, "{fault:?}: it backs off");
        let one_id = of_it
            .iter()
            .all(|asked| asked.body["rotation_id"] == of_it[0].body["rotation_id"]);
        assert!(one_id, "{fault:?}");
        // Nothing of it was kept: the store's next word counts.
        assert_eq!(client.get(SCRAPE, key).status, 200, "{fault:?}");
    }
    fleet.assert_no_trap();
}

fn digest(key: &str) -> String {
    ApiKey::parse(key.as_bytes()).unwrap().digest().to_hex()
}
