//! APIs close connections that were silent: no request of a client may be on its
//! way on one just then.

use std::thread;
use std::time::Duration;

use rekey_testbed::FleetOptions;

use super::before;
use crate::support::client::raw_request;
use crate::support::stand_ins::raw_api::RawApi;
use crate::support::wire::raw_http::RawConnection;

/// Two requests of each of these methods, and silence of the worst length between.
fn ask_twice(keep_alive: Duration) {
    let api = RawApi::start(keep_alive);
    let fleet = before(api.address(), FleetOptions::default());
    let address = fleet.gateways[0].address();
    let key = &fleet.user().api_key;
    thread::scope(|scope| {
        for method in ["GET", "POST", "PUT"] {
            scope.spawn(move || {
                let mut connection = RawConnection::open(address);
                let request = raw_request(method, "/v1/scrape", key);
                assert_eq!(connection.exchange(&request).status, 200);
                // The silence is what is tried.
                thread::sleep(keep_alive + Duration::from_millis(20));
                let second = connection.exchange(&request);
                assert_eq!(second.status, 200, "{method}: {}", second.body);
            });
        }
    });
    fleet.assert_no_trap();
}

#[test]
fn an_api_that_closes_after_one_and_a_half_seconds_loses_no_request() {
    ask_twice(Duration::from_millis(1_500));
}

/// gunicorn's default.
#[test]
fn an_api_that_closes_after_two_seconds_loses_no_request() {
    ask_twice(Duration::from_secs(2));
}

/// Node's and uvicorn's.
#[test]
fn an_api_that_closes_after_five_seconds_loses_no_request() {
    ask_twice(Duration::from_secs(5));
}
