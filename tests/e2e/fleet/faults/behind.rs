//! A gateway that is thousands of revocations behind: it catches up page by
//! page, trusts nothing before the last of them (S4), and keeps its cache.

use std::thread;

use rekey_load::{Key, import, rotate};
use rekey_testbed::FleetOptions;
use serde_json::json;

use crate::fleet::run::{LEASE_MS, Run, accepted, refused};
use crate::support::faults::tcp_proxy::{Silence, TcpProxy};
use crate::support::fleet::{eventually, stat};

/// More than eight pages of the feed.
const REVOKED: usize = 2_200;
/// Rotations at once.
const AT_ONCE: usize = 8;
/// The gateway that falls behind.
const BEHIND: usize = 1;

const RESETS: &str = "wasmcustom.rekey.feed.event.reset";

#[test]
fn it_catches_up_page_by_page() {
    let options = FleetOptions {
        plugin: json!({
            "checksum": "off", "lease_ms": LEASE_MS, "store": { "resolve_timeout_ms": 5_000 },
        }),
        ..FleetOptions::default()
    };
    let mut run = Run::start(options.clone(), 1);
    let keys = import(&run.fleet.store, "b", REVOKED, &run.book).unwrap();
    let proxy = TcpProxy::start(run.fleet.store.address());
    let mut far = run.fleet.gateway_options(&options);
    far.store = proxy.address();
    run.add_gateway(far);
    let mut probe = run.probe_of(BEHIND);
    let some: Vec<&Key> = [0, REVOKED / 2, REVOKED - 1]
        .into_iter()
        .map(|number| &*keys[number])
        .collect();
    let steady = run.keys[0].clone();
    for key in some.iter().copied().chain([&*steady]) {
        accepted(&mut probe, key);
    }
    let resets = stat(run.gateway(BEHIND), RESETS);

    proxy.fall_silent(Silence::Both);
    thread::scope(|scope| {
        for share in keys.chunks(REVOKED.div_ceil(AT_ONCE)) {
            let run = &run;
            scope.spawn(move || {
                let mut connection = run.connect(0);
                for key in share {
                    rotate(&mut connection, key, &run.book).unwrap();
                }
            });
        }
    });
    proxy.fall_silent(Silence::None);

    eventually("all pages to be applied", || {
        let written = stat(
            run.gateway(BEHIND),
            "wasmcustom.rekey.tombstones.event.written",
        );
        (written >= REVOKED as u64).then_some(())
    });
    run.until_trusted(BEHIND);
    for key in some {
        refused(&mut probe, key);
    }
    accepted(&mut probe, &steady);
    let now = stat(run.gateway(BEHIND), RESETS);
    assert_eq!(now, resets, "it began anew instead of catching up");
    run.fleet.assert_no_trap();
}
