//! An etcd of one member or several, on loopback.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::Context as _;

use crate::{Port, Process, http, until};

/// A member of a small cluster is ready within two seconds; a loaded machine takes longer.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// Names another program than the `etcd` of the PATH.
const PROGRAM: &str = "ETCD";

/// The members. Dropping it kills them.
#[derive(Debug)]
pub struct Etcd {
    members: Vec<Member>,
}

/// One member, with its ports and its files.
#[derive(Debug)]
pub struct Member {
    /// Pid, signals, end, log.
    pub process: Process,
    spawn: Spawn,
}

/// What a member is started with, again and again.
#[derive(Debug)]
struct Spawn {
    name: String,
    folder: PathBuf,
    client: Port,
    peer: Port,
    /// All members, as etcd has it.
    cluster: String,
}

impl Etcd {
    /// Starts so many members and waits until all serve. Their files are in
    /// `<run_dir>/etcd`; those that are there already are used.
    ///
    /// # Errors
    /// There is no etcd, or a member does not become ready: then with the end of its
    /// log.
    pub fn start(run_dir: &Path, members: usize) -> anyhow::Result<Self> {
        let mut ports = Vec::new();
        for number in 0..members {
            ports.push((format!("m{number}"), Port::free()?, Port::free()?));
        }
        let named = ports
            .iter()
            .map(|(name, _, peer)| format!("{name}={}", peer.url()));
        let cluster = named.collect::<Vec<_>>().join(",");
        let mut started = Vec::new();
        for (name, client, peer) in ports {
            let folder = run_dir.join("etcd").join(&name);
            std::fs::create_dir_all(&folder)?;
            let spawn = Spawn {
                name,
                folder,
                client,
                peer,
                cluster: cluster.clone(),
            };
            started.push(Member {
                process: spawn.run()?,
                spawn,
            });
        }
        let etcd = Self { members: started };
        for member in &etcd.members {
            member.wait_ready()?;
        }
        Ok(etcd)
    }

    /// The members, in their order.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The same, to stop and start them.
    pub fn members_mut(&mut self) -> &mut [Member] {
        &mut self.members
    }

    /// As `rekey-store --database` has it.
    pub fn address(&self) -> String {
        let members = self.members.iter().map(|member| member.address());
        format!("etcd://{}", members.collect::<Vec<_>>().join(","))
    }
}

impl Member {
    /// `127.0.0.1:port`, for clients.
    pub fn address(&self) -> String {
        self.spawn.client.address().to_string()
    }

    /// Starts it again, after it has ended, with its files.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start_again(&mut self) -> anyhow::Result<()> {
        self.process = self.spawn.run()?;
        Ok(())
    }

    /// Waits until it serves reads of the whole cluster.
    ///
    /// # Errors
    /// It has ended, or takes too long.
    pub fn wait_ready(&self) -> anyhow::Result<()> {
        let url = format!("{}/health", self.spawn.client.url());
        let what = format!("{} to be healthy", self.spawn.name);
        until(&what, READY_LIMIT, || {
            self.process.check_alive()?;
            Ok(http::get(&url).is_ok().then_some(()))
        })
    }
}

impl Spawn {
    fn run(&self) -> anyhow::Result<Process> {
        let program = std::env::var_os(PROGRAM).unwrap_or_else(|| "etcd".into());
        let mut command = Command::new(&program);
        command.args(["--name", &self.name]);
        command.arg("--data-dir").arg(self.folder.join("data"));
        command.args(["--listen-client-urls", &self.client.url()]);
        command.args(["--advertise-client-urls", &self.client.url()]);
        command.args(["--listen-peer-urls", &self.peer.url()]);
        command.args(["--initial-advertise-peer-urls", &self.peer.url()]);
        command.args(["--initial-cluster", &self.cluster]);
        command.args(["--pre-vote=true", "--auto-compaction-retention=1h"]);
        let log = self.folder.join("log");
        Process::spawn(&format!("etcd {}", self.name), command, &log)
            .context("etcd is needed: apt-get install etcd-server, or name a program in ETCD")
    }
}
