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

use std::net::SocketAddr;
use std::time::Duration;

use rekey_testbed::FleetOptions;
use serde_json::Value;

use crate::support::fleet::{self, TestFleet};

/// Longer than any test here leaves a connection to the API alone.
const PATIENT: Duration = Duration::from_secs(120);

/// A fleet of one gateway before the API at this address instead of the demo.
fn before(api: SocketAddr, options: FleetOptions) -> TestFleet {
    let (fleet, ()) = fleet::start_with(options, |gateway| gateway.upstream = api);
    fleet
}

/// The HTTP connection manager of a gateway's configuration.
fn manager(config: &mut Value) -> &mut Value {
    let path = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";
    config.pointer_mut(path).unwrap()
}

/// Its routes.
fn routes(config: &mut Value) -> &mut Vec<Value> {
    let routes = &mut manager(config)["route_config"]["virtual_hosts"][0]["routes"];
    routes.as_array_mut().unwrap()
}

/// What its route of this name does.
fn route<'a>(config: &'a mut Value, name: &str) -> &'a mut Value {
    let mut routes = routes(config).iter_mut();
    let route = routes.find(|route| route["name"] == name);
    &mut route.unwrap()["route"]
}
