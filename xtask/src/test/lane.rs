//! The lanes: what each one needs, and what it runs.

use std::{num::NonZero, process::Command, sync::Mutex, thread};

use rekey_testbed::{PREBUILT_VARIABLE, chromium, envoy, shell, workspace};

use super::{
    beside,
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

/// How many tests the harness runs at once.
const THREADS_VARIABLE: &str = "RUST_TEST_THREADS";

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

/// Where a lane runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In this process.
    First,
    /// Beside those, and after them for the cores.
    Beside,
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

    /// Whether it waits for nothing but the machine, so that it can take what others
    /// leave of that.
    pub(super) fn only_computes(self) -> bool {
        matches!(self, Self::Lint | Self::Sim)
    }

    /// Runs it, and tells the report what came of it.
    pub(super) fn run(self, place: Place, filters: &[String], report: &Mutex<Report>) {
        if let Err(why) = self.obtain() {
            Report::lock(report).cannot_run(self, &why);
            return;
        }
        let mut took = Took::default();
        let result = match place {
            Place::First => self.run_here(filters, &mut took, report),
            Place::Beside => took.running(|| beside::run(self, filters)),
        };
        Report::lock(report).ran(self, took, result);
    }

    fn run_here(
        self,
        filters: &[String],
        took: &mut Took,
        report: &Mutex<Report>,
    ) -> anyhow::Result<()> {
        let mut harness: Vec<_> = filters.iter().map(String::as_str).collect();
        if self == Self::E2e
            && let Err(why) = chromium::obtain()
        {
            Report::lock(report).cannot_run_part(self, "browser tests", &why);
            harness.extend(["--skip", BROWSER_TESTS]);
        }
        match self {
            Self::Lint => took.running(lint::run),
            Self::Unit => unit(&harness, took),
            Self::E2e => end_to_end(&harness, took),
            Self::Sim => simulated(&harness, took),
            Self::Containers => took.running(|| {
                compose::run(ComposeArgs {
                    keep: false,
                    bases: BaseChoice::Auto,
                })
            }),
        }
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
    // The store's wait for times to pass and for a disk more than they compute.
    let tests = took.tests(
        beside_each_other(&mut cargo_test(&all), 2 * cores()),
        harness,
    );
    // Cargo takes them only without other targets.
    let examples = took.running(|| shell::run(cargo_test(&["--doc"]).arg("--").args(harness)));
    tests.and(examples)
}

fn end_to_end(harness: &[&str], took: &mut Took) -> anyhow::Result<()> {
    let targets = Targets::read()?;
    let tests = targets.of_e2e_lane();
    let programs = took.building(|| build::run_for_tests(&tests))?;
    let mut cargo = cargo_test(&tests);
    cargo.env(PREBUILT_VARIABLE, programs);
    // Starting an Envoy takes a core for two seconds: with twice the cores some
    // tests do not get their turn in time.
    took.tests(beside_each_other(&mut cargo, 1 + cores()), harness)
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

/// So many tests at once, unless the environment says how many.
fn beside_each_other(cargo: &mut Command, threads: usize) -> &mut Command {
    if std::env::var_os(THREADS_VARIABLE).is_none() {
        cargo.env(THREADS_VARIABLE, threads.to_string());
    }
    cargo
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}
