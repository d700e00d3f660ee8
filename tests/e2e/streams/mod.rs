//! Streams that were opened with a key that is replaced or revoked: they end, on
//! every worker of every gateway, in a moment after the 200; those of other keys
//! and of the new one live on.

mod everywhere;
mod kinds;
mod limits;
mod missed;
mod ways;

use std::net::SocketAddr;

use crate::support::fleet::{TestFleet, eventually, matching, stat};
use crate::support::wire::streams::{Kind, Stream, Streams};

/// The filter's counter of streams that it ended.
const ENDED: &str = "wasmcustom.rekey.streams.event.ended";
/// The filter's counter of requests beyond their key's share.
const BEYOND_SHARE: &str = "wasmcustom.rekey.requests.outcome.too_many_open_requests";
/// The filter's counter of requests for which there was no room at all.
const BUSY: &str = "wasmcustom.rekey.requests.outcome.gateway_busy";
/// The filter's counter of requests that it let through.
const ALLOWED: &str = "wasmcustom.rekey.requests.outcome.allowed";
/// Between two pieces, in milliseconds: longer than a stream may take to end, so
/// that none ends only at its next piece.
const PAUSE: u64 = 1_000;

/// Opens streams of each kind at a gateway, and waits until all are let through.
fn open(
    fleet: &TestFleet,
    gateway: usize,
    client: &Streams,
    kinds: &[Kind],
    (key, count): (&str, usize),
) -> Vec<Stream> {
    let gateway = &fleet.gateways[gateway];
    let address: SocketAddr = gateway.address();
    let before = stat(gateway, ALLOWED);
    let open = |kind: &Kind| client.open(address, *kind, key, count);
    let streams: Vec<_> = kinds.iter().flat_map(open).collect();
    eventually("all streams to be let through", || {
        let passed = stat(gateway, ALLOWED) - before;
        (passed >= streams.len() as u64).then_some(())
    });
    assert!(streams.iter().all(Stream::is_open));
    streams
}

/// Waits until all of them are over, and shows that each ended as its kind does.
fn all_are_cut(streams: &[Stream]) {
    eventually("the end of all streams of a dead key", || {
        let open: Vec<_> = streams.iter().filter(|stream| stream.is_open()).collect();
        open.is_empty().then_some(())
    });
    for stream in streams {
        let (_, end) = stream.end().unwrap();
        assert_eq!(end, stream.kind.cut(), "{:?}", stream.kind);
    }
}

/// How many streams all gateways have ended.
fn ended(fleet: &TestFleet) -> u64 {
    let counts = fleet.gateways.iter();
    let counts = counts.map(|gateway| matching(gateway, |name| name == ENDED));
    counts.flat_map(|counts| counts.into_values()).sum()
}
