//! The docker and compose programs of this machine: finding and running them.
//! Knows nothing of what they are run for.

use std::{ffi::OsStr, process::Command};

use anyhow::{Context as _, bail};

use rekey_testbed::{shell, workspace};

/// Docker's command line, and the compose that goes with it.
#[derive(Clone)]
pub(super) struct Docker {
    /// `docker compose` or `docker-compose`.
    compose: &'static [&'static str],
}

impl Docker {
    /// Looks for docker, its daemon and a compose.
    ///
    /// # Errors
    /// One of the three is missing; the text says which, and what to do.
    pub(super) fn find() -> anyhow::Result<Self> {
        if !shell::works("docker", &["--version"]) {
            bail!("there is no `docker` on the PATH: install Docker");
        }
        shell::output(Command::new("docker").args(["version", "--format", "{{.Server.Version}}"]))
            .context("Docker's daemon does not answer: start it, or let this user reach it")?;
        let compose: &[_] = if shell::works("docker", &["compose", "version"]) {
            &["docker", "compose"]
        } else if shell::works("docker-compose", &["version"]) {
            &["docker-compose"]
        } else {
            bail!("there is neither `docker compose` nor `docker-compose`: install one of them");
        };
        Ok(Self { compose })
    }

    /// The compose that was found, as one types it.
    pub(super) fn compose_name(&self) -> String {
        self.compose.join(" ")
    }

    /// `docker ARGS…`
    pub(super) fn docker<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        let mut docker = Command::new("docker");
        docker.args(args);
        docker
    }

    /// `docker compose ARGS…` in the repository.
    pub(super) fn compose<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        let mut words = self.compose.iter();
        let mut compose = Command::new(words.next().unwrap_or(&"docker"));
        compose
            .current_dir(workspace::root())
            .args(words)
            .args(args);
        compose
    }

    /// Whether the daemon has this image already.
    pub(super) fn has_image(&self, image: &str) -> bool {
        shell::works("docker", &["image", "inspect", image])
    }

    /// Removes images but for the newest ones, of those that `docker images`
    /// lists with these arguments. Not to tidy up is no reason to fail.
    pub(super) fn keep_newest(&self, count: usize, which: &[&str]) {
        let list = ["images", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}"];
        let mut list = self.docker(list.iter().chain(which));
        // Newest first.
        for image in shell::output(&mut list)
            .unwrap_or_default()
            .lines()
            .skip(count)
        {
            let (name, id) = image.split_once(' ').unwrap_or((image, image));
            let image = if name == "<none>:<none>" { id } else { name };
            // One that is in use stays.
            let _ = shell::output(&mut self.docker(["rmi", image]));
        }
    }
}
