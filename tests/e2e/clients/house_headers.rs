//! Headers of the house on all answers: a `header_mutation` filter before Rekey sets
//! them on what the filter answers, too, as envoy.yaml says. A route's own do not.

use std::sync::Arc;

use rekey_testbed::FleetOptions;
use serde_json::{Value, json};

use super::manager;
use crate::support::client::SCRAPE;
use crate::support::fleet::{self, TestFleet};
use crate::support::wire::raw_http::{RawAnswer, RawConnection};

/// Each of the three ways that a house may have of its headers.
fn house_headers() -> [Value; 2] {
    let append = |key: &str, value: &str, action: &str| json!({ "append": { "header": { "key": key, "value": value }, "append_action": action } });
    let overwrite = "OVERWRITE_IF_EXISTS_OR_ADD";
    [
        json!([
            append("content-type", "application/json; charset=utf-8", overwrite),
            append("cache-control", "private", overwrite),
        ]),
        json!([
            append("x-frame-options", "DENY", "ADD_IF_ABSENT"),
            { "remove": "www-authenticate" },
        ]),
    ]
}

fn start(mutations: Value) -> TestFleet {
    fleet::start(FleetOptions {
        edit: Some(Arc::new(move |config| {
            let filters = manager(config)["http_filters"].as_array_mut();
            let filters = filters.unwrap();
            let rekey = filters.iter().position(|filter| filter["name"] == "rekey");
            let house = json!({
                "name": "house",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation",
                    "mutations": { "response_mutations": mutations },
                },
            });
            filters.insert(rekey.unwrap(), house);
            Ok(())
        })),
        ..FleetOptions::default()
    })
}

fn get(fleet: &TestFleet, key: Option<&str>) -> RawAnswer {
    let key = key.map(|key| format!("authorization: Bearer {key}\r\n"));
    let request = format!(
        "GET {SCRAPE} HTTP/1.1\r\nhost: gateway\r\n{}\r\n",
        key.unwrap_or_default()
    );
    RawConnection::open(fleet.gateways[0].address()).exchange(request)
}

#[test]
fn headers_of_the_house_act_on_refusals_and_on_answers_of_the_api() {
    let [overwriting, others] = house_headers();
    let fleet = start(overwriting);
    let key = fleet.user().api_key;
    for answer in [get(&fleet, None), get(&fleet, Some(&key))] {
        let expected = Some("application/json; charset=utf-8");
        assert_eq!(answer.header("content-type"), expected, "{answer:?}");
        assert_eq!(answer.header("cache-control"), Some("private"));
    }
    let fleet = start(others);
    let refused = get(&fleet, None);
    assert_eq!(refused.status, 401);
    assert_eq!(refused.header("x-frame-options"), Some("DENY"));
    assert_eq!(refused.header("www-authenticate"), None);
    assert_eq!(refused.header("content-type"), Some("application/json"));
}
