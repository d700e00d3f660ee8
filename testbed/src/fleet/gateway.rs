//! One gateway: a real Envoy with the filter.

use std::{
    collections::BTreeMap,
    fmt, fs,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use serde_json::Value;

use crate::{
    Artifacts, EnvoyConfig, Port, Process, Secrets,
    fleet::envoy_config::{
        API_CLUSTER, FEED_CLUSTER, GRPC_CLUSTER, ROTATION_CLUSTER, STORE_CLUSTER,
    },
    http, workspace,
};

/// Compiling the filter takes a good second, and tests share their machine.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// Any change of Envoy's configuration, done last.
pub type Edit = Arc<dyn Fn(&mut Value) -> anyhow::Result<()> + Send + Sync>;

/// What becomes of a gateway that is told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// Envoy is [`Gateway::process`] itself, and ends at once.
    AtOnce,
    /// The process is deploy/gateway.sh, as in the image, and Envoy is its
    /// child: it drains. A second signal ends it at once.
    Drain {
        /// How long it goes on while its health path says 503.
        notice: Duration,
        /// How long what is open may take after that.
        grace: Duration,
    },
}

/// How a gateway is started.
#[derive(Clone)]
pub struct GatewayOptions {
    /// Names its folder below the run directory, and itself in messages.
    pub name: String,
    /// Its port on loopback; 0 takes a free one and keeps it.
    pub port: u16,
    /// Envoy's worker threads.
    pub concurrency: u32,
    /// Envoy's `--component-log-level`, such as `wasm:trace`.
    pub component_log_level: Option<String>,
    /// More of Envoy's command line.
    pub envoy_args: Vec<String>,
    /// How it ends when it is told to.
    pub shutdown: Shutdown,
    /// The operator's file; the repository's `envoy.yaml` if none.
    pub config: Option<PathBuf>,
    /// A JSON merge patch of the filter's own configuration, such as
    /// `{"checksum":"off","store":{"resolve_timeout_ms":100}}`.
    pub plugin: Value,
    /// A last change of the whole configuration.
    pub edit: Option<Edit>,
    /// Where the key store, or what stands before it, is.
    pub store: SocketAddr,
    /// Where the API behind the gateway is.
    pub upstream: SocketAddr,
    /// Its environment's secrets.
    pub secrets: Secrets,
}

/// A running Envoy. `process` has its life and its log.
pub struct Gateway {
    /// Pid, signals, end, log.
    pub process: Process,
    /// What [`restart`](Self::restart) starts it with; may be changed before.
    pub options: GatewayOptions,
    envoy_pid: u32,
    folder: PathBuf,
    listener: Port,
    admin: Port,
    envoy: PathBuf,
    filter: PathBuf,
}

impl Gateway {
    /// Starts one and waits until it serves. Its files are in
    /// `<run_dir>/<name>`.
    ///
    /// # Errors
    /// A part cannot be built or fetched, the configuration lacks a named
    /// part, the port is taken, or Envoy does not become ready: then with the
    /// end of its log.
    pub fn start(run_dir: &Path, options: GatewayOptions) -> anyhow::Result<Self> {
        let artifacts = Artifacts::obtain()?;
        let folder = run_dir.join(&options.name);
        fs::create_dir_all(&folder)?;
        let listener = Port::numbered(options.port)?;
        let admin = Port::free()?;
        let spawn = Spawn {
            options: &options,
            folder: &folder,
            listener: &listener,
            admin: &admin,
            envoy: &artifacts.envoy,
            filter: &artifacts.built.filter,
        };
        let process = spawn.run()?;
        Ok(Self {
            envoy_pid: spawn.envoy_pid(&process)?,
            process,
            envoy: artifacts.envoy,
            filter: artifacts.built.filter,
            folder,
            options,
            listener,
            admin,
        })
    }

