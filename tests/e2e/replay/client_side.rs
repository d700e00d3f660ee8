//! The client's own connection breaks: at every byte of its request, while the
//! rotation is under way, and at every byte of the answer.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rekey_protocol::ROTATE_PATH;
use serde_json::json;
use socket2::SockRef;

use super::owner::{Owner, Told};
use super::{Cuttable, options, side_by_side, timed};
use crate::support::faults::cuts::End;
use crate::support::fleet::{self, SOON, TestFleet, eventually, stat};
use crate::support::wire::raw_http::RawConnection;

/// Clients that leave while their rotations are under way.
const LEAVING: usize = 24;

/// A position of a message, and how the connection ends there.
type Case = (usize, End);

fn every_byte(length: usize) -> Vec<Case> {
    let ends = [End::Close, End::Reset];
    (0..=length).map(|at| (at, ends[at % 2])).collect()
}

fn connect(fleet: &TestFleet) -> TcpStream {
    let stream = TcpStream::connect(fleet.gateways[0].address()).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream
}

fn end(stream: TcpStream, end: End) {
    if end == End::Reset {
        SockRef::from(&stream)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
    }
}

fn start() -> TestFleet {
    fleet::start(rekey_testbed::FleetOptions {
        gateways: 1,
        ..options()
    })
}

#[test]
fn i4_a_request_that_breaks_off_at_any_byte_costs_no_key() {
    let fleet = start();
    let length = Owner::new(&fleet, "example").raw_request().len();
    let cases = every_byte(length);
    let (told, took) = timed(|| side_by_side(&cases, |case| break_off(&fleet, *case, length)));
    let replayed = told.iter().filter(|told| told.replayed).count();
    println!("{} positions in {took:?}, {replayed} replayed", told.len());
    // Only a whole head is a request.
    assert!(replayed <= 1, "{replayed} of requests that were cut short");
    fleet.assert_no_trap();
}

fn break_off(fleet: &TestFleet, (at, how): Case, length: usize) -> Told {
    let owner = Owner::new(fleet, (at, how));
    let request = owner.raw_request();
    assert_eq!(request.len(), length);
    let mut stream = connect(fleet);
    stream.write_all(&request.as_bytes()[..at]).unwrap();
    end(stream, how);
    owner.ends_with_one_key(fleet, &fleet.client())
}

#[test]
fn i4_an_answer_that_breaks_off_at_any_byte_is_had_again() {
    let fleet = start();
    let length = {
        let owner = Owner::new(&fleet, "example");
        let mut stream = connect(&fleet);
        let closing = "\r\nconnection: close\r\n\r\n";
        let request = owner.raw_request().replace("\r\n\r\n", closing);
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.contains("sb_live_"), "{answer}");
        answer.len() - "connection: close\r\n".len()
    };
    let cases = every_byte(length);
    let (_, took) = timed(|| side_by_side(&cases, |case| read_some(&fleet, *case, length)));
    println!("{} positions in {took:?}", cases.len());
    fleet.assert_no_trap();
}

/// Reads so many bytes of the answer and goes.
fn read_some(fleet: &TestFleet, (at, how): Case, length: usize) {
    let owner = Owner::new(fleet, (at, how));
    let mut stream = connect(fleet);
    stream.write_all(owner.raw_request().as_bytes()).unwrap();
    // That it begins to come, for those who read nothing.
    assert_eq!(stream.peek(&mut [0]).unwrap(), 1, "byte {at}");
    let mut read = vec![0; at];
    stream.read_exact(&mut read).unwrap();
    end(stream, how);
    let told = owner.ends_with_one_key(fleet, &fleet.client());
    assert!(told.replayed, "byte {at}: the rotation was made");
    let read = String::from_utf8(read).unwrap();
    let has_key = read.contains("sb_live_") && read.contains("\"created_at\"");
    assert!(!has_key || read.contains(&told.key), "byte {at}");
    assert!(has_key || at < length, "byte {at}: {read}");
}

