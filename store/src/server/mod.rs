//! `rekey-store serve`: puts the parts together, waits for a signal, takes
//! them apart again.

pub mod config;
pub mod log;
pub mod published;
pub mod strangers;

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use axum::Router;
use axum::serve::ListenerExt;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use self::config::{ServeArgs, ServeSecrets};
use self::published::Secrecy;
use crate::accounts::password::Passwords;
use crate::dashboard::{DashboardArgs, DashboardParts, DashboardSettings};
use crate::engine::serve::{EngineSettings, Ownership};
use crate::http::Services;
use crate::keystore::issue::Issuer;
use crate::keystore::{Running, Store};
use crate::metrics::Metrics;
use crate::{crash, dashboard, http};

/// Connections that the kernel holds until they are accepted.
const BACKLOG: u32 = 1024;
/// How long requests in flight may take to end after a signal.
const DRAIN: Duration = Duration::from_secs(10);

/// Runs the store until SIGTERM or SIGINT.
pub fn run(args: &ServeArgs) -> anyhow::Result<()> {
    let secrets = ServeSecrets::from_env(args.gateway_token())?;
    if !args.demo {
        let listeners = [
            ("--listen", Some(args.listen)),
            ("--admin-listen", Some(args.admin_listen)),
            ("--dashboard-listen", args.dashboard.dashboard_listen),
        ];
        for (flag, address) in listeners {
            address.map_or(Ok(()), |address| secrets.published.check(flag, address))?;
        }
    }
    crash::check().map_err(anyhow::Error::msg)?;
    log::start()?;
    secrets.published.warn();
    raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let result = runtime.block_on(serve(args, secrets));
    // What did not end in time is left behind, not waited for.
    runtime.shutdown_background();
    result
}

/// A connection is an open file, and the usual soft limit of 1024 is for
/// programs that cannot count further.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, ?limit, "the limit of open files stays as it is");
    }
}

async fn serve(args: &ServeArgs, secrets: ServeSecrets) -> anyhow::Result<()> {
    // First of all: from here on a signal is a request, and as the first
    // process of a container we would not even die of one without.
    let signals = Signals::new()?;
    let gateway = bind(args.listen, "--listen")?;
    let admin = bind(args.admin_listen, "--admin-listen")?;
    let dashboard = DashboardListener::bind(&args.dashboard, secrets.published.secrecy())?;
    let metrics = Arc::new(Metrics::new());
    let settings = EngineSettings {
        place: args.location(&secrets),
        older_data: args.older_data(),
        replays: args.replays(),
        interval: args.rotation_interval,
        metrics: metrics.clone(),
    };
    let Running { store, ownership } = Store::start(settings)
        .await
        .with_context(|| args.database.to_string())?;
    let services = Services {
        passwords: Passwords::new(metrics.clone())?,
        issuer: Issuer::new(secrets.checksum, store.feed().clone()),
        store,
        metrics,
    };
    let (stop, stopped) = watch::channel(false);
    let dashboard_url = dashboard.as_ref().map(DashboardListener::url);
    let dashboard =
        dashboard.map(|dashboard| in_background(dashboard.serve(&services, stopped.clone())));
    let store = services.store.clone();
    let routers = http::routers(services, secrets.tokens)?;
    let urls = Urls {
        listen: gateway.url,
        admin: admin.url,
        dashboard: dashboard_url,
    };
    let gateway = accept(gateway.listener, routers.gateway, stopped.clone());
    let admin = accept(admin.listener, routers.admin, stopped);
    if let Some(path) = &args.ready_file {
        write_ready(path, &urls)?;
    }
    tracing::info!(?urls, database = %args.database, "ready");
    until_end(signals, store, ownership, stop, async move {
        let dashboard = async {
            match dashboard {
                Some(dashboard) => dashboard.await,
                None => Ok(()),
            }
        };
        let (gateway, admin, dashboard) = tokio::join!(gateway, admin, dashboard);
        gateway.and(admin).and(dashboard)
    })
    .await
}

