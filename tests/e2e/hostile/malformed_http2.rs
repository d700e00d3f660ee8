//! A malformed request over HTTP/2 ends its own stream (RFC 9113, 8.1.1) and no other:
//! behind a load balancer the connection is everybody's.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::start;

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
/// END_STREAM and END_HEADERS.
const WHOLE: u8 = 5;

/// A frame (RFC 9113, 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The head of a request, without compression (RFC 7541, 6.2.2).
fn head(more: &[(&str, &str)]) -> Vec<u8> {
    let usual = [
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "gateway"),
        (":path", "/status"),
    ];
    let mut block = Vec::new();
    for (name, value) in usual.iter().chain(more) {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap());
            block.extend(text.as_bytes());
        }
    }
    block
}

/// Reads frames until one of these kinds comes for this stream, and returns which.
fn wait_for(connection: &mut TcpStream, stream: u32, kinds: [u8; 2]) -> u8 {
    loop {
        let mut begin = [0; 9];
        connection
            .read_exact(&mut begin)
            .expect("the connection lives");
        let [a, b, c, kind, _, id @ ..] = begin;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        connection.read_exact(&mut payload).unwrap();
        if u32::from_be_bytes(id) == stream && kinds.contains(&kind) {
            return kind;
        }
    }
}

#[test]
fn a_malformed_request_ends_its_own_stream_alone() {
    let fleet = start();
    let mut connection = TcpStream::connect(fleet.gateways[0].address()).unwrap();
    connection
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let mut begin = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    begin.extend(frame(4, 0, 0, &[]));
    connection.write_all(&begin).unwrap();
    let malformed: [&[(&str, &str)]; 4] = [
        &[("connection", "keep-alive")],
        &[("upgrade", "websocket")],
        &[("te", "gzip")],
        &[("Upper-Case", "x")],
    ];
    let mut stream = 1;
    for more in malformed {
        let request = frame(HEADERS, WHOLE, stream, &head(more));
        connection.write_all(&request).unwrap();
        wait_for(&mut connection, stream, [RST_STREAM, HEADERS]);
        stream += 2;
        let request = frame(HEADERS, WHOLE, stream, &head(&[]));
        connection.write_all(&request).unwrap();
        let served = wait_for(&mut connection, stream, [RST_STREAM, HEADERS]);
        assert_eq!(served, HEADERS, "behind {more:?}");
        stream += 2;
    }
    fleet.assert_no_trap();
}
