//! Accepts connections and serves them in the versions of HTTP that are asked for.

use axum::{Router, body::Body, http::Request};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::{conn::auto::Builder, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, sync::watch};
use tower::ServiceExt as _;

/// The versions of HTTP that are spoken, in clear text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Versions {
    /// HTTP/1.1 only, as most APIs do.
    Http1,
    /// HTTP/1.1, and HTTP/2 with prior knowledge.
    All,
}

/// Serves until `stopping` turns true, and then until all requests in flight are
/// answered.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    versions: Versions,
    mut stopping: watch::Receiver<bool>,
) {
    let builder = Builder::new(TokioExecutor::new());
    let builder = match versions {
        Versions::Http1 => builder.http1_only(),
        Versions::All => builder,
    };
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
        let connection = builder.serve_connection_with_upgrades(
            TokioIo::new(stream),
            TowerToHyperService::new(service),
        );
        let connection = connections.watch(connection.into_owned());
        // An error is the peer's departure: there is nobody to tell.
        tokio::spawn(async move { drop(connection.await) });
    }
    drop(listener);
    connections.shutdown().await;
}
