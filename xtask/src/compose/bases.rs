//! Which base images the build stands on: the official ones, or stand-ins where
//! none can be pulled. Knows the names, not how a stand-in is made.

use anyhow::{Context, ensure};

use rekey_testbed::{shell, workspace};

use super::BaseChoice;
use super::docker::Docker;
use super::standin;

const DOCKERFILE: &str = "deploy/Dockerfile";

/// A base image for each of the Dockerfile's three arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bases {
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
    /// The Dockerfile's arguments that name these images.
    pub fn build_args(&self) -> [(&'static str, &str); 3] {
        [
            ("RUST_IMAGE", &self.rust),
            ("DEBIAN_IMAGE", &self.debian),
            ("ENVOY_IMAGE", &self.envoy),
        ]
    }

    /// In a word or two.
    pub fn kind(&self) -> &'static str {
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
pub fn choose(docker: &Docker, choice: BaseChoice) -> anyhow::Result<Bases> {
    let because = match choice {
        BaseChoice::StandIn => "asked for by --bases stand-in".to_owned(),
        BaseChoice::Auto | BaseChoice::Official => {
            let official = official()?;
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
    standin::make(docker, because)
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

/// The official names, which stand in the Dockerfile and nowhere else.
fn official() -> anyhow::Result<Bases> {
    let path = workspace::root().join(DOCKERFILE);
    let dockerfile = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Bases {
        rust: default_of(&dockerfile, "RUST_IMAGE")?,
        debian: default_of(&dockerfile, "DEBIAN_IMAGE")?,
        envoy: default_of(&dockerfile, "ENVOY_IMAGE")?,
        stand_in_because: None,
    })
}

fn default_of(dockerfile: &str, argument: &str) -> anyhow::Result<String> {
    let image = dockerfile
        .lines()
        .find_map(|line| {
            line.strip_prefix("ARG ")?
                .strip_prefix(argument)?
                .strip_prefix('=')
        })
        .with_context(|| format!("{DOCKERFILE} gives `ARG {argument}` no default"))?;
    ensure!(
        !image.is_empty(),
        "{DOCKERFILE}: the default of `ARG {argument}` is empty"
    );
    Ok(image.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dockerfile_names_the_official_images() {
        let bases = official().unwrap();
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
    fn an_argument_without_a_default_is_named() {
        for dockerfile in ["", "ARG RUST_IMAGE", "ARG RUST_IMAGE=", "ARG OTHER=x"] {
            let error = default_of(dockerfile, "RUST_IMAGE")
                .unwrap_err()
                .to_string();
            assert!(error.contains("RUST_IMAGE"), "{error}");
        }
    }
}
