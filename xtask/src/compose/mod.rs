//! `cargo xtask compose`: starts docker-compose.yml as a user would, pastes the
//! curl lines that it prints, and takes everything down again.
//!
//! It knows Docker, the printed lines and the documented API. It does not know
//! how anything is built (deploy/Dockerfile) or what the services do.

mod bases;
mod curl;
mod docker;
mod printed;
mod project;
mod scenario;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::bail;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use rekey_testbed::shell;

/// Options of `cargo xtask compose`.
#[derive(Debug, clap::Args)]
pub struct ComposeArgs {
    /// Leave the containers running and say how to remove them
    #[arg(long)]
    pub keep: bool,
    /// Which base images to build on
    #[arg(long, value_enum, default_value_t)]
    pub bases: BaseChoice,
}

/// Which base images to build on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum BaseChoice {
    /// The official ones where they can be pulled, else stand-ins
    #[default]
    Auto,
    /// The official ones, or fail
    Official,
    /// Stand-ins made on this machine by deploy/stand-ins.sh
    StandIn,
}

/// Obtains what [`run`] needs, which may take minutes.
///
/// # Errors
/// There is no Docker, or base images can neither be pulled nor made.
pub fn obtain() -> anyhow::Result<()> {
    bases::choose(&docker::Docker::find()?, BaseChoice::Auto)?;
    Ok(())
}

/// Runs docker-compose.yml and the curl test against it.
///
/// # Errors
/// Docker cannot be used, something does not build or start, or an answer is
/// not what the documented API says. Nothing is left running unless `keep`.
pub fn run(args: ComposeArgs) -> anyhow::Result<()> {
    let mut timings = Timings::new(interruptible()?);

    let docker = docker::Docker::find()?;
    shell::say(format_args!("using `{}`", docker.compose_name()));
    let bases = timings.take("base images", || bases::choose(&docker, args.bases))?;
    shell::say(format_args!("##### {bases} #####"));

    let mut project = project::Project::new(docker, &bases)?;
    timings.take("build", || project.build())?;
    if args.keep {
        project.keep();
    }
    scenario::run(&project, &mut timings)?;
    if !args.keep {
        timings.take("down", || project.down())?;
    }
    timings.tell();
    shell::say(format_args!("compose is green, on {}", bases.kind()));
    Ok(())
}

/// Ctrl-C ends the running docker command and raises this flag, so that what is
/// up can be taken down; by its default it would end this process first. A second
/// one ends it all the same.
fn interruptible() -> anyhow::Result<Arc<AtomicBool>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        flag::register_conditional_shutdown(signal, 130, interrupted.clone())?;
        flag::register(signal, interrupted.clone())?;
    }
    Ok(interrupted)
}

/// Runs the steps, and notes how long each took.
struct Timings {
    interrupted: Arc<AtomicBool>,
    steps: Vec<(&'static str, Duration)>,
}

impl Timings {
    fn new(interrupted: Arc<AtomicBool>) -> Self {
        Self {
            interrupted,
            steps: Vec::new(),
        }
    }

    fn take<T>(
        &mut self,
        step: &'static str,
        work: impl FnOnce() -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        shell::say(format_args!("compose: {step} ..."));
        let start = Instant::now();
        let done = work();
        self.steps.push((step, start.elapsed()));
        if self.interrupted.load(Ordering::Relaxed) {
            bail!("interrupted");
        }
        done
    }

    fn tell(&self) {
        for (step, took) in &self.steps {
            shell::say(format_args!("{:7.1} s  {step}", took.as_secs_f32()));
        }
    }
}
