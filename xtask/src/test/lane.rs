//! The lanes: what each one needs, and what it runs.

use std::{num::NonZero, process::Command, thread};

use rekey_testbed::{PREBUILT_VARIABLE, chromium, envoy, shell, workspace};

use super::{
    report::{Report, Took},
    targets::Targets,
};
use crate::{
    build,
    compose::{self, BaseChoice, ComposeArgs},
    lint,
};

/// The end-to-end tests that need a browser, as a filter of the harness.
const BROWSER_TESTS: &str = "dashboard::";

/// A part of the test that runs alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Lane {
    /// Formatting and lints
    Lint,
    /// The tests of all crates that need no fleet
    Unit,
    /// The tests on a real Envoy
    E2e,
    /// The simulator and the model
    Sim,
    /// docker-compose.yml
    Containers,
}

impl Lane {
    /// As one types it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lint => "lint",
            Self::Unit => "unit",
            Self::E2e => "e2e",
            Self::Sim => "sim",
            Self::Containers => "containers",
        }
    }

    /// Whether a test in it can be asked for by name.
    pub fn has_named_tests(self) -> bool {
        matches!(self, Self::Unit | Self::E2e | Self::Sim)
    }

    /// Runs it, and tells the report what came of it.
    pub(super) fn run(self, filters: &[String], report: &mut Report) {
        if let Err(why) = self.obtain() {
            report.cannot_run(self, &why);
            return;
        }
        let mut took = Took::default();
        let mut harness: Vec<_> = filters.iter().map(String::as_str).collect();
        if self == Self::E2e
            && let Err(why) = chromium::obtain()
        {
            report.cannot_run_part(self, "browser tests", &why);
            harness.extend(["--skip", BROWSER_TESTS]);
        }
        let result = match self {
            Self::Lint => took.running(lint::run),
            Self::Unit => unit(&harness, &mut took),
            Self::E2e => end_to_end(&harness, &mut took),
            Self::Sim => simulated(&harness, &mut took),
            Self::Containers => took.running(|| {
                compose::run(ComposeArgs {
                    keep: false,
                    bases: BaseChoice::Auto,
                })
            }),
        };
        report.ran(self, took, result);
    }

    /// Obtains what it cannot run without.
    fn obtain(self) -> anyhow::Result<()> {
        match self {
            Self::Lint => lint::obtain_tools(),
            Self::E2e => envoy::obtain().map(drop),
            Self::Containers => compose::obtain(),
            Self::Unit | Self::Sim => Ok(()),
        }
    }
}

fn unit(harness: &[&str], took: &mut Took) -> anyhow::Result<()> {
    let targets = Targets::read()?;
    let mut all = vec!["--lib", "--bins"];
    all.extend(targets.of_unit_lane());
    let tests = took.tests(&mut cargo_test(&all), harness);
    // Cargo takes them only without other targets.
    let examples = took.running(|| shell::run(cargo_test(&["--doc"]).arg("--").args(harness)));
    tests.and(examples)
}

fn end_to_end(harness: &[&str], took: &mut Took) -> anyhow::Result<()> {
    let targets = Targets::read()?;
    let tests = targets.of_e2e_lane();
    let programs = took.building(|| build::run_for_tests(&tests))?;
    let mut cargo = cargo_test(&tests);
    if std::env::var_os("RUST_TEST_THREADS").is_none() {
        cargo.env("RUST_TEST_THREADS", threads().to_string());
    }
    took.tests(cargo.env(PREBUILT_VARIABLE, programs), harness)
}

fn simulated(harness: &[&str], took: &mut Took) -> anyhow::Result<()> {
    let targets = Targets::read()?;
    took.tests(&mut cargo_test(&targets.of_sim_lane()), harness)
}

/// Always of the whole workspace, with the targets that are meant: then each
/// lane asks for the same features of the crates that they share, and none is
/// compiled twice.
fn cargo_test(targets: &[&str]) -> Command {
    let mut cargo = workspace::cargo();
    // Other targets are tested even where one has failed.
    cargo.args(["test", "--workspace", "--no-fail-fast"]);
    cargo.args(targets);
    cargo
}

/// One more than the cores: most of these tests wait for a process or for a time to
/// pass, and with twice the cores some of them do not get their turn in time.
fn threads() -> usize {
    1 + thread::available_parallelism().map_or(1, NonZero::get)
}
