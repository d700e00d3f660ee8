//! One run of docker-compose.yml: a project name, host ports and secrets of its
//! own, so that it disturbs no other run, and the certainty that it is taken
//! down. Does not know what is tested.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use rekey_testbed::{random, shell, workspace};

use super::bases::Bases;
use super::docker::Docker;

/// The services of docker-compose.yml that are built.
const SERVICES: [&str; 4] = ["gateway", "store", "upstream", "demo-user"];
/// The service that makes a user, prints its key and ends.
const ONE_SHOT: &str = "demo-user";
/// The label of the Dockerfile's stages that end up in no image.
const STAGE_LABELS: [&str; 2] = ["rekey.stage=source", "rekey.stage=build"];
/// How many of each of these stay.
const STAGES_KEPT: usize = 3;

/// A project of docker-compose.yml; taken down when dropped.
pub(super) struct Project {
    docker: Docker,
    /// Names the base images to compose.
    overrides: PathBuf,
    name: String,
    /// Where the gateway and the dashboard are published on 127.0.0.1.
    ports: [u16; 2],
    secrets: [(&'static str, String); 3],
    /// Whether dropping it takes it down.
    take_down: bool,
}

impl Project {
    /// Prepares a run; nothing is started yet.
    pub(super) fn new(docker: Docker, bases: &Bases) -> anyhow::Result<Self> {
        let name = format!("rekey-xtask-{}", random::hex(4)?);
        let directory = workspace::output_dir()?.join("compose");
        fs::create_dir_all(&directory)
            .with_context(|| format!("cannot create {}", directory.display()))?;
        let overrides = directory.join(format!("{name}.json"));
        fs::write(&overrides, overrides_for(bases).to_string())
            .with_context(|| format!("cannot write {}", overrides.display()))?;
        Ok(Self {
            docker,
            overrides,
            name,
            ports: free_ports()?,
            secrets: [
                ("REKEY_STORE_TOKEN", random::hex(32)?),
                ("REKEY_ADMIN_TOKEN", random::hex(32)?),
                ("REKEY_CHECKSUM_SECRET", random::hex(32)?),
            ],
            take_down: true,
        })
    }

    /// Leaves it running, whatever happens, and says how it is removed.
    pub(super) fn keep(&mut self) {
        self.take_down = false;
        let (gateway, dashboard) = (self.gateway(), self.dashboard());
        let how = self.how_to_remove();
        shell::say(format_args!(
            "{gateway} and {dashboard} stay up; {how} removes them"
        ));
    }

    /// The gateway's address on this machine.
    pub(super) fn gateway(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports[0])
    }

    /// The dashboard's.
    pub(super) fn dashboard(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports[1])
    }

    /// The secrets that the services run with.
    pub(super) fn secrets(&self) -> [(&str, &str); 3] {
        self.secrets
            .each_ref()
            .map(|(name, value)| (*name, value.as_str()))
    }

    /// What a person types to remove it.
    fn how_to_remove(&self) -> String {
        let compose = self.docker.compose_name();
        let name = &self.name;
        // The tag names the images that are to go.
        format!("`REKEY_TAG={name} {compose} -p {name} down -v --rmi all`")
    }

    /// Builds all images.
    pub(super) fn build(&self) -> anyhow::Result<()> {
        shell::run(&mut self.compose(["build"]))?;
        self.forget_old_stages();
        Ok(())
    }

    /// Starts all services and waits until the one-shot has ended well.
    /// Returns what that one printed.
    pub(super) fn up(&self) -> anyhow::Result<String> {
        shell::run(&mut self.compose(["up", "--detach", "--no-build"]))?;
        let id = shell::output(&mut self.compose(["ps", "--all", "--quiet", ONE_SHOT]))?;
        let id = id.trim();
        let status = shell::output(&mut self.docker.docker(["wait", id]))?;
        ensure!(
            status.trim() == "0",
            "{ONE_SHOT} ended with status {}; see its log",
            status.trim(),
        );
        shell::output(&mut self.docker.docker(["logs", id]))
    }

