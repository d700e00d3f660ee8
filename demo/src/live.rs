//! Streams that stay open: server-sent events, a WebSocket, a download and a gRPC
//! call, so that one can see what becomes of them when the key that opened them is
//! replaced. An upload needs nothing of its own: any other path reads its body to
//! the end.
//!
//! Opening one costs a credit as any request does; what flows in it is free. All
//! take `?every=` with the pause between two pieces in milliseconds, 100 if it is
//! not said.

use std::{convert::Infallible, pin::pin, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::{
        Query, Request, State, WebSocketUpgrade,
        ws::{Message, WebSocket},
    },
    http::{HeaderMap, HeaderName, HeaderValue, header::CONTENT_TYPE},
    response::{
        IntoResponse as _, Response,
        sse::{Event, Sse},
    },
};
use futures_util::{Stream, StreamExt as _, future::ready, stream};
use http_body::Frame;
use http_body_util::StreamBody;
use serde::Deserialize;
use serde_json::json;
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};

use crate::api::{Charge, Shared};

/// A piece of the download, in bytes.
const PIECE: usize = 16 * 1024;

/// How fast pieces come.
#[derive(Deserialize)]
pub(crate) struct Pace {
    /// In milliseconds.
    #[serde(default = "default_pause")]
    every: u64,
}

fn default_pause() -> u64 {
    100
}

/// `GET /v1/events`: the receipt as event `open`, then an event `tick` with
/// its number each time, until the client leaves or the process stops.
pub(crate) async fn events(
    charge: Charge,
    Query(pace): Query<Pace>,
    State(shared): State<Shared>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let opened = Event::default()
        .event("open")
        .data(json!(charge).to_string());
    let ticks = ticks(&pace).map(|number| {
        let number = number.to_string();
        Event::default().event("tick").data(number)
    });
    let stream = stream::iter([opened])
        .chain(ticks)
        .take_until(stopped(shared.stopping))
        .map(Ok);
    Sse::new(stream)
}

/// `GET /v1/download`: 16 KiB each time, without end.
pub(crate) async fn download(
    _: Charge,
    Query(pace): Query<Pace>,
    State(shared): State<Shared>,
) -> Response {
    let pieces = ticks(&pace).map(|_| Ok::<_, Infallible>(Bytes::from_static(&[b'.'; PIECE])));
    let pieces = pieces.take_until(stopped(shared.stopping));
    Body::from_stream(pieces).into_response()
}

/// `POST /rekey.demo.Live/Watch`: a gRPC call that streams both ways. What the
/// client sends is read and dropped; it gets `message Tick { uint64 number = 1; }`
/// each time.
pub(crate) async fn watch(
    _: Charge,
    Query(pace): Query<Pace>,
    State(shared): State<Shared>,
    request: Request,
) -> Response {
    let ticks = ticks(&pace).take_until(stopped(shared.stopping));
    let messages = ticks.map(|number| Frame::data(message(number)));
    // A call that ends well says so behind its last message.
    let ok = (
        HeaderName::from_static("grpc-status"),
        HeaderValue::from_static("0"),
    );
    let frames = messages.chain(stream::iter([Frame::trailers(HeaderMap::from_iter([ok]))]));
    // Read beside it, for as long as anybody reads what is sent.
    let sent = request.into_body().into_data_stream();
    let sent = sent.filter_map(|_| ready(None));
    let frames = stream::select(frames, sent).map(Ok::<_, Infallible>);
    let body = Body::new(StreamBody::new(frames));
    ([(CONTENT_TYPE, "application/grpc")], body).into_response()
}

