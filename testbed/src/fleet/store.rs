//! The key store, with a database of its own.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, bail};
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{Artifacts, Port, Process, Secrets, http};

/// Opening a database after a kill replays its log.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// A memory file system.
const MEMORY: &str = "/dev/shm";

/// How the key store is started.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// Which program.
    pub binary: StoreBinary,
    /// `--rotation-interval`, such as `3s`.
    pub rotation_interval: String,
    /// More variables of its environment, such as `RUST_LOG`.
    pub env: Vec<(String, String)>,
    /// More of its command line, such as `--accept-restore` or
    /// `--session-idle 2s`.
    pub args: Vec<String>,
    /// The dashboard's port on loopback; 0 takes a free one and keeps it.
    pub dashboard_port: u16,
    /// Its tokens and the secret of the checksums.
    pub secrets: Secrets,
}

/// Which program is the key store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreBinary {
    /// The one that does what users' does.
    Plain,
    /// The one that kills itself, as by SIGKILL, at `REKEY_STORE_CRASH_AT`
    /// (`point` or `point:n`: at its n-th passing); never if None.
    CrashPoints(Option<String>),
}

/// A running key store, dashboard included. `process` has its life and its log.
#[derive(Debug)]
pub struct Store {
    /// Pid, signals, end, log.
    pub process: Process,
    /// What [`restart`](Self::restart) starts it with; may be changed before.
    pub options: StoreOptions,
    places: Places,
    ports: Ports,
    cli: PathBuf,
}

/// Where it keeps what.
#[derive(Debug)]
struct Places {
    /// On disk.
    folder: PathBuf,
    /// In memory, over all its restarts.
    memory: TempDir,
}

impl Places {
    fn database(&self) -> PathBuf {
        self.folder.join("rekey.db")
    }
}

/// Where its three listeners are.
#[derive(Debug)]
struct Ports {
    gateway: Port,
    admin: Port,
    dashboard: Port,
}

/// A user of the store and the only copy of the first key.
#[derive(Clone, Deserialize)]
pub struct Account {
    /// The id that the upstream sees.
    pub user_id: String,
    /// The plaintext key.
    pub api_key: String,
}

impl Store {
    /// Starts one and waits until it serves. Its files are in
    /// `<run_dir>/store`; a database that is there already is used.
    ///
    /// # Errors
    /// It cannot be built, the dashboard's port is taken, or it does not become
    /// ready: then with the end of its log.
    pub fn start(run_dir: &Path, options: StoreOptions) -> anyhow::Result<Self> {
        let folder = run_dir.join("store");
        fs::create_dir_all(&folder)?;
        let places = Places {
            memory: tempfile::tempdir_in(MEMORY).context(MEMORY)?,
            folder,
        };
        let ports = Ports {
            gateway: Port::free()?,
            admin: Port::free()?,
            dashboard: Port::numbered(options.dashboard_port)?,
        };
        Ok(Self {
            process: spawn(&options, &places, &ports)?,
            cli: Artifacts::obtain()?.built.store,
            options,
            places,
            ports,
        })
    }

