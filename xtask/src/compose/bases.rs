//! Which base images the build stands on: the official ones, or stand-ins where
//! none can be pulled. Knows the names, not how a stand-in is made.

use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use rekey_testbed::{envoy, shell, workspace};

use super::BaseChoice;
use super::docker::Docker;

const DOCKERFILE: &str = "deploy/Dockerfile";
/// Makes stand-ins, and prints the Dockerfile's arguments that name them.
const STAND_INS: &str = "deploy/stand-ins.sh";

/// A base image for each of the Dockerfile's three arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bases {
    /// Compiles: a Rust toolchain and a C compiler.
    pub rust: String,
    /// Runs the store and the demo upstream.
    pub debian: String,
    /// Has `envoy` on the PATH.
    pub envoy: String,
    /// Why these are stand-ins, if they are.
    pub stand_in_because: Option<String>,
}

impl Bases {
    /// Reads lines `<prefix>NAME=IMAGE`; the first of a name counts.
    fn parse(text: &str, prefix: &str) -> anyhow::Result<Self> {
        let image = |argument: &str| {
            let mut lines = text.lines().filter_map(|line| line.strip_prefix(prefix));
            let found = lines.find_map(|line| line.strip_prefix(argument)?.strip_prefix('='));
            let image = found.with_context(|| format!("there is no `{prefix}{argument}=…`"))?;
            ensure!(!image.is_empty(), "`{prefix}{argument}=` is empty");
            Ok(image.to_owned())
        };
        Ok(Self {
            rust: image("RUST_IMAGE")?,
            debian: image("DEBIAN_IMAGE")?,
            envoy: image("ENVOY_IMAGE")?,
            stand_in_because: None,
        })
    }

    /// The official ones, whose names stand in the Dockerfile and nowhere else.
    fn official() -> anyhow::Result<Self> {
        let path = workspace::root().join(DOCKERFILE);
        let dockerfile = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&dockerfile, "ARG ").context(DOCKERFILE)
    }

    fn stand_ins(because: String) -> anyhow::Result<Self> {
        let mut script = Command::new("bash");
        script.current_dir(workspace::root());
        script.arg(STAND_INS).arg(envoy::obtain()?);
        // Not in /tmp: that may forbid devices and programs (nodev, noexec).
        script.env("TMPDIR", workspace::output_dir()?);
        // What it says on the way is for people, and at once.
        let printed = shell::output(script.stderr(Stdio::inherit()))?;
        Ok(Self {
            stand_in_because: Some(because),
            ..Self::parse(&printed, "").context(STAND_INS)?
        })
    }

    /// The Dockerfile's arguments that name these images.
    pub(super) fn build_args(&self) -> [(&'static str, &str); 3] {
        [
            ("RUST_IMAGE", &self.rust),
            ("DEBIAN_IMAGE", &self.debian),
            ("ENVOY_IMAGE", &self.envoy),
        ]
    }

    /// In a word or two.
    pub(super) fn kind(&self) -> &'static str {
        match self.stand_in_because {
            None => "OFFICIAL base images",
            Some(_) => "STAND-IN base images",
        }
    }
}

impl std::fmt::Display for Bases {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.kind())?;
        if let Some(reason) = &self.stand_in_because {
            write!(f, " ({reason})")?;
        }
        write!(f, ": {}, {}, {}", self.rust, self.debian, self.envoy)
    }
}

/// Settles which base images to use, and sees to it that the daemon has them.
pub(super) fn choose(docker: &Docker, choice: BaseChoice) -> anyhow::Result<Bases> {
    let because = match choice {
        BaseChoice::StandIn => "asked for by --bases stand-in".to_owned(),
        BaseChoice::Auto | BaseChoice::Official => {
            let official = Bases::official()?;
            match pull(docker, &official) {
                Ok(()) => return Ok(official),
                Err(error) if choice == BaseChoice::Official => return Err(error),
                Err(error) => one_line(&format!("{error:#}")),
            }
        }
    };
    shell::say(format_args!(
        "making stand-ins for the base images: {because}"
    ));
    Bases::stand_ins(because)
}

fn pull(docker: &Docker, bases: &Bases) -> anyhow::Result<()> {
    for (_, image) in bases.build_args() {
        if !docker.has_image(image) {
            shell::say(format_args!("pulling {image}"));
            shell::output(&mut docker.docker(["pull", "--quiet", image]))?;
        }
    }
    Ok(())
}

fn one_line(text: &str) -> String {
    text.lines().collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dockerfile_names_the_official_images() {
        let bases = Bases::official().unwrap();
        assert!(bases.rust.starts_with("rust:"), "{bases}");
        assert!(bases.debian.starts_with("debian:"), "{bases}");
        assert!(bases.envoy.starts_with("envoyproxy/envoy:"), "{bases}");
        // One C library: what `rust` links must run on `debian`.
        let release = bases
            .debian
            .trim_start_matches("debian:")
            .trim_end_matches("-slim");
        assert!(bases.rust.ends_with(release), "{bases}");
    }

    #[test]
    fn an_argument_without_an_image_is_named() {
        let good = "RUST_IMAGE=a:1\nDEBIAN_IMAGE=b\nENVOY_IMAGE=c\nRUST_IMAGE=d";
        assert_eq!(Bases::parse(good, "").unwrap().rust, "a:1");
        for bad in ["", "ARG RUST_IMAGE", "ARG RUST_IMAGE=", "ARG OTHER=x"] {
            let error = Bases::parse(bad, "ARG ").unwrap_err().to_string();
            assert!(error.contains("RUST_IMAGE"), "{error}");
        }
    }

    #[test]
    fn the_script_prints_every_argument() {
        let script = workspace::root().join(STAND_INS);
        let script = std::fs::read_to_string(script).unwrap();
        for (name, _) in Bases::official().unwrap().build_args() {
            assert!(script.contains(&format!("echo \"{name}=")), "{name}");
        }
    }
}