/// A message as gRPC frames it: not compressed, its length, and one field of
/// protobuf.
fn message(number: u64) -> Bytes {
    let mut field = vec![0x08];
    let mut rest = number;
    while rest >= 0x80 {
        field.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    field.push(rest as u8);
    [&[0, 0, 0, 0, field.len() as u8], &*field].concat().into()
}

/// `/v1/ws`: the receipt, then `{"tick":n}` each time; text and binary
/// messages come back as they are.
pub(crate) async fn websocket(
    charge: Charge,
    Query(pace): Query<Pace>,
    State(shared): State<Shared>,
    upgrade: WebSocketUpgrade,
) -> Response {
    upgrade.on_upgrade(async move |socket| {
        let receipt = json!(charge).to_string();
        // An error here is the peer's departure: there is nobody to tell.
        let _ = converse(socket, receipt, &pace, shared.stopping).await;
    })
}

async fn converse(
    mut socket: WebSocket,
    receipt: String,
    pace: &Pace,
    stopping: watch::Receiver<bool>,
) -> Result<(), axum::Error> {
    socket.send(Message::text(receipt)).await?;
    let mut ticks = pin!(ticks(pace));
    let stopped = stopped(stopping);
    tokio::pin!(stopped);
    loop {
        let answer = tokio::select! {
            () = &mut stopped => return socket.send(Message::Close(None)).await,
            Some(number) = ticks.next() => {
                Message::text(json!({ "tick": number }).to_string())
            }
            received = socket.recv() => match received {
                Some(message @ Ok(Message::Text(_) | Message::Binary(_))) => message?,
                // Pings are answered and a close is confirmed by the library.
                Some(other) => { other?; continue; }
                None => return Ok(()),
            },
        };
        socket.send(answer).await?;
    }
}

/// Numbers from 0, one each time.
fn ticks(pace: &Pace) -> impl Stream<Item = u64> + use<> {
    let mut ticker = interval(Duration::from_millis(pace.every.clamp(1, 60_000)));
    // A client that was slow is not owed the ticks it missed.
    ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
    stream::unfold((ticker, 0), |(mut ticker, number)| async move {
        ticker.tick().await;
        Some((number, (ticker, number + 1)))
    })
}

/// Ends when the process is told to stop.
async fn stopped(mut stopping: watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stop| *stop).await;
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::Request};
    use futures_util::{SinkExt as _, StreamExt as _};
    use http_body_util::BodyExt as _;
    use tokio::net::TcpListener;
    use tokio_tungstenite::{connect_async, tungstenite};
    use tower::ServiceExt as _;

    use super::*;
    use crate::api::router;

    #[tokio::test]
    async fn events_open_with_the_receipt_tick_and_end_on_stop() {
        let (stop, stopping) = watch::channel(false);
        let request = Request::builder()
            .uri("/v1/events")
            .header("x-rekey-user", "u_1")
            .body(Body::empty())
            .unwrap();
        let response = router(stopping).oneshot(request).await.unwrap();
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let mut frames = response.into_body().into_data_stream();
        let open = frames.next().await.unwrap().unwrap();
        assert!(
            open.starts_with(b"event: open\ndata: {\"credits_left\":999"),
            "{open:?}"
        );
        for number in 0..2 {
            let tick = frames.next().await.unwrap().unwrap();
            assert_eq!(tick, format!("event: tick\ndata: {number}\n\n"));
        }
        stop.send_replace(true);
        assert!(frames.next().await.is_none());
    }

    #[tokio::test]
    async fn a_download_has_no_end_but_on_stop() {
        let (stop, stopping) = watch::channel(false);
        let request = Request::builder().uri("/v1/download?every=1");
        let request = request.body(Body::empty()).unwrap();
        let response = router(stopping).oneshot(request).await.unwrap();
        let mut frames = response.into_body().into_data_stream();
        for _ in 0..3 {
            assert_eq!(frames.next().await.unwrap().unwrap().len(), PIECE);
        }
        stop.send_replace(true);
        assert!(frames.next().await.is_none());
    }

    #[tokio::test]
    async fn a_call_streams_messages_and_ends_with_its_status() {
        let (stop, stopping) = watch::channel(false);
        let request = Request::post("/rekey.demo.Live/Watch?every=1");
        let request = request.body(Body::from("ignored")).unwrap();
        let response = router(stopping).oneshot(request).await.unwrap();
        assert_eq!(response.headers()["content-type"], "application/grpc");
        let mut body = response.into_body();
        for number in 0..300_u64 {
            let frame = body.frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), message(number));
        }
        assert_eq!(&*message(300), [0, 0, 0, 0, 3, 0x08, 0xac, 0x02]);
        stop.send_replace(true);
        let trailers = body.frame().await.unwrap().unwrap().into_trailers();
        assert_eq!(trailers.unwrap()["grpc-status"], "0");
        assert!(body.frame().await.is_none());
    }

    #[tokio::test]
    async fn websocket_ticks_echoes_and_closes_on_stop() {
        let (stop, stopping) = watch::channel(false);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/v1/ws", listener.local_addr().unwrap());
        tokio::spawn(axum::serve(listener, router(stopping)).into_future());

        let (mut socket, _) = connect_async(url).await.unwrap();
        let receipt = socket.next().await.unwrap().unwrap();
        assert!(receipt.to_text().unwrap().contains("anonymous"));
        let hello = tungstenite::Message::text("hello");
        socket.send(hello.clone()).await.unwrap();
        let (mut ticked, mut echoed) = (false, false);
        while !(ticked && echoed) {
            let message = socket.next().await.unwrap().unwrap();
            ticked |= message.to_text().unwrap() == r#"{"tick":0}"#;
            echoed |= message == hello;
        }
        stop.send_replace(true);
        while !socket.next().await.unwrap().unwrap().is_close() {}
    }
}