/// The store has made the rotations, and their answers are on the way.
#[test]
fn i4_a_client_that_leaves_before_the_answer_has_it_again() {
    let run = Cuttable::start(1);
    let [leaving, came_back] = [0, 1].map(|when| {
        let owner = |number| Owner::new(&run.fleet, (when, number));
        (0..LEAVING).map(owner).collect::<Vec<_>>()
    });
    run.proxies[0].hold_answers(ROTATE_PATH);
    let connections = [&leaving, &came_back].map(|owners| waiting(&run.fleet, owners));
    eventually("all of them to be held", || {
        (run.proxies[0].held() as usize == 2 * LEAVING).then_some(())
    });
    drop(connections);
    until_all_have_left(&run.fleet);
    // Half of them ask again while the first answers are held, and wait too.
    let client = run.fleet.client();
    std::thread::scope(|scope| {
        let (fleet, client, came_back) = (&run.fleet, &client, &came_back);
        let asking = scope
            .spawn(move || side_by_side(came_back, |owner| owner.ends_with_one_key(fleet, client)));
        eventually("those that came back to be held", || {
            (run.proxies[0].held() as usize == 3 * LEAVING).then_some(())
        });
        run.proxies[0].release();
        let told = asking.join().unwrap();
        assert!(told.iter().all(|told| told.replayed));
    });
    let told = side_by_side(&leaving, |owner| {
        owner.ends_with_one_key(&run.fleet, &client)
    });
    assert!(told.iter().all(|told| told.replayed));
    run.fleet.assert_no_trap();
}

/// The store has not answered yet: the resolve call is under way, or the rotate
/// call of a key that the gateway knows.
#[test]
fn i4_a_client_that_leaves_a_store_that_stands_still_has_one_key() {
    let mut patient = options();
    patient.gateways = 1;
    patient.plugin["lease_ms"] = json!(3000);
    let fleet = fleet::start(patient);
    for is_known in [false, true] {
        let told = leave_a_store_that_stands_still(&fleet, is_known);
        let replayed = told.iter().filter(|told| told.replayed).count();
        println!("known: {is_known}, {replayed} of {LEAVING} replayed");
        // The store finds the rotate calls when it goes on.
        assert_eq!(replayed > 0, is_known);
    }
    fleet.assert_no_trap();
}

fn leave_a_store_that_stands_still(fleet: &TestFleet, is_known: bool) -> Vec<Told> {
    let owner = |number| Owner::new(fleet, (is_known, number));
    let owners: Vec<_> = (0..LEAVING).map(owner).collect();
    let client = fleet.client();
    if is_known {
        for owner in &owners {
            fleet.until_it_trusts(&owner.user.api_key);
        }
    }
    fleet.store.process.freeze().unwrap();
    let connections = waiting(fleet, &owners);
    eventually("all of them to wait for the store", || {
        let active = "cluster.rekey_store_rotations.upstream_rq_active";
        let waiting = stat(&fleet.gateways[0], active);
        (waiting == LEAVING as u64).then_some(())
    });
    drop(connections);
    until_all_have_left(fleet);
    fleet.store.process.thaw().unwrap();
    side_by_side(&owners, |owner| owner.ends_with_one_key(fleet, &client))
}

/// A connection for each of them, on which the request is sent.
fn waiting(fleet: &TestFleet, owners: &[Owner]) -> Vec<RawConnection> {
    let open = |owner: &Owner| {
        let mut connection = RawConnection::open(fleet.gateways[0].address());
        connection.send(owner.raw_request());
        connection
    };
    owners.iter().map(open).collect()
}

fn until_all_have_left(fleet: &TestFleet) {
    eventually("the gateway to see that the clients have left", || {
        let connections = stat(&fleet.gateways[0], "http.edge.downstream_cx_active");
        (connections == 0).then_some(())
    });
}
