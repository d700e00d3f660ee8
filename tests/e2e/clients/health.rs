//! The path that load balancers ask: answered by the gateway itself, without a key,
//! whether the API and the key store live or not.

use rekey_testbed::FleetOptions;

use super::super::support::fleet::{self, eventually};
use super::super::support::wire::raw_http::RawConnection;

const HEALTH: &str = "/gateway/healthz";

#[test]
fn the_gateway_tells_its_own_health() {
    let fleet = fleet::start(FleetOptions::default());
    let gateway = &fleet.gateways[0];
    let ask = |head: &str| RawConnection::open(gateway.address()).exchange(head).status;
    let over_http_1_1 = format!("GET {HEALTH} HTTP/1.1\r\nhost: a\r\n\r\n");
    let over_http_1_0 = format!("GET {HEALTH} HTTP/1.0\r\n\r\n");
    let as_some_do = format!("OPTIONS {HEALTH} HTTP/1.1\r\nhost: a\r\n\r\n");
    fleet.store.process.kill_9().unwrap();
    fleet.upstream.process.kill_9().unwrap();
    for head in [&over_http_1_1, &over_http_1_0, &as_some_do] {
        assert_eq!(ask(head), 200, "{head}");
    }
    // Whatever else begins like it is the API's, and wants a key.
    for path in [
        "/gateway/healthz/",
        "/gateway/healthz?x",
        "/gateway/",
        "//gateway/healthz",
    ] {
        let head = format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n");
        assert_eq!(ask(&head), 401, "{path}");
    }
    eventually("the access log", || {
        gateway.access_log().contains("rekey_missing").then_some(())
    });
    assert!(!gateway.access_log().contains("health_check"));

    let post = |path: &str| ureq::post(format!("{}{path}", gateway.admin_url())).send_empty();
    post("/healthcheck/fail").unwrap();
    assert_eq!(ask(&over_http_1_1), 503);
    assert_eq!(ask("GET / HTTP/1.1\r\nhost: a\r\n\r\n"), 401);
    post("/healthcheck/ok").unwrap();
    assert_eq!(ask(&over_http_1_1), 200);
    fleet.assert_no_trap();
}
