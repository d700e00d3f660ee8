//! Accepts connections and serves them in the versions of HTTP that are asked for.

use axum::{Router, body::Body, http::Request};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::{conn::auto::Builder, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tower::ServiceExt as _;

/// The versions of HTTP that are spoken, in clear text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Versions {
    /// HTTP/1.1 only, as most APIs do.
    Http1,
    /// HTTP/1.1, and HTTP/2 with prior knowledge.
    All,
}

/// Serves until `stopping` turns true, and then until all requests in flight are
/// answered.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    versions: Versions,
    mut stopping: watch::Receiver<bool>,
) {
    let connections = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopping.wait_for(|stop| *stop) => break,
        };
        // Such as a client that left again, or no file descriptor: the next may do.
        let Ok((stream, _)) = accepted else { continue };
        let service = router
            .clone()
            .map_request(|request: Request<_>| request.map(Body::new));
        let watcher = connections.watcher();
        tokio::spawn(async move {
            // The builder's own `http1_only` is ignored where upgrades are served.
            if versions == Versions::Http1 && begins_as_http2(&stream).await {
                return;
            }
            let builder = Builder::new(TokioExecutor::new());
            let (stream, service) = (TokioIo::new(stream), TowerToHyperService::new(service));
            let connection = builder.serve_connection_with_upgrades(stream, service);
            // An error is the peer's departure: there is nobody to tell.
            drop(watcher.watch(connection).await);
        });
    }
    drop(listener);
    connections.shutdown().await;
}

/// Whether the client speaks HTTP/2 with prior knowledge: the first bytes of its
/// preface (RFC 9113, 3.4) are no method of HTTP/1.1.
async fn begins_as_http2(stream: &TcpStream) -> bool {
    let mut begin = [0; 3];
    let read = stream.peek(&mut begin).await;
    read.is_ok() && begin == *b"PRI"
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// What a client reads that begins with the preface of HTTP/2 (RFC 9113, 3.4).
    async fn answer_to_preface(versions: Versions) -> Vec<u8> {
        let (_stop, stopping) = watch::channel(false);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        tokio::spawn(serve(listener, Router::new(), versions, stopping));
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
        client.write_all(preface).await.unwrap();
        let mut begin = vec![0; 9];
        // A connection that is closed with bytes unread is reset.
        let read = client.read(&mut begin).await.unwrap_or_default();
        begin.truncate(read);
        begin
    }

    #[tokio::test]
    async fn an_api_of_http_1_knows_no_other() {
        let settings = answer_to_preface(Versions::All).await;
        assert_eq!(settings.get(3), Some(&4), "a frame of settings");
        let refused = answer_to_preface(Versions::Http1).await;
        assert!(
            refused.is_empty() || refused.starts_with(b"HTTP/1.1 "),
            "{refused:?}"
        );
    }
}
