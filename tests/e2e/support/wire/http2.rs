//! An HTTP/2 connection (prior knowledge), stream by stream: what a client
//! sees that sends a body which nobody reads.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::time::Duration;

use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, SendStream};
use hyper::body::Bytes;
use hyper::{HeaderMap, Request, StatusCode};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::timeout;

/// No answer takes longer here.
const PATIENCE: Duration = Duration::from_secs(15);

/// What is sent behind the headers.
#[derive(Clone)]
pub(crate) enum Body {
    /// Nothing; the headers end the stream.
    None,
    /// This, and the end of the stream.
    Whole(Bytes),
    /// This, and no end: the stream stays open until the peer ends it.
    Unfinished(Bytes),
    /// This, and these headers behind it, which end the stream.
    WithTrailers(Bytes, HeaderMap),
}

/// One connection.
pub(crate) struct Http2 {
    runtime: Runtime,
    sender: SendRequest<Bytes>,
    patience: Duration,
}

/// An answer that was received to the end of its stream.
#[derive(Debug)]
pub(crate) struct Http2Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body; bytes that are not UTF-8 are replaced.
    pub body: String,
    /// How the peer ended the client's direction of [`Body::Unfinished`].
    pub reset: Option<Reason>,
}

impl Http2Answer {
    /// A header's value; empty if there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap_or_default())
    }
}

impl Http2 {
    /// Connects.
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let sender = runtime.block_on(async {
            let stream = TcpStream::connect(address).await.unwrap();
            let (sender, connection) = h2::client::handshake(stream).await.unwrap();
            tokio::spawn(connection);
            sender
        });
        Self {
            runtime,
            sender,
            patience: PATIENCE,
        }
    }

    /// The same connection, on which an answer may take so long.
    pub(crate) fn patient(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Panics
    /// The connection or the stream broke before the answer's end.
    pub(crate) fn exchange(&self, request: Request<()>, body: Body) -> Http2Answer {
        self.exchange_all(vec![(request, body)]).remove(0)
    }

    /// Begins a request, and leaves what becomes of it to the caller.
    pub(crate) fn begin(&self, request: Request<()>, body: Body) -> Begun<'_> {
        let (answer, stream) = self
            .runtime
            .block_on(send(self.sender.clone(), request, body));
        Begun {
            http2: self,
            answer,
            stream,
        }
    }

    /// Sends all requests before it waits for any answer.
    ///
    /// # Panics
    /// As [`Self::exchange`].
    pub(crate) fn exchange_all(&self, requests: Vec<(Request<()>, Body)>) -> Vec<Http2Answer> {
        self.runtime.block_on(async {
            let sent: Vec<_> = requests
                .into_iter()
                .map(|(request, body)| {
                    let exchange = exchange(self.sender.clone(), request, body);
                    tokio::spawn(timeout(self.patience, exchange))
                })
                .collect();
            let mut answers = Vec::new();
            for answer in sent {
                answers.push(answer.await.expect("an answer").expect("an answer in time"));
            }
            answers
        })
    }
}

/// A request under way.
pub(crate) struct Begun<'a> {
    http2: &'a Http2,
    answer: ResponseFuture,
    stream: SendStream<Bytes>,
}

impl Begun<'_> {
    /// Waits for the head of its answer, and reads nothing behind it.
    ///
    /// # Panics
    /// There is none.
    pub(crate) fn wait_for_head(&mut self) -> StatusCode {
        let answer = &mut self.answer;
        let head = async { timeout(PATIENCE, answer).await };
        let head = self.http2.runtime.block_on(head);
        head.expect("an answer in time")
            .expect("an answer")
            .status()
    }

    /// Ends the stream (`RST_STREAM`, `CANCEL`), whatever is under way on it.
    pub(crate) fn reset(mut self) {
        self.stream.send_reset(Reason::CANCEL);
    }
}

async fn send(
    sender: SendRequest<Bytes>,
    request: Request<()>,
    body: Body,
) -> (ResponseFuture, SendStream<Bytes>) {
    let mut sender = sender.ready().await.expect("the connection lives");
    let ends = matches!(body, Body::None);
    let (answer, mut stream) = sender
        .send_request(request, ends)
        .expect("the request is sent");
    // An error here: the peer has ended the stream already, and its answer is
    // still to be read.
    match body {
        Body::None => {}
        Body::Whole(bytes) => drop(stream.send_data(bytes, true)),
        Body::Unfinished(bytes) => drop(stream.send_data(bytes, false)),
        Body::WithTrailers(bytes, trailers) => {
            let _ = stream.send_data(bytes, false);
            let _ = stream.send_trailers(trailers);
        }
    }
    (answer, stream)
}

async fn exchange(sender: SendRequest<Bytes>, request: Request<()>, body: Body) -> Http2Answer {
    let unfinished = matches!(body, Body::Unfinished(_));
    let (answer, stream) = send(sender, request, body).await;
    receive(answer, stream, unfinished).await
}

async fn receive(
    answer: ResponseFuture,
    mut stream: SendStream<Bytes>,
    unfinished: bool,
) -> Http2Answer {
    let (head, mut received) = answer.await.expect("the head of an answer").into_parts();
    let mut body = Vec::new();
    while let Some(piece) = received.data().await {
        let piece = piece.expect("the body to its end");
        let _ = received.flow_control().release_capacity(piece.len());
        body.extend(piece);
    }
    let reset = if unfinished {
        poll_fn(|cx| stream.poll_reset(cx)).await.ok()
    } else {
        None
    };
    Http2Answer {
        status: head.status,
        headers: head.headers,
        body: String::from_utf8_lossy(&body).into_owned(),
        reset,
    }
}