/// Where the listeners are, as the ready file has it.
#[derive(Debug, Serialize)]
struct Urls {
    listen: String,
    admin: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    dashboard: Option<String>,
}

/// The dashboard's listener, if one is wanted.
struct DashboardListener {
    listener: TcpListener,
    settings: DashboardSettings,
}

impl DashboardListener {
    fn bind(args: &DashboardArgs, secrecy: Secrecy) -> anyhow::Result<Option<Self>> {
        let Some(address) = args.dashboard_listen else {
            return Ok(None);
        };
        let listener = bind(address, "--dashboard-listen")?.listener;
        let settings = DashboardSettings::new(args, listener.local_addr()?, secrecy)?;
        Ok(Some(Self { listener, settings }))
    }

    fn url(&self) -> String {
        self.settings.origin.as_str().to_owned()
    }

    /// Serves it until told to stop.
    fn serve(
        self,
        services: &Services,
        stopped: watch::Receiver<bool>,
    ) -> impl Future<Output = ()> + Send + use<> {
        let Services {
            store,
            metrics,
            issuer,
            passwords,
        } = services.clone();
        let router = dashboard::router(DashboardParts {
            store,
            metrics,
            issuer,
            passwords,
            settings: self.settings,
            stopping: stopped.clone(),
        });
        strangers::serve(self.listener, router, stopped)
    }
}

/// A listener that is not served yet.
struct Bound {
    listener: TcpListener,
    /// With the port that it got.
    url: String,
}

fn bind(address: SocketAddr, flag: &str) -> anyhow::Result<Bound> {
    let listener = listen(address)
        .with_context(|| format!("cannot listen on {address}; choose another {flag}"))?;
    let url = format!("http://{}", listener.local_addr()?);
    Ok(Bound { listener, url })
}

/// With room for a burst of new connections: each gateway opens as many as it
/// has calls under way, and gives one up after half a second.
fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves a listener of our own callers in the background until told to stop.
/// There is no time-out on idle connections: a gateway's pool would sometimes
/// send a request into a connection that closes, and could not know its fate.
async fn accept(
    listener: TcpListener,
    router: Router,
    mut stopped: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "no TCP_NODELAY");
        }
    });
    let server = axum::serve(listener, router).with_graceful_shutdown(async move {
        let _ = stopped.wait_for(|stopped| *stopped).await;
    });
    let served = in_background(server.into_future()).await?;
    served.context("a listener failed")
}

/// From now on, whether or not anybody waits.
async fn in_background<T: Send + 'static>(
    listener: impl Future<Output = T> + Send + 'static,
) -> anyhow::Result<T> {
    let task = tokio::spawn(listener);
    task.await.context("a listener's task failed")
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// The next one's name.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

async fn until_end(
    mut signals: Signals,
    store: Store,
    ownership: Ownership,
    stop: watch::Sender<bool>,
    listeners: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let mut listeners = pin!(listeners);
    let name = tokio::select! {
        name = signals.next() => name,
        result = &mut listeners => return result.and_then(|()| bail!("the listeners ended")),
        // S10: nothing more is answered, and the data is left to the next owner.
        end = ownership.ended => return Err(end.into()),
    };
    tracing::info!("{name}: finishing what is under way; a second signal ends at once");
    tokio::spawn(async move {
        signals.next().await;
        std::process::exit(1);
    });
    let _ = stop.send(true);
    match tokio::time::timeout(DRAIN, listeners).await {
        Ok(result) => result?,
        Err(_) => tracing::warn!("some requests took over {DRAIN:?}; their connections are cut"),
    }
    store.stop().await;
    ownership.release.await?;
    tracing::info!("stopped");
    Ok(())
}

/// Writes the file whole or not at all: who waits for it never sees a part.
fn write_ready(path: &Path, urls: &Urls) -> anyhow::Result<()> {
    let write = || -> anyhow::Result<()> {
        let folder = match path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        writeln!(file, "{}", serde_json::to_string(urls)?)?;
        file.persist(path)?;
        Ok(())
    };
    write().with_context(|| format!("cannot write the ready file {}", path.display()))
}