    /// Stops it (by SIGTERM if it still runs, and after ten seconds by force) and
    /// starts it again: the same
    /// ports, the same files, `options` as they are now but for the port.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.process.terminate()?;
        let spawn = Spawn {
            options: &self.options,
            folder: &self.folder,
            listener: &self.listener,
            admin: &self.admin,
            envoy: &self.envoy,
            filter: &self.filter,
        };
        let process = spawn.run()?;
        self.envoy_pid = spawn.envoy_pid(&process)?;
        self.process = process;
        Ok(())
    }

    /// Envoy's own process id, which is not the script's that drains it.
    pub fn envoy_pid(&self) -> u32 {
        self.envoy_pid
    }

    /// Where clients connect to: `http://127.0.0.1:port`.
    pub fn url(&self) -> String {
        self.listener.url()
    }

    /// The same, for a socket.
    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// Envoy's administration interface.
    pub fn admin_url(&self) -> String {
        self.admin.url()
    }

    /// A GET on the administration interface.
    ///
    /// # Errors
    /// It does not answer with success.
    pub fn admin(&self, path: &str) -> anyhow::Result<String> {
        http::get(&format!("{}{path}", self.admin_url()))
    }

    /// Envoy's counters and gauges by name, without histograms.
    ///
    /// # Errors
    /// Envoy does not answer.
    pub fn stats(&self) -> anyhow::Result<BTreeMap<String, u64>> {
        let text = self.admin("/stats")?;
        let numbers = text.lines().filter_map(|line| {
            let (name, value) = line.split_once(": ")?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        Ok(numbers.collect())
    }

    /// One of them; 0 if Envoy has not counted any yet.
    ///
    /// # Errors
    /// Envoy does not answer.
    pub fn stat(&self, name: &str) -> anyhow::Result<u64> {
        Ok(self.stats()?.get(name).copied().unwrap_or(0))
    }

    /// The configuration as Envoy shows it.
    ///
    /// # Errors
    /// Envoy does not answer.
    pub fn config_dump(&self) -> anyhow::Result<Value> {
        http::get_json(&format!("{}/config_dump", self.admin_url()))
    }

    /// Its access log so far; Envoy writes it within 50 ms.
    pub fn access_log(&self) -> String {
        fs::read_to_string(self.access_log_path()).unwrap_or_default()
    }

    /// Where that is.
    pub fn access_log_path(&self) -> PathBuf {
        self.folder.join("access.log")
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.options.name, self.url())
    }
}

/// What it takes to start an Envoy, the first time or again.
struct Spawn<'a> {
    options: &'a GatewayOptions,
    folder: &'a Path,
    listener: &'a Port,
    admin: &'a Port,
    envoy: &'a Path,
    filter: &'a Path,
}

impl Spawn<'_> {
    fn run(&self) -> anyhow::Result<Process> {
        let config = self.folder.join("envoy.json");
        self.configuration()?.write(&config)?;
        let options = self.options;
        let mut command = self.program();
        command.arg("--config-path").arg(&config);
        command.args(["--concurrency", &options.concurrency.to_string()]);
        // Several Envoys share this machine, and nobody restarts them hot.
        command.arg("--disable-hot-restart");
        command.args(["--file-flush-interval-msec", "50"]);
        command.args(&options.envoy_args);
        if let Some(level) = &options.component_log_level {
            command.args(["--component-log-level", level]);
        }
        options.secrets.give_to_gateway(&mut command);
        let process = Process::spawn(&options.name, command, &self.folder.join("envoy.log"))?;
        let ready = format!("{}/ready", self.admin.url());
        process.wait_until_ready(READY_LIMIT, || {
            http::get(&ready).is_ok_and(|state| state.trim() == "LIVE")
                && TcpStream::connect(self.listener.address()).is_ok()
        })?;
        Ok(process)
    }

    fn program(&self) -> Command {
        match self.options.shutdown {
            Shutdown::AtOnce => Command::new(self.envoy),
            Shutdown::Drain { notice, grace } => {
                let mut script = Command::new("bash");
                script.arg(workspace::root().join("deploy/gateway.sh"));
                script.arg(self.envoy);
                script.env("REKEY_ENVOY_ADMIN", self.admin.address().to_string());
                script.env("REKEY_DRAIN_NOTICE", notice.as_secs_f32().to_string());
                script.env("REKEY_DRAIN_GRACE", grace.as_secs().to_string());
                script
            }
        }
    }

    /// Once it is ready: the script has started nothing after Envoy by then.
    fn envoy_pid(&self, process: &Process) -> anyhow::Result<u32> {
        let pid = process.pid();
        if self.options.shutdown == Shutdown::AtOnce {
            return Ok(pid);
        }
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
        let last = children.split_whitespace().next_back();
        Ok(last.context("the script has no Envoy")?.parse()?)
    }

    fn configuration(&self) -> anyhow::Result<EnvoyConfig> {
        let shipped = workspace::root().join("envoy.yaml");
        let path = self.options.config.as_ref().unwrap_or(&shipped);
        let patch = || -> anyhow::Result<EnvoyConfig> {
            let mut config = EnvoyConfig::read(path)?;
            config.set_admin(self.admin.address())?;
            config.set_listener(self.listener.address())?;
            config.set_cluster(STORE_CLUSTER, self.options.store)?;
            config.set_cluster_if_any(FEED_CLUSTER, self.options.store)?;
            config.set_cluster_if_any(ROTATION_CLUSTER, self.options.store)?;
            config.set_cluster(API_CLUSTER, self.options.upstream)?;
            config.set_cluster_if_any(GRPC_CLUSTER, self.options.upstream)?;
            config.set_access_log(&self.folder.join("access.log"));
            config.patch_plugin(&self.options.plugin)?;
            config.set_filter(self.filter)?;
            if let Some(edit) = &self.options.edit {
                edit(config.value_mut())?;
            }
            Ok(config)
        };
        patch().with_context(|| format!("cannot use {}", path.display()))
    }
}
