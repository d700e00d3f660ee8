//! Streams that stay open: server-sent events and a WebSocket, so that one can
//! see what becomes of them when the key that opened them is replaced.
//!
//! Opening one costs a credit as any request does; what flows in it is free.

use std::{convert::Infallible, time::Duration};

use axum::{
    extract::{
        State, WebSocketUpgrade,
        ws::{Message, WebSocket},
    },
    response::{
        Response,
        sse::{Event, Sse},
    },
};
use futures_util::{Stream, StreamExt as _, stream};
use serde_json::json;
use tokio::{
    sync::watch,
    time::{Interval, MissedTickBehavior, interval},
};

use crate::api::{Charge, Shared};

const TICK: Duration = Duration::from_millis(100);

/// `GET /v1/events`: the receipt as event `open`, then an event `tick` with
/// its number each 100 ms, until the client leaves or the process stops.
pub async fn events(
    charge: Charge,
    State(shared): State<Shared>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let opened = Event::default()
        .event("open")
        .data(json!(charge).to_string());
    let ticks = stream::unfold((ticker(), 0_u64), |(mut ticker, number)| async move {
        ticker.tick().await;
        let tick = Event::default().event("tick").data(number.to_string());
        Some((tick, (ticker, number + 1)))
    });
    let stream = stream::iter([opened])
        .chain(ticks)
        .take_until(stopped(shared.stopping))
        .map(Ok);
    Sse::new(stream)
}

/// `/v1/ws`: the receipt, then `{"tick":n}` each 100 ms; text and binary
/// messages come back as they are.
pub async fn websocket(
    charge: Charge,
    State(shared): State<Shared>,
    upgrade: WebSocketUpgrade,
) -> Response {
    upgrade.on_upgrade(async move |socket| {
        let receipt = json!(charge).to_string();
        // An error here is the peer's departure: there is nobody to tell.
        let _ = converse(socket, receipt, shared.stopping).await;
    })
}

async fn converse(
    mut socket: WebSocket,
    receipt: String,
    stopping: watch::Receiver<bool>,
) -> Result<(), axum::Error> {
    socket.send(Message::text(receipt)).await?;
    let mut ticker = ticker();
    let mut number = 0_u64;
    let stopped = stopped(stopping);
    tokio::pin!(stopped);
    loop {
        let answer = tokio::select! {
            () = &mut stopped => return socket.send(Message::Close(None)).await,
            _ = ticker.tick() => {
                let tick = json!({ "tick": number });
                number += 1;
                Message::text(tick.to_string())
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

fn ticker() -> Interval {
    let mut ticker = interval(TICK);
    // A client that was slow is not owed the ticks it missed.
    ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticker
}

/// Ends when the process is told to stop.
async fn stopped(mut stopping: watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stop| *stop).await;
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::Request};
    use futures_util::{SinkExt as _, StreamExt as _};
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
