//! Simulated gateways: each polls the store's change feed on a connection of
//! its own, and acknowledges at once, as a gateway does that has nothing else
//! to do.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, ensure};
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use rekey_testbed::{Store, random, until};
use serde_json::{Value, json};
use tokio::{net::TcpStream, runtime::Runtime};

/// How long all of them may take to be taken in.
const PATIENCE: Duration = Duration::from_secs(60);
/// They connect so many at a time: a listener's backlog is short.
const AT_A_TIME: usize = 100;

/// Gateways that poll until this is dropped.
pub(crate) struct Swarm {
    counts: Arc<Counts>,
    runtime: Option<Runtime>,
}

#[derive(Default)]
struct Counts {
    /// Gateways that hold a lease, or held one.
    leased: AtomicUsize,
    /// Gateways that gave up, which is a failure of the bench.
    ended: AtomicUsize,
    polls: AtomicU64,
}

impl Swarm {
    /// Starts so many, and returns when each has a lease.
    ///
    /// # Errors
    /// One of them was refused or cannot connect.
    pub(crate) fn start(store: &Store, count: usize, lease_ms: u32) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let counts = Arc::<Counts>::default();
        let token = Arc::<str>::from(store.options.secrets.store_token.as_str());
        let swarm = Self {
            counts: Arc::clone(&counts),
            runtime: Some(runtime),
        };
        for first in (0..count).step_by(AT_A_TIME) {
            let upto = count.min(first + AT_A_TIME);
            for _ in first..upto {
                swarm.add(store.address(), Arc::clone(&token), lease_ms)?;
            }
            until("leases of all simulated gateways", PATIENCE, || {
                swarm.check()?;
                let leased = counts.leased.load(Ordering::Relaxed);
                Ok((leased >= upto).then_some(()))
            })?;
        }
        Ok(swarm)
    }

    fn add(&self, store: SocketAddr, token: Arc<str>, lease_ms: u32) -> anyhow::Result<()> {
        let counts = Arc::clone(&self.counts);
        let id = random::hex(16)?;
        let runtime = self.runtime.as_ref().context("the swarm has ended")?;
        runtime.spawn(async move {
            let mut gateway = Gateway {
                token,
                id,
                lease_ms,
                counts,
            };
            if let Err(error) = gateway.follow(store).await {
                eprintln!("a simulated gateway: {error:#}");
                gateway.counts.ended.fetch_add(1, Ordering::Relaxed);
            }
        });
        Ok(())
    }

    /// How many polls were answered.
    pub(crate) fn polls(&self) -> u64 {
        self.counts.polls.load(Ordering::Relaxed)
    }

    /// An error if one of them has given up.
    ///
    /// # Errors
    /// One has.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let ended = self.counts.ended.load(Ordering::Relaxed);
        ensure!(ended == 0, "{ended} simulated gateways gave up");
        Ok(())
    }
}

impl Drop for Swarm {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

struct Gateway {
    token: Arc<str>,
    id: String,
    lease_ms: u32,
    counts: Arc<Counts>,
}

impl Gateway {
    /// Polls for ever.
    async fn follow(&mut self, store: SocketAddr) -> anyhow::Result<()> {
        let stream = TcpStream::connect(store).await?;
        stream.set_nodelay(true)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let mut cursor = Value::Null;
        let mut is_leased = false;
        for poll in 1_u64.. {
            sender.ready().await?;
            let answer = sender.send_request(self.request(poll, &cursor)?).await?;
            let status = answer.status();
            let body = answer.into_body().collect().await?.to_bytes();
            ensure!(
                status == 200,
                "{status}: {}",
                String::from_utf8_lossy(&body)
            );
            let mut answer: Value = serde_json::from_slice(&body)?;
            let granted = answer["granted_ms"].as_u64().unwrap_or_default();
            ensure!(granted > 0, "no lease: {answer}");
            cursor = answer["cursor"].take();
            self.counts.polls.fetch_add(1, Ordering::Relaxed);
            if !is_leased {
                is_leased = true;
                self.counts.leased.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    fn request(&self, poll: u64, cursor: &Value) -> anyhow::Result<Request<Full<Bytes>>> {
        let mut body = json!({ "gateway": self.id, "lease_ms": self.lease_ms, "poll": poll });
        if !cursor.is_null() {
            body["cursor"] = cursor.clone();
        }
        let request = Request::post("/v1/feed")
            .header("host", "store")
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/json");
        Ok(request.body(Full::from(body.to_string()))?)
    }
}
