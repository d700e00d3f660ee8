//! Serves HTTP to strangers: the dashboard's listener is the one that anybody
//! may reach, so a connection costs them more than it costs us. It ends when it
//! has nothing to say, there are only so many at a time, and none holds up the
//! end of the store.
//!
//! HTTP/1.1 only, which is what browsers and proxies speak to a listener
//! without TLS.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderValue, Request, Response, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

/// Connections at a time; more wait in the backlog. Few against the open files
/// that a process may have, for gateways need those, too.
const MAX: u32 = 256;
/// How long a request's head may take, from the connection's beginning or the
/// answer before it: so an idle connection lasts no longer either.
const HEAD: Duration = Duration::from_secs(10);
/// The largest head, in bytes.
const HEAD_MAX: usize = 16 * 1024;
/// How old a connection may get: the next answer says that it is the last.
const AGE: Duration = Duration::from_secs(300);
/// How long after that age it is cut: a request may wait for a lease, but whoever
/// sends requests and reads no answers would keep a connection for ever.
const LONGEST: Duration = Duration::from_secs(120);
/// When the store is stopped, a head may still come in for so long …
const LAST_HEAD: Duration = Duration::from_millis(500);
/// … and an answer may leave for so much longer.
const LAST_ANSWER: Duration = Duration::from_millis(1500);
/// After a failed accept, which is for lack of something that comes back.
const PAUSE: Duration = Duration::from_millis(100);
/// One log line in so long, whatever strangers do.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// Serves the listener until told to stop, and returns when the last of its
/// connections has ended, which is 2 s later at most.
pub async fn serve(listener: TcpListener, router: Router, mut stopped: watch::Receiver<bool>) {
    let router = TowerToHyperService::new(router);
    let room = Arc::new(Semaphore::new(MAX as usize));
    let mut told = Told(None);
    loop {
        let next = async {
            if room.available_permits() == 0 && told.is_due() {
                tracing::warn!("{MAX} connections to the dashboard; more have to wait");
            }
            let place = room.clone().acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            next = next => next,
            _ = stopped.wait_for(|stopped| *stopped) => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                let connection = connection(stream, peer, router.clone(), stopped.clone());
                tokio::spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            Err(error) => {
                if told.is_due() {
                    tracing::error!(%error, "cannot accept connections to the dashboard");
                }
                sleep(PAUSE).await;
            }
        }
    }
    drop(listener);
    let _ = room.acquire_many(MAX).await;
}

/// How a connection does.
struct Course {
    began: Instant,
    /// Whether a request is being answered.
    is_busy: AtomicBool,
}

/// Serves one connection to its end.
async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: TowerToHyperService<Router>,
    mut stopped: watch::Receiver<bool>,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    let course = Course {
        began: Instant::now(),
        is_busy: AtomicBool::new(false),
    };
    let service = service_fn(|request| answer(&router, request, peer, &course));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    tokio::select! {
        // How strangers end is no news.
        _ = connection.as_mut() => return,
        () = sleep(AGE + LONGEST) => return,
        _ = stopped.wait_for(|stopped| *stopped) => {}
    }
    connection.as_mut().graceful_shutdown();
    let ended = timeout(LAST_HEAD, connection.as_mut()).await;
    if ended.is_err() && course.is_busy.load(Ordering::Relaxed) {
        let _ = timeout(LAST_ANSWER, connection).await;
    }
}

/// Answers one request, as `axum::serve` would.
async fn answer(
    router: &TowerToHyperService<Router>,
    request: Request<Incoming>,
    peer: SocketAddr,
    course: &Course,
) -> Result<Response<Body>, Infallible> {
    course.is_busy.store(true, Ordering::Relaxed);
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(ConnectInfo(peer));
    let mut answer = router.call(request).await?;
    course.is_busy.store(false, Ordering::Relaxed);
    if course.began.elapsed() >= AGE {
        let close = HeaderValue::from_static("close");
        answer.headers_mut().insert(header::CONNECTION, close);
    }
    Ok(answer)
}

/// When something was last logged.
struct Told(Option<Instant>);

impl Told {
    /// Whether it may be logged again, which counts as done.
    fn is_due(&mut self) -> bool {
        let is_due = self.0.is_none_or(|last| last.elapsed() >= LOG_EVERY);
        if is_due {
            self.0 = Some(Instant::now());
        }
        is_due
    }
}
