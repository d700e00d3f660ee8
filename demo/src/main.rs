//! `rekey-demo`: a small metered API to put behind a gateway with Rekey.
//!
//! Every request costs the user named in `x-rekey-user` one credit, so that
//! "regenerating a key costs no credits" can be seen and not only claimed. It
//! believes that header as any upstream behind the gateway would, knows no API
//! key and no key store, and forgets all balances when it stops.

mod api;
mod ledger;
mod live;
mod report;
mod serve;

use std::{
    io::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use clap::Parser;
use serve::Versions;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
    time::timeout,
};

/// How long requests in flight may take once the process is told to stop.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(2);

/// A metered demo API: one credit per request for the user in `x-rekey-user`.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:9000")]
    listen: SocketAddr,
    /// Speak HTTP/1.1 only, as most APIs do; gRPC is not possible then.
    #[arg(long)]
    http1_only: bool,
    /// Written once connections are accepted: {"listen":"http://…"}.
    #[arg(long, value_name = "PATH")]
    ready_file: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;

    let listener = TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("cannot listen on {}", args.listen))?;
    let listen = format!("http://{}", listener.local_addr()?);
    if let Some(path) = &args.ready_file {
        write_ready_file(path, &listen)
            .with_context(|| format!("cannot write the ready file {}", path.display()))?;
    }
    eprintln!("rekey-demo listens on {listen}");

    // Open event streams end when this turns true; without it a graceful
    // shutdown would wait for them for ever.
    let (stop, stopping) = watch::channel(false);
    let versions = if args.http1_only {
        Versions::Http1
    } else {
        Versions::All
    };
    let router = api::router(stopping.clone());
    let mut server = tokio::spawn(serve::serve(listener, router, versions, stopping));
    tokio::select! {
        ended = &mut server => ended?,
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    stop.send_replace(true);
    if timeout(SHUTDOWN_PATIENCE, server).await.is_err() {
        eprintln!("rekey-demo stops with requests still open");
    }
    Ok(())
}

/// Writes beside the target and renames, so that whoever waits for the file
/// never reads half of it.
fn write_ready_file(path: &Path, listen: &str) -> anyhow::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    writeln!(file, "{}", serde_json::json!({ "listen": listen }))?;
    file.persist(path)?;
    Ok(())
}
