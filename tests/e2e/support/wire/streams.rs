//! Streams of every kind, opened and held until somebody ends them: when that
//! was, and how it looked to the client.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use h2::client::SendRequest;
use h2::{Reason, SendStream};
use hyper::Request;
use hyper::body::Bytes;
use rekey_testbed::http1::{Head, WholeHead};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::runtime::Runtime;
use tokio::time::{sleep, timeout};

use crate::support::client::{OFFER_WEBSOCKET, raw_request_with};

/// No stream takes longer to open.
const PATIENCE: Duration = Duration::from_secs(20);
/// Streams of one HTTP/2 connection: below what a gateway allows, and few, so
/// that many streams are on many workers.
const PER_CONNECTION: usize = 10;
/// What ends a chunked body that is complete.
const LAST_CHUNK: &[u8] = b"\r\n0\r\n\r\n";
/// The first byte of a close frame (RFC 6455, 5.2).
const CLOSE_FRAME: u8 = 0x88;

/// What is held open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Server-sent events over HTTP/1.1.
    Events,
    /// A WebSocket over HTTP/1.1.
    WebSocket,
    /// An answer without end over HTTP/1.1.
    Download,
    /// A request without end over HTTP/1.1.
    Upload,
    /// Server-sent events over HTTP/2.
    Events2,
    /// An answer without end over HTTP/2.
    Download2,
    /// A request without end over HTTP/2.
    Upload2,
    /// A gRPC call that streams both ways.
    Grpc,
}

impl Kind {
    /// Over HTTP/1.1, each on a connection of its own.
    pub(crate) const HTTP_1: [Self; 4] =
        [Self::Events, Self::WebSocket, Self::Download, Self::Upload];
    /// Over HTTP/2, many on a connection.
    pub(crate) const HTTP_2: [Self; 4] =
        [Self::Events2, Self::Download2, Self::Upload2, Self::Grpc];

    /// Method and path, with the pause between two pieces in milliseconds.
    fn target(self, pause: u64) -> (&'static str, String) {
        let (method, path) = match self {
            Self::Events | Self::Events2 => ("GET", "/v1/events"),
            Self::WebSocket => ("GET", "/v1/ws"),
            Self::Download | Self::Download2 => ("GET", "/v1/download"),
            Self::Upload | Self::Upload2 => ("POST", "/v1/upload"),
            Self::Grpc => ("POST", "/rekey.demo.Live/Watch"),
        };
        (method, format!("{path}?every={pause}"))
    }

    fn uploads(self) -> bool {
        matches!(self, Self::Upload | Self::Upload2)
    }

    /// How a client sees the end of a stream whose key has died.
    pub(crate) fn cut(self) -> End {
        if Self::HTTP_1.contains(&self) {
            End::Closed
        } else {
            End::Reset(Reason::INTERNAL_ERROR)
        }
    }
}

/// How a stream ended for its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// As if all had been said: last chunk, close frame, end of stream.
    Complete,
    /// The connection was closed in the middle.
    Closed,
    /// `RST_STREAM`.
    Reset(Reason),
}

/// A stream; the client holds it open as long as it can.
#[derive(Clone)]
pub(crate) struct Stream {
    /// What it is.
    pub kind: Kind,
    ended: Arc<OnceLock<(Instant, End)>>,
}

impl Stream {
    /// When and how it ended; none if it is open.
    pub(crate) fn end(&self) -> Option<(Instant, End)> {
        self.ended.get().copied()
    }

    /// Whether it is open.
    pub(crate) fn is_open(&self) -> bool {
        self.ended.get().is_none()
    }
}

/// A client with streams; all of them go when it is dropped.
pub(crate) struct Streams {
    runtime: Runtime,
    /// Between two pieces, in milliseconds.
    pause: u64,
}

impl Streams {
    /// A client whose streams carry a piece each so many milliseconds.
    pub(crate) fn new(pause: u64) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        Self { runtime, pause }
    }

    /// Opens so many streams with this key, and waits until the upstream
    /// answers; of an upload, until all that is needed for it has been sent.
    ///
    /// # Panics
    /// One of them does not open.
    pub(crate) fn open(
        &self,
        gateway: SocketAddr,
        kind: Kind,
        key: &str,
        count: usize,
    ) -> Vec<Stream> {
        let (key, pause) = (key.to_owned(), self.pause);
        let opened = async move {
            let mut streams = Vec::new();
            let mut connection = None;
            for number in 0..count {
                let stream = Stream {
                    kind,
                    ended: Arc::default(),
                };
                if Kind::HTTP_1.contains(&kind) {
                    over_http1(gateway, &stream, &key, pause).await;
                } else {
                    if number % PER_CONNECTION == 0 {
                        connection = Some(connect(gateway).await);
                    }
                    let sender = connection.clone().unwrap();
                    over_http2(sender, &stream, &key, pause).await;
                }
                streams.push(stream);
            }
            streams
        };
        let opened = async { timeout(PATIENCE, opened).await };
        let opened = self.runtime.block_on(opened);
        opened.unwrap_or_else(|_| panic!("{kind:?} does not open"))
    }
}

