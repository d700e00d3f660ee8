//! Answers arrive whole, however slowly they are read, also on connections that
//! end with them.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use hyper::Request;
use hyper::body::Bytes;
use rekey_testbed::FleetOptions;
use rekey_testbed::http1::{Head, WholeHead};
use socket2::SockRef;
use tokio::time::sleep;

use crate::support::client::bearer;
use crate::support::faults::link::Link;
use crate::support::fleet;

/// Round trip of the delayed line.
const FAR_AWAY: Duration = Duration::from_millis(80);

/// How a client takes what it is sent.
#[derive(Debug, Clone, Copy)]
enum Reader {
    /// At once, but it is far away.
    Far,
    /// Pieces of 64 KiB, and 20 ms of work on each.
    Working,
    /// By a buffer of 16 KiB.
    Small,
    /// All but the last 2 MB at once, and these after two seconds.
    Pausing,
}

impl Reader {
    const ALL: [Self; 4] = [Self::Far, Self::Working, Self::Small, Self::Pausing];

    /// The length of the answer: much more than the buffers on its way hold.
    fn length(self) -> usize {
        match self {
            Self::Far | Self::Small => 3_000_000,
            Self::Working | Self::Pausing => 12_000_000,
        }
    }

    /// What it does after it has read so much of the answer.
    fn pause(self, read: usize, piece: usize) -> Duration {
        let nearly = self.length().saturating_sub(2_000_000);
        match self {
            Self::Working => Duration::from_millis(20) * (piece as u32).div_ceil(64 * 1024),
            Self::Pausing if read >= nearly && read - piece < nearly => Duration::from_secs(2),
            _ => Duration::ZERO,
        }
    }
}

/// How the request is made, over HTTP/1.
#[derive(Debug, Clone, Copy)]
enum Wording {
    /// `Connection: close`, as Python's urllib and many scripts send.
    Close,
    /// HTTP/1.0, as `ab` and old monitors send.
    Http10,
    /// A connection that may be used again.
    KeepAlive,
}

/// Reads an answer over HTTP/1, and returns the length of the body that came.
fn read(address: SocketAddr, key: &str, wording: Wording, reader: Reader) -> usize {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = reader.length();
    if matches!(reader, Reader::Small) {
        SockRef::from(&stream).set_recv_buffer_size(8192).unwrap();
    }
    let (version, line) = match wording {
        Wording::Close => ("1.1", "connection: close\r\n"),
        Wording::Http10 => ("1.0", ""),
        Wording::KeepAlive => ("1.1", ""),
    };
    let request = format!(
        "GET /v1/report?bytes={length} HTTP/{version}\r\nhost: gateway\r\n\
         authorization: Bearer {key}\r\n{line}\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    let head = loop {
        let mut piece = [0; 512];
        let read = stream.read(&mut piece).unwrap();
        assert!(read > 0, "no answer");
        bytes.extend(&piece[..read]);
        if let Some(WholeHead { head, length: end }) = Head::of_answer(&bytes).unwrap() {
            bytes.drain(..end);
            break head;
        }
    };
    assert_eq!(head.status, 200);
    assert_eq!(head.content_length(), Some(length));
    let mut taken = bytes.len();
    let mut piece = vec![0; 64 * 1024];
    while taken < length {
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => {
                taken += read;
                // The client's work, which is what is tried here.
                thread::sleep(reader.pause(taken, read));
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => panic!("{error}"),
        }
    }
    taken
}

/// The same over HTTP/2.
fn read_http2(address: SocketAddr, key: &str, reader: Reader) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let mut settings = h2::client::Builder::new();
        if !matches!(reader, Reader::Small) {
            settings.initial_window_size(1 << 20);
        }
        let (sender, connection) = settings.handshake::<_, Bytes>(stream).await.unwrap();
        tokio::spawn(connection);
        let uri = format!("http://gateway/v1/report?bytes={}", reader.length());
        let mut request = Request::builder().uri(uri);
        for (name, value) in bearer(key) {
            request = request.header(name, value);
        }
        let mut sender = sender.ready().await.unwrap();
        let (answer, _) = sender
            .send_request(request.body(()).unwrap(), true)
            .unwrap();
        let answer = answer.await.unwrap();
        assert_eq!(answer.status(), 200);
        let mut body = answer.into_body();
        let mut taken = 0;
        while let Some(Ok(piece)) = body.data().await {
            taken += piece.len();
            sleep(reader.pause(taken, piece.len())).await;
            let _ = body.flow_control().release_capacity(piece.len());
        }
        taken
    })
}

#[test]
fn slow_readers_get_whole_answers() {
    let fleet = fleet::start(FleetOptions::default());
    let gateway = fleet.gateways[0].address();
    let link = Link::start(gateway, FAR_AWAY);
    let key = &fleet.user().api_key;
    let mut short = Vec::new();
    thread::scope(|scope| {
        let mut readers = Vec::new();
        for reader in Reader::ALL {
            let address = match reader {
                Reader::Far => link.address(),
                _ => gateway,
            };
            for wording in [Wording::Close, Wording::Http10, Wording::KeepAlive] {
                let taken = scope.spawn(move || read(address, key, wording, reader));
                readers.push((reader, format!("{wording:?}"), taken));
            }
            let taken = scope.spawn(move || read_http2(address, key, reader));
            readers.push((reader, "HTTP/2".to_owned(), taken));
        }
        for (reader, how, taken) in readers {
            let missing = reader.length() - taken.join().unwrap();
            if missing > 0 {
                short.push(format!("{reader:?}, {how}: {missing} bytes are missing"));
            }
        }
    });
    assert!(short.is_empty(), "{short:#?}");
    fleet.assert_no_trap();
}
