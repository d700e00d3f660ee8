//! What has been run, how long it took, and what could not run.

use std::{
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::bail;
use rekey_testbed::shell;

use super::{OPTIONAL, lane::Lane};

/// How long a lane took.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Took {
    built: Duration,
    ran: Duration,
}

impl Took {
    /// Counts as building.
    pub(super) fn building<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let done = work();
        self.built += began.elapsed();
        done
    }

    /// Counts as running.
    pub(super) fn running<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let done = work();
        self.ran += began.elapsed();
        done
    }

    /// Builds and runs the tests of a `cargo test`, which is not told of the
    /// harness yet.
    ///
    /// # Errors
    /// A test fails, or does not compile.
    pub(super) fn tests(&mut self, cargo: &mut Command, harness: &[&str]) -> anyhow::Result<()> {
        let mut no_run = workspace_copy(cargo);
        self.building(|| shell::run(no_run.arg("--no-run")))?;
        self.running(|| shell::run(cargo.arg("--").args(harness)))
    }
}

/// The same command once more.
fn workspace_copy(command: &Command) -> Command {
    let mut copy = Command::new(command.get_program());
    copy.args(command.get_args());
    if let Some(folder) = command.get_current_dir() {
        copy.current_dir(folder);
    }
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            copy.env(name, value);
        }
    }
    copy
}

/// A line for each lane.
pub(super) struct Report {
    is_ci: bool,
    lines: Vec<String>,
    failed: Vec<&'static str>,
}

impl Report {
    /// An empty one; on CI, what cannot run has failed.
    pub(super) fn new(is_ci: bool) -> Self {
        Self {
            is_ci,
            lines: Vec::new(),
            failed: Vec::new(),
        }
    }

    /// For one of the lanes that run beside each other.
    pub(super) fn lock(shared: &Mutex<Self>) -> MutexGuard<'_, Self> {
        shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It has run.
    pub(super) fn ran(&mut self, lane: Lane, took: Took, result: anyhow::Result<()>) {
        let seconds = seconds(took);
        match result {
            Ok(()) => self.add("passed", lane, &seconds),
            Err(error) => self.fail(lane, &format!("{seconds}: {error:#}")),
        }
    }

    /// It cannot run here.
    pub(super) fn cannot_run(&mut self, lane: Lane, why: &anyhow::Error) {
        if self.is_ci && !OPTIONAL.contains(&lane) {
            self.fail(lane, &format!("CI must run it, and it cannot: {why:#}"));
        } else {
            self.leave_out(lane, &format!("{why:#}"));
        }
    }

    /// Some of its tests cannot run here.
    pub(super) fn cannot_run_part(&mut self, lane: Lane, part: &str, why: &anyhow::Error) {
        let why = anyhow::anyhow!("{part}: {why:#}");
        self.cannot_run(lane, &why);
    }

    /// It has not been asked for.
    pub(super) fn leave_out(&mut self, lane: Lane, why: &str) {
        self.add("SKIPPED", lane, why);
    }

    /// Says all of it.
    pub(super) fn tell(&self) {
        for line in &self.lines {
            shell::say(line);
        }
    }

    /// An error that names the lanes that failed.
    ///
    /// # Errors
    /// One has failed.
    pub(super) fn verdict(&self) -> anyhow::Result<()> {
        if self.failed.is_empty() {
            return Ok(());
        }
        bail!("failed: {}", self.failed.join(", "))
    }

    fn fail(&mut self, lane: Lane, how: &str) {
        self.add("FAILED", lane, how);
        if !self.failed.contains(&lane.name()) {
            self.failed.push(lane.name());
        }
    }

    fn add(&mut self, outcome: &str, lane: Lane, rest: &str) {
        self.lines
            .push(format!("{outcome:<8} {:<11}{rest}", lane.name()));
    }
}

fn seconds(took: Took) -> String {
    let (built, ran) = (took.built.as_secs(), took.ran.as_secs());
    match built {
        0 => format!("{ran} s"),
        _ => format!("{} s, {built} s of it to build", built + ran),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing() -> anyhow::Error {
        anyhow::anyhow!("no Chromium").context("no browser here")
    }

    #[test]
    fn only_what_is_optional_may_be_skipped_on_ci() {
        for lane in [Lane::Lint, Lane::E2e] {
            let mut report = Report::new(true);
            report.cannot_run(lane, &missing());
            let error = report.verdict().unwrap_err().to_string();
            assert!(error.contains(lane.name()), "{error}");
        }
        let mut report = Report::new(true);
        report.cannot_run(Lane::Containers, &missing());
        report.verdict().unwrap();
    }

    #[test]
    fn a_part_of_a_lane_may_not_be_skipped_on_ci_either() {
        let mut report = Report::new(true);
        report.cannot_run_part(Lane::E2e, "browser tests", &missing());
        report.ran(Lane::E2e, Took::default(), Ok(()));
        assert_eq!(report.verdict().unwrap_err().to_string(), "failed: e2e");
    }

    #[test]
    fn what_is_skipped_is_told_with_the_reason() {
        let mut report = Report::new(false);
        report.cannot_run_part(Lane::E2e, "browser tests", &missing());
        assert_eq!(
            report.lines,
            ["SKIPPED  e2e        browser tests: no browser here: no Chromium"]
        );
        report.verdict().unwrap();
    }

    #[test]
    fn a_failed_lane_is_told_among_those_that_ran_after_it() {
        let mut report = Report::new(false);
        let took = Took {
            built: Duration::from_secs(40),
            ran: Duration::from_secs(2),
        };
        report.ran(Lane::Unit, took, Err(anyhow::anyhow!("a test failed")));
        report.ran(Lane::Sim, Took::default(), Ok(()));
        assert_eq!(
            report.lines,
            [
                "FAILED   unit       42 s, 40 s of it to build: a test failed",
                "passed   sim        0 s",
            ]
        );
        assert_eq!(report.verdict().unwrap_err().to_string(), "failed: unit");
    }
}