async fn over_http1(gateway: SocketAddr, stream: &Stream, key: &str, pause: u64) {
    let kind = stream.kind;
    let (method, path) = kind.target(pause);
    let more = match kind {
        Kind::WebSocket => OFFER_WEBSOCKET,
        Kind::Upload => "transfer-encoding: chunked\r\n",
        _ => "",
    };
    let request = raw_request_with(method, &path, key, more);
    let connection = TcpStream::connect(gateway).await.unwrap();
    let (mut reading, mut writing) = connection.into_split();
    writing.write_all(request.as_bytes()).await.unwrap();
    let mut tail = Vec::new();
    if kind.uploads() {
        writing.write_all(b"1\r\n.\r\n").await.unwrap();
        tokio::spawn(write_chunks(writing, pause));
    } else {
        while Head::of_answer(&tail).unwrap().is_none() {
            assert!(reading.read_buf(&mut tail).await.unwrap() > 0, "{kind:?}");
        }
        let WholeHead { head, length } = Head::of_answer(&tail).unwrap().unwrap();
        assert!(
            matches!(head.status, 101 | 200),
            "{kind:?}: {}",
            head.status
        );
        tail.drain(..length);
        // Its drop would be the end of what we say.
        tokio::spawn(hold(writing));
    }
    let ended = stream.ended.clone();
    tokio::spawn(async move {
        let end = read_to_end(reading, tail, kind).await;
        let _ = ended.set((Instant::now(), end));
    });
}

async fn hold(writing: OwnedWriteHalf) {
    let _ = writing.ready(tokio::io::Interest::ERROR).await;
    std::future::pending::<()>().await;
}

async fn write_chunks(mut writing: OwnedWriteHalf, pause: u64) {
    while writing.write_all(b"1\r\n.\r\n").await.is_ok() {
        sleep(Duration::from_millis(pause)).await;
    }
}

async fn read_to_end(mut reading: OwnedReadHalf, mut tail: Vec<u8>, kind: Kind) -> End {
    let mut last_piece = 0;
    loop {
        let before = tail.len();
        match reading.read_buf(&mut tail).await {
            Ok(0) | Err(_) => break,
            Ok(read) => {
                last_piece = tail[before];
                // Enough to see how it ends.
                let kept = read.max(LAST_CHUNK.len()).min(tail.len());
                tail.drain(..tail.len() - kept);
            }
        }
    }
    let is_complete = match kind {
        Kind::WebSocket => last_piece == CLOSE_FRAME,
        Kind::Upload => !tail.is_empty(),
        _ => tail.ends_with(LAST_CHUNK),
    };
    if is_complete {
        End::Complete
    } else {
        End::Closed
    }
}

async fn connect(gateway: SocketAddr) -> SendRequest<Bytes> {
    let connection = TcpStream::connect(gateway).await.unwrap();
    let (sender, connection) = h2::client::handshake(connection).await.unwrap();
    tokio::spawn(connection);
    sender
}

async fn over_http2(sender: SendRequest<Bytes>, stream: &Stream, key: &str, pause: u64) {
    let kind = stream.kind;
    let (method, path) = kind.target(pause);
    let mut request = Request::builder()
        .method(method)
        .uri(format!("http://gateway{path}"))
        .header("authorization", format!("Bearer {key}"));
    if kind == Kind::Grpc {
        request = request.header("content-type", "application/grpc");
        request = request.header("te", "trailers");
    }
    let says = matches!(kind, Kind::Upload2 | Kind::Grpc);
    let mut sender = sender.ready().await.unwrap();
    let request = request.body(()).unwrap();
    let (answer, sending) = sender.send_request(request, !says).unwrap();
    if says {
        tokio::spawn(send_pieces(sending, pause));
    }
    let ended = stream.ended.clone();
    let end = |result: Result<(), h2::Error>| match result {
        Ok(()) => End::Complete,
        Err(error) => error.reason().map_or(End::Closed, End::Reset),
    };
    if kind.uploads() {
        tokio::spawn(async move {
            let end = end(answer.await.map(|_| ()));
            let _ = ended.set((Instant::now(), end));
        });
        return;
    }
    let answer = answer.await.unwrap();
    assert_eq!(answer.status(), 200, "{kind:?}");
    let mut body = answer.into_body();
    tokio::spawn(async move {
        let end = loop {
            match body.data().await {
                Some(Ok(piece)) => {
                    let _ = body.flow_control().release_capacity(piece.len());
                }
                Some(Err(error)) => break end(Err(error)),
                None => break end(body.trailers().await.map(|_| ())),
            }
        };
        let _ = ended.set((Instant::now(), end));
    });
}

async fn send_pieces(mut sending: SendStream<Bytes>, pause: u64) {
    // An empty message, as gRPC frames it.
    while sending
        .send_data(Bytes::from_static(&[0; 5]), false)
        .is_ok()
    {
        sleep(Duration::from_millis(pause)).await;
    }
}
