//! The late fill, on purpose: the store says "active", the key is rotated
//! through another gateway, and only then the answer arrives. It must not be
//! believed by anyone who asks afterwards (I1, I2; G5 to G8).

use std::thread;

use rekey_protocol::RESOLVE_PATH;

use crate::fleet::run::{Run, accepted, gateways, refused};
use crate::support::client::{Client, SCRAPE};
use crate::support::faults::tcp_proxy::TcpProxy;
use crate::support::fleet::eventually;

/// Late answers, one after another.
const TIMES: usize = 20;
/// Requests that wait for the late answer, on connections of their own.
const WAITING: usize = 6;

#[test]
fn an_active_that_arrives_after_the_rotation_lets_nobody_in() {
    let mut run = Run::start(gateways(1, 3000), TIMES);
    let proxy = TcpProxy::start(run.fleet.store.address());
    let mut slow = run.fleet.gateway_options(&gateways(1, 3000));
    slow.store = proxy.address();
    run.add_gateway(slow);
    let (far, mut probe) = (Client::new(&run.gateway(1).url()), run.probe_of(1));

    for key in &run.keys {
        proxy.hold_answers(RESOLVE_PATH);
        let text = &key.text;
        thread::scope(|scope| {
            let waiting: Vec<_> = (0..WAITING)
                .map(|_| scope.spawn(|| far.get(SCRAPE, text)))
                .collect();
            eventually("the store's answer to be held", || {
                (proxy.held() > 0).then_some(())
            });
            // The far gateway follows the feed all the while, so this does not
            // take its lease.
            let rotated = run.rotate(0, key);
            // Asks while the late answer is still to come: whatever is shared
            // with those that wait must not be shared with these (G7).
            probe.send(text).unwrap();
            proxy.release();
            for answer in probe.receive().unwrap() {
                assert_eq!(answer.status, 401, "{}", answer.body);
            }
            // These asked before the rotation; either answer is right.
            for answer in waiting {
                let status = answer.join().unwrap().status;
                assert!(matches!(status, 200 | 401), "{status}");
            }
            refused(&mut probe, key);
            accepted(&mut probe, &rotated.new);
        });
    }
    run.fleet.assert_no_trap();
}
