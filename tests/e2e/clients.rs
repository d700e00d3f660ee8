//! What real clients send and real APIs answer: slow readers, old versions of
//! HTTP, offers that nobody takes, APIs that close first or answer late. The
//! gateway is that of envoy.yaml as it is shipped.

mod api_closes_first;
mod health;
mod house_headers;
mod own_errors;
mod paths_as_sent;
mod programs;
mod protocols;
mod silence;
mod slow_readers;
mod standing_readers;

use std::time::Duration;

use xtask::testbed::FleetOptions;

use crate::support::fleet::{self, TestFleet};
use crate::support::raw_api::RawApi;

/// Longer than any test here leaves a connection to the API alone.
const PATIENT: Duration = Duration::from_secs(120);

/// A fleet of one gateway before this API instead of the demo.
fn before(api: &RawApi, options: FleetOptions) -> Option<TestFleet> {
    let none = FleetOptions {
        gateways: 0,
        ..options.clone()
    };
    let mut fleet = fleet::start(none)?;
    let mut gateway = fleet.gateway_options(&options);
    gateway.upstream = api.address();
    fleet.add_gateway(gateway).expect("a gateway");
    Some(fleet)
}
