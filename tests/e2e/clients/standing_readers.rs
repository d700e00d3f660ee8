//! A dead key's streams are over at the gateway and at the API also when their
//! readers stand still. A connection that has bytes for such a reader left is
//! closed by the kernel in the end.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use hyper::Request;
use hyper::body::Bytes;
use rekey_testbed::FleetOptions;
use serde_json::Value;

use super::super::support::client::{OFFER_WEBSOCKET, SCRAPE, bearer, raw_request_with};
use super::super::support::fleet::{self, TestFleet, eventually, stat};

/// Requests that are open at the gateway.
const AT_THE_GATEWAY: &str = "http.edge.downstream_rq_active";
/// Connections of clients.
const CONNECTIONS: &str = "http.edge.downstream_cx_active";
/// Requests that are open at the API.
const AT_THE_API: [&str; 2] = [
    "cluster.api.upstream_rq_active",
    "cluster.api_grpc.upstream_rq_active",
];
/// More than all buffers on the way hold.
const LARGE: &str = "/v1/report?bytes=100000000";

/// Method, path and header lines of requests over HTTP/1.1 that stay open.
const HTTP_1: [(&str, &str, &str); 5] = [
    ("GET", "/v1/events?every=20", ""),
    ("GET", "/v1/ws?every=20", OFFER_WEBSOCKET),
    ("GET", "/v1/download?every=1", ""),
    ("POST", "/v1/upload", "transfer-encoding: chunked\r\n"),
    ("GET", LARGE, "connection: close\r\n"),
];
/// Method and path of those over HTTP/2.
const HTTP_2: [(&str, &str); 5] = [
    ("GET", "/v1/events?every=20"),
    ("GET", "/v1/download?every=1"),
    ("POST", "/v1/upload"),
    ("POST", "/rekey.demo.Live/Watch?every=20"),
    ("GET", LARGE),
];

/// Opens a request, and reads nothing of its answer.
fn over_http1(
    gateway: SocketAddr,
    key: &str,
    (method, path, lines): (&str, &str, &str),
) -> TcpStream {
    let mut stream = TcpStream::connect(gateway).unwrap();
    let request = raw_request_with(method, path, key, lines);
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

/// The same over HTTP/2, all on one connection; it is kept until `done`.
async fn over_http2(gateway: SocketAddr, key: &str, done: tokio::sync::oneshot::Receiver<()>) {
    let stream = tokio::net::TcpStream::connect(gateway).await.unwrap();
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let mut kept = Vec::new();
    for (method, path) in HTTP_2 {
        let uri = format!("http://gateway{path}");
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in bearer(key) {
            request = request.header(name, value);
        }
        if path.starts_with("/rekey.demo") {
            request = request.header("content-type", "application/grpc");
        }
        let mut sender = sender.clone().ready().await.unwrap();
        let ends = method == "GET";
        let request = request.body(()).unwrap();
        let (answer, mut sending) = sender.send_request(request, ends).unwrap();
        if !ends {
            let _ = sending.send_data(Bytes::from_static(&[0; 5]), false);
        }
        kept.push((answer, sending));
    }
    let _ = done.await;
}

fn open_requests(fleet: &TestFleet) -> u64 {
    stat(&fleet.gateways[0], AT_THE_GATEWAY)
}

/// A client that takes nothing loses its connection after so many milliseconds.
fn user_timeout(config: &mut Value, milliseconds: u64) {
    let options = config["static_resources"]["listeners"][0]["socket_options"].as_array_mut();
    let option = options.unwrap().iter_mut().find(|one| one["name"] == 18);
    option.unwrap()["int_value"] = milliseconds.into();
}

#[test]
fn a_dead_keys_streams_are_over_though_nobody_reads() {
    let options = FleetOptions {
        edit: Some(std::sync::Arc::new(|config| {
            user_timeout(config, 2_000);
            Ok(())
        })),
        ..FleetOptions::default()
    };
    let fleet = fleet::start(options);
    let gateway = fleet.gateways[0].address();
    let key = fleet.user().api_key;
    let client = fleet.client();
    assert_eq!(client.get(SCRAPE, &key).status, 200);
    let open = |kind| over_http1(gateway, &key, kind);
    let streams: Vec<_> = HTTP_1.into_iter().map(open).collect();
    let (done, until_done) = tokio::sync::oneshot::channel();
    let (same, all) = (key.clone(), (HTTP_1.len() + HTTP_2.len()) as u64);
    let http2 = thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(over_http2(gateway, &same, until_done));
    });
    eventually("all to be open", || {
        (open_requests(&fleet) == all).then_some(())
    });

    client.regenerate(&key).new_key();
    let answered = Instant::now();
    eventually("the end of all at the gateway", || {
        (open_requests(&fleet) == 0).then_some(())
    });
    println!("over at the gateway within {:?}", answered.elapsed());
    eventually("the end of all at the API", || {
        let open = |name: &&str| stat(&fleet.gateways[0], name);
        (AT_THE_API.iter().map(open).sum::<u64>() == 0).then_some(())
    });
    // What is left for readers that stand still is thrown away: all but the one
    // connection of HTTP/2.
    eventually("the end of all connections of HTTP/1.1", || {
        (stat(&fleet.gateways[0], CONNECTIONS) <= 1).then_some(())
    });
    for mut stream in streams {
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        // To its end, or to the reset.
        let end = stream.read_to_end(&mut Vec::new());
        let reset = |error: std::io::Error| error.kind() == std::io::ErrorKind::ConnectionReset;
        assert!(end.map_err(reset) != Err(false), "it is open");
    }
    drop(done);
    http2.join().unwrap();
    fleet.assert_no_trap();
}