    /// Everything that the services logged so far, but for the one-shot.
    pub(super) fn logs(&self) -> anyhow::Result<String> {
        let services = SERVICES.into_iter().filter(|service| *service != ONE_SHOT);
        shell::output(&mut self.compose(["logs", "--no-color"].into_iter().chain(services)))
    }

    /// A line of `docker inspect` for every container, by a Go template.
    pub(super) fn inspect(&self, template: &str) -> anyhow::Result<Vec<String>> {
        let ids = shell::output(&mut self.compose(["ps", "--all", "--quiet"]))?;
        let command = ["inspect", "--format", template]
            .into_iter()
            .chain(ids.split_whitespace());
        let lines = shell::output(&mut self.docker.docker(command))?;
        Ok(lines.lines().map(str::to_owned).collect())
    }

    /// Stops the services; Envoy writes the rest of its access log then, which it
    /// buffers for up to ten seconds.
    pub(super) fn stop(&self) -> anyhow::Result<()> {
        shell::run(&mut self.compose(["stop"]))
    }

    /// Restarts a service.
    pub(super) fn restart(&self, service: &str) -> anyhow::Result<()> {
        shell::run(&mut self.compose(["restart", service]))
    }

    /// Removes the containers and keeps the database, as `docker compose down`.
    pub(super) fn remove_containers(&self) -> anyhow::Result<()> {
        shell::run(&mut self.compose(["down"]))
    }

    /// Removes all that the run has made but the layers that the next build uses.
    pub(super) fn down(&mut self) -> anyhow::Result<()> {
        self.take_down = false;
        shell::run(&mut self.compose(["down", "--volumes", "--remove-orphans", "--rmi", "all"]))?;
        fs::remove_file(&self.overrides)
            .with_context(|| format!("cannot remove {}", self.overrides.display()))
    }

    fn compose<'a>(&'a self, args: impl IntoIterator<Item = &'a str>) -> Command {
        let files = ["-f", "docker-compose.yml", "-f"].map(Path::new);
        let mut compose = self.docker.compose(files);
        compose
            .arg(&self.overrides)
            .args(["-p", &self.name])
            .args(args);
        compose
            .env("REKEY_PORT", self.ports[0].to_string())
            .env("REKEY_DASHBOARD_PORT", self.ports[1].to_string())
            .env("REKEY_TAG", &self.name)
            .envs(self.secrets());
        compose
    }

    /// The classic builder keeps every build stage that ever was, a gigabyte
    /// each. The newest serve the next build, and other runs at this moment.
    fn forget_old_stages(&self) {
        for label in STAGE_LABELS {
            let which = ["--filter=dangling=true", &format!("--filter=label={label}")];
            self.docker.keep_newest(STAGES_KEPT, &which);
        }
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        if !self.take_down {
            return;
        }
        // Something went wrong; the containers know best what, and soon are gone.
        let services = ["logs", "--no-color", "--tail", "30"];
        let _ = shell::run(&mut self.compose(services));
        if let Err(error) = self.down() {
            let how = self.how_to_remove();
            shell::say(format_args!("{error:#}; {how} removes what is left"));
        }
    }
}

/// A second compose file (JSON is YAML) with the Dockerfile's arguments, so that
/// docker-compose.yml need not speak of them.
fn overrides_for(bases: &Bases) -> serde_json::Value {
    let args: serde_json::Map<_, _> = bases
        .build_args()
        .into_iter()
        .map(|(name, image)| (name.to_owned(), image.into()))
        .collect();
    let services: serde_json::Map<_, _> = SERVICES
        .into_iter()
        .map(|service| {
            (
                service.to_owned(),
                serde_json::json!({ "build": { "args": args } }),
            )
        })
        .collect();
    serde_json::json!({ "services": services })
}

fn free_ports() -> anyhow::Result<[u16; 2]> {
    let bind = || TcpListener::bind(("127.0.0.1", 0)).context("no free port on 127.0.0.1");
    // Both are held until both are known: else they might be the same.
    let listeners = [bind()?, bind()?];
    let [gateway, dashboard] = listeners.each_ref().map(TcpListener::local_addr);
    Ok([gateway?.port(), dashboard?.port()])
}
