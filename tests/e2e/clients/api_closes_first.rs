//! APIs close connections that were silent: no request of a client may be on its
//! way on one just then.

use std::thread;
use std::time::Duration;

use xtask::testbed::FleetOptions;

use super::before;
use crate::support::client::raw_request;
use crate::support::raw_api::RawApi;
use crate::support::raw_http::RawConnection;

/// Clients that aim at the same moment.
const CLIENTS: u64 = 60;

/// Sends a second request when a connection of the API has been silent for as
/// long as the API keeps it, give or take a few milliseconds.
fn aim(keep_alive: Duration) {
    let api = RawApi::start(keep_alive);
    let Some(fleet) = before(&api, FleetOptions::default()) else {
        return;
    };
    let address = fleet.gateways[0].address();
    let key = &fleet.user().api_key;
    let statuses: Vec<_> = thread::scope(|scope| {
        let client = |number: u64| {
            scope.spawn(move || {
                let mut connection = RawConnection::open(address);
                let request = raw_request("GET", "/v1/scrape", key);
                assert_eq!(connection.exchange(&request).status, 200);
                // The moment is what is aimed at: each client a bit later.
                let early = Duration::from_micros(15_000);
                thread::sleep(keep_alive - early + Duration::from_micros(number * 500));
                connection.exchange(&request).status
            })
        };
        let clients: Vec<_> = (0..CLIENTS).map(client).collect();
        let join = clients.into_iter().map(|client| client.join().unwrap());
        join.collect()
    });
    let failed = statuses.iter().filter(|status| **status != 200).count();
    assert_eq!(failed, 0, "of {CLIENTS}: {statuses:?}");
    fleet.assert_no_trap();
}

/// gunicorn's default.
#[test]
fn an_api_that_closes_after_two_seconds_loses_no_request() {
    aim(Duration::from_secs(2));
}

/// Node's and uvicorn's.
#[test]
fn an_api_that_closes_after_five_seconds_loses_no_request() {
    aim(Duration::from_secs(5));
}

#[test]
fn an_api_that_closes_after_one_and_a_half_seconds_loses_no_request() {
    aim(Duration::from_millis(1_500));
}