    /// Stops it (by SIGTERM if it still runs) and starts it again: the same
    /// ports, the same database, `options` as they are now but for the port.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.process.terminate()?;
        self.process = spawn(&self.options, &self.places, &self.ports)?;
        Ok(())
    }

    /// What gateways call: `http://127.0.0.1:port`.
    pub fn url(&self) -> String {
        self.ports.gateway.url()
    }

    /// The same, for a socket.
    pub fn address(&self) -> SocketAddr {
        self.ports.gateway.address()
    }

    /// The admin listener.
    pub fn admin_url(&self) -> String {
        self.ports.admin.url()
    }

    /// What users open in a browser: `http://127.0.0.1:port`, also where
    /// `--dashboard-origin` has them come another way.
    pub fn dashboard_url(&self) -> String {
        self.ports.dashboard.url()
    }

    /// The SQLite file; its companions (`-wal`, `-shm`, `.lock`) are beside it.
    pub fn database(&self) -> PathBuf {
        self.places.database()
    }

    /// The folder in memory with the keys that wrap what replays need.
    pub fn memory(&self) -> &Path {
        self.places.memory.path()
    }

    /// The command line's program.
    pub fn cli_path(&self) -> &Path {
        &self.cli
    }

    /// The command line, told where this store is; add the subcommand.
    pub fn cli(&self) -> Command {
        let mut command = Command::new(&self.cli);
        command.env("REKEY_ADMIN_URL", self.admin_url());
        command.env("REKEY_ADMIN_TOKEN", &self.options.secrets.admin_token);
        command
    }

    /// The value of a series of its `/metrics`; 0 if it is not there yet.
    ///
    /// # Errors
    /// It does not answer.
    pub fn metric(&self, series: &str) -> anyhow::Result<f64> {
        let text = http::get(&format!("{}/metrics", self.url()))?;
        let mut lines = text.lines();
        let value = lines.find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        Ok(value.map(str::parse).transpose()?.unwrap_or_default())
    }

    /// Adds a user with a first key, over the admin listener.
    ///
    /// # Errors
    /// The address is taken, or the store does not answer as it should.
    pub fn add_user(&self, email: &str) -> anyhow::Result<Account> {
        self.try_add_user(email)?
            .with_context(|| format!("there is a user {email} already"))
    }

    /// The same; None if the address is taken.
    ///
    /// # Errors
    /// The store does not answer as it should.
    pub fn try_add_user(&self, email: &str) -> anyhow::Result<Option<Account>> {
        self.try_add(&json!({ "email": email }))
    }

    /// Adds a user with a first key who can log in to the dashboard.
    ///
    /// # Errors
    /// As [`add_user`](Self::add_user), or the password is not one for the
    /// store.
    pub fn add_login(&self, email: &str, password: &str) -> anyhow::Result<Account> {
        self.try_add_login(email, password)?
            .with_context(|| format!("there is a user {email} already"))
    }

    /// The same; None if the address is taken.
    ///
    /// # Errors
    /// The password is not one for the store, or it does not answer as it should.
    pub fn try_add_login(&self, email: &str, password: &str) -> anyhow::Result<Option<Account>> {
        self.try_add(&json!({ "email": email, "password": password }))
    }

    fn try_add(&self, user: &Value) -> anyhow::Result<Option<Account>> {
        let url = format!("{}/v1/users", self.admin_url());
        let token = &self.options.secrets.admin_token;
        let http::Posted { status, body } = http::post_json(&url, token, user)?;
        match status {
            // The text holds a key: it must not become part of an error.
            201 => serde_json::from_str(&body)
                .map(Some)
                .map_err(|_| anyhow::anyhow!("POST {url}: 201, and no account")),
            409 => Ok(None),
            _ => bail!("POST {url}: {status} {body}"),
        }
    }
}

fn spawn(options: &StoreOptions, places: &Places, ports: &Ports) -> anyhow::Result<Process> {
    let mut command = match &options.binary {
        StoreBinary::Plain => Command::new(Artifacts::obtain()?.built.store),
        StoreBinary::CrashPoints(at) => {
            let mut command = Command::new(Artifacts::store_with_crash_points()?);
            command.envs(at.as_ref().map(|at| ("REKEY_STORE_CRASH_AT", at)));
            command
        }
    };
    let ready = places.folder.join("ready.json");
    let _ = fs::remove_file(&ready);
    command.arg("serve");
    for (option, port) in [
        ("--listen", &ports.gateway),
        ("--admin-listen", &ports.admin),
        ("--dashboard-listen", &ports.dashboard),
    ] {
        command.args([option, &port.address().to_string()]);
    }
    command.args(["--rotation-interval", &options.rotation_interval]);
    command.arg("--database").arg(places.database());
    command.arg("--memory-dir").arg(places.memory.path());
    command.arg("--ready-file").arg(&ready);
    command.args(&options.args);
    command.envs(options.env.iter().map(|(name, value)| (name, value)));
    options.secrets.give_to_store(&mut command);
    let process = Process::spawn("the key store", command, &places.folder.join("store.log"))?;
    process.wait_until_ready(READY_LIMIT, || ready.exists())?;
    Ok(process)
}
