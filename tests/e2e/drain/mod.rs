//! A gateway that is told to stop, as the image and `cargo xtask up` run it:
//! what is open ends whole, nobody is lost on the way, and nothing holds the
//! end back for ever.

mod restarted;

use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::kill;
use nix::unistd::Pid;
use rekey_testbed::http1::{Head, Message};
use rekey_testbed::{FleetOptions, Gateway, Shutdown, Signal};

use crate::support::client::{Client, SCRAPE, raw_request};
use crate::support::fleet::{self, SOON, TestFleet, eventually, stat};
use crate::support::wire::raw_http::RawConnection;
use crate::support::wire::streams::{End, Kind, Stream, Streams};

/// What load balancers ask.
const HEALTH: &str = "/gateway/healthz";
/// Long enough for the slowest machine to see the notice.
const NOTICE: Duration = Duration::from_secs(1);
/// No test waits for it.
const FOR_EVER: Duration = Duration::from_secs(600);
/// Envoy's gauge of rotations at the store that wait for an answer.
const CALLS_ACTIVE: &str = "cluster.rekey_store_rotations.upstream_rq_active";

fn start(notice: Duration, grace: Duration) -> TestFleet {
    fleet::start(FleetOptions {
        shutdown: Shutdown::Drain { notice, grace },
        ..FleetOptions::default()
    })
}

/// What the health path says on a new connection; none if there is none.
fn health(gateway: SocketAddr) -> Option<u16> {
    let mut stream = match TcpStream::connect(gateway) {
        Ok(stream) => stream,
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => return None,
        Err(error) => panic!("{error}"),
    };
    let request = format!("GET {HEALTH} HTTP/1.1\r\nhost: gateway\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let answer = Message::read(&stream, &mut Vec::new(), Head::of_answer).unwrap()?;
    Some(answer.head.status)
}

fn tell_to_stop(gateway: &Gateway) {
    gateway.process.signal(Signal::SIGTERM).unwrap();
}

fn ended_well(gateway: &Gateway) {
    let status = gateway.process.wait(SOON).unwrap();
    assert!(status.success(), "{status}");
}

fn until_it_accepts_no_more(gateway: &Gateway) {
    eventually("connections to be refused", || {
        health(gateway.address()).is_none().then_some(())
    });
}

/// Opens a stream that its client does not end.
fn open_stream(fleet: &TestFleet, streams: &Streams, kind: Kind) -> Stream {
    let address = fleet.gateways[0].address();
    let mut opened = streams.open(address, kind, &fleet.user().api_key, 1);
    opened.remove(0)
}

#[test]
fn what_is_open_ends_whole_and_the_health_path_warns_before_connections_are_refused() {
    let fleet = start(NOTICE, FOR_EVER);
    let (gateway, key) = (&fleet.gateways[0], fleet.user().api_key);
    let streams = Streams::new(20);
    let download = open_stream(&fleet, &streams, Kind::Download);
    let mut upload = RawConnection::open(gateway.address());
    upload.send(format!(
        "POST {SCRAPE} HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {key}\r\n\
         content-length: 10\r\n\r\nfirst"
    ));
    let mut kept = RawConnection::open(gateway.address());
    let mut idle = RawConnection::open(gateway.address());
    for connection in [&mut kept, &mut idle] {
        let answer = connection.exchange(raw_request("GET", SCRAPE, &key));
        assert!(answer.status == 200 && !answer.says_close(), "{answer:?}");
    }
    assert_eq!(health(gateway.address()), Some(200));

    tell_to_stop(gateway);
    eventually("the health path to warn", || {
        let status = health(gateway.address()).expect("a warning before the refusal");
        (status == 503).then_some(())
    });
    // Who is there is served, and sent away.
    let answer = kept.exchange(raw_request("GET", SCRAPE, &key));
    assert!(answer.status == 200 && answer.says_close(), "{answer:?}");
    assert_eq!(fleet.client().get(SCRAPE, &key).status, 200);
    until_it_accepts_no_more(gateway);
    let answer = idle.exchange(raw_request("GET", SCRAPE, &key));
    assert!(answer.status == 200 && answer.says_close(), "{answer:?}");
    upload.send(" last");
    let answer = upload.answer();
    assert_eq!(answer.status, 200);
    assert!(answer.body.contains("\"body_bytes\":10"), "{}", answer.body);

    assert!(download.is_open());
    gateway.process.check_alive().unwrap();
    // Told to stop, the upstream ends it as if all had been said.
    fleet.upstream.process.terminate().unwrap();
    ended_well(gateway);
    eventually("the download's end", || {
        download
            .end()
            .map(|(_, end)| assert_eq!(end, End::Complete))
    });
}

#[test]
fn a_rotation_that_waits_at_the_barrier_gets_its_answer() {
    let mut fleet = start(Duration::ZERO, FOR_EVER);
    let mut other = fleet.gateway_options(&FleetOptions::default());
    other.shutdown = Shutdown::AtOnce;
    fleet.add_gateway(other).unwrap();
    let key = fleet.user().api_key;
    for gateway in 0..2 {
        fleet.until_one_trusts(gateway, &key);
    }
    let (told, frozen) = (&fleet.gateways[0], &fleet.gateways[1]);
    frozen.process.freeze().unwrap();
    let answer = thread::scope(|scope| {
        let client = Client::new(&told.url());
        let rotation = scope.spawn(move || client.regenerate(&key));
        eventually("the rotation to be sent", || {
            (stat(told, CALLS_ACTIVE) > 0).then_some(())
        });
        tell_to_stop(told);
        until_it_accepts_no_more(told);
        assert!(!rotation.is_finished(), "nobody held it up");
        rotation.join().unwrap()
    });
    let new = answer.new_key();
    ended_well(told);
    frozen.process.thaw().unwrap();
    eventually("the new key to be served", || {
        (fleet.client_of(1).get(SCRAPE, &new).status == 200).then_some(())
    });
}

#[test]
fn a_stream_without_end_is_cut_when_the_grace_is_over() {
    let grace = Duration::from_secs(2);
    let fleet = start(Duration::ZERO, grace);
    let streams = Streams::new(20);
    let events = open_stream(&fleet, &streams, Kind::Events);
    let told = Instant::now();
    tell_to_stop(&fleet.gateways[0]);
    ended_well(&fleet.gateways[0]);
    let (ended, end) = eventually("the stream's end", || events.end());
    assert_eq!(end, End::Closed);
    // Bash counts in whole seconds.
    assert!(ended - told >= grace - Duration::from_secs(1));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let fleet = start(FOR_EVER, FOR_EVER);
    let streams = Streams::new(20);
    let _events = open_stream(&fleet, &streams, Kind::Events);
    tell_to_stop(&fleet.gateways[0]);
    eventually("the drain", || {
        (health(fleet.gateways[0].address()) == Some(503)).then_some(())
    });
    tell_to_stop(&fleet.gateways[0]);
    ended_well(&fleet.gateways[0]);
}

#[test]
fn an_envoy_that_stands_still_is_killed() {
    let fleet = start(FOR_EVER, FOR_EVER);
    let gateway = &fleet.gateways[0];
    let envoy = Pid::from_raw(gateway.envoy_pid().try_into().unwrap());
    kill(envoy, Signal::SIGSTOP).unwrap();
    tell_to_stop(gateway);
    let status = gateway.process.wait(SOON).unwrap();
    assert_eq!(status.code(), Some(137));
    let log = gateway.process.log();
    assert!(log.contains("does not answer"), "{log}");
}
