//! The demo upstream: what the gateways stand in front of.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use serde::Deserialize;

use crate::{Artifacts, Port, Process, http};

const READY_LIMIT: Duration = Duration::from_secs(60);

/// A running demo upstream. `process` has its life and its log.
#[derive(Debug)]
pub struct Upstream {
    /// Pid, signals, end, log.
    pub process: Process,
    folder: PathBuf,
    port: Port,
    versions: HttpVersions,
}

/// What the upstream speaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum HttpVersions {
    /// HTTP/1.1 only, as most APIs do.
    Http1,
    /// HTTP/2 too, and so gRPC.
    #[default]
    All,
}

/// Its answer to a metered request: what reached it through the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Received {
    /// Who pays: the value of `x-rekey-user`, or `anonymous`.
    pub user: String,
    /// What is left; none for `anonymous`.
    pub credits_left: Option<i64>,
    /// The request's method.
    pub method: String,
    /// Its path without the query string.
    pub path: String,
    /// Its query string.
    #[serde(default)]
    pub query: Option<String>,
    /// The length of its body.
    pub body_bytes: u64,
    /// All its headers in the order of arrival; of `/v1/echo` only.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// What came behind its body; of `/v1/echo` only.
    #[serde(default)]
    pub trailers: Vec<(String, String)>,
}

impl Upstream {
    /// Starts one and waits until it serves. Its files are in
    /// `<run_dir>/upstream`.
    ///
    /// # Errors
    /// It cannot be built, or does not become ready: then with the end of its
    /// log.
    pub fn start(run_dir: &Path, versions: HttpVersions) -> anyhow::Result<Self> {
        let folder = run_dir.join("upstream");
        fs::create_dir_all(&folder)?;
        let port = Port::free()?;
        Ok(Self {
            process: spawn(&folder, &port, versions)?,
            folder,
            port,
            versions,
        })
    }

    /// Stops it and starts it again on the same port, all balances forgotten.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.process.terminate()?;
        self.process = spawn(&self.folder, &self.port, self.versions)?;
        Ok(())
    }

    /// `http://127.0.0.1:port`.
    pub fn url(&self) -> String {
        self.port.url()
    }

    /// The same, for a socket.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// All balances, asked directly.
    ///
    /// # Errors
    /// It does not answer.
    pub fn ledger(&self) -> anyhow::Result<BTreeMap<String, i64>> {
        http::get_json(&format!("{}/demo/ledger", self.url()))
    }
}

fn spawn(folder: &Path, port: &Port, versions: HttpVersions) -> anyhow::Result<Process> {
    let ready = folder.join("ready.json");
    let _ = fs::remove_file(&ready);
    let mut command = Command::new(Artifacts::obtain()?.built.demo);
    // The API behind the gateway is to know no secret of Rekey's.
    for variable in [
        "REKEY_STORE_TOKEN",
        "REKEY_ADMIN_TOKEN",
        "REKEY_CHECKSUM_SECRET",
    ] {
        command.env_remove(variable);
    }
    command.args(["--listen", &port.address().to_string()]);
    if versions == HttpVersions::Http1 {
        command.arg("--http1-only");
    }
    command.arg("--ready-file").arg(&ready);
    let process = Process::spawn("the upstream", command, &folder.join("upstream.log"))?;
    process.wait_until_ready(READY_LIMIT, || ready.exists())?;
    Ok(process)
}
