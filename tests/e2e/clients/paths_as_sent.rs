//! The API's paths reach it byte for byte.

use rekey_testbed::FleetOptions;

use super::{PATIENT, before};
use crate::support::client::raw_request;
use crate::support::stand_ins::raw_api::RawApi;
use crate::support::wire::raw_http::RawConnection;

#[test]
fn paths_pass_byte_for_byte() {
    let api = RawApi::start(PATIENT);
    let fleet = before(api.address(), FleetOptions::default());
    let key = fleet.user().api_key;
    let mut connection = RawConnection::open(fleet.gateways[0].address());
    for path in [
        "/v1/scrape/https://example.com/a//b",
        "/v1/scrape/https%3A%2F%2Fexample.com%2Fa%2F%2Fb",
        "/v1/scrape/https:%5c%5cexample.com",
        "/v1/a/../b/./c",
        "/v1/%7Euser/%41?x=%2F..//",
        "/v1//",
        "/v1/a;b=c/d",
        "/v1/a%00b",
        "/v1/100%",
        "/v1/%252e%252e/x",
        "/v1/\\x",
        "/v1/caf%C3%A9",
        "/v1/a?next=/v1/user/api-key/regenerate",
    ] {
        let answer = connection.exchange(raw_request("GET", path, &key));
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        let line = answer.body.lines().next().unwrap_or_default();
        assert_eq!(line, format!("GET {path} HTTP/1.1"));
    }
    fleet.assert_no_trap();
}
