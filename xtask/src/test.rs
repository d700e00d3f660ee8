//! `cargo xtask test`: everything that must hold, in one go.
//!
//! | part | what |
//! | --- | --- |
//! | lint | formatting and lints, as `cargo xtask lint` |
//! | tests | the unit tests of all crates, and the fuzz targets over their kept inputs |
//! | end-to-end tests | the same run: the fleet of real processes; needs an Envoy |
//! | browser tests | the same run: the dashboard in a real browser; needs Chromium |
//! | containers | docker-compose.yml, as `cargo xtask compose`; needs Docker |
//!
//! A part that cannot run here is skipped and named in the end. Where the
//! variable `CI` is set, that is a failure, except for [`OPTIONAL`] ones.

use std::{env, fmt, time::Instant};

use anyhow::bail;

use rekey_testbed::{PREBUILT_VARIABLE, chromium, envoy, shell, workspace};

use crate::{
    build::{self, BuildArgs},
    compose::{self, BaseChoice, ComposeArgs},
    lint,
};

/// Parts that CI machines need not be able to run.
pub const OPTIONAL: [Part; 1] = [Part::Containers];

/// A part of the test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Formatting and lints.
    Lint,
    /// The unit tests.
    Tests,
    /// The tests on a real Envoy.
    EndToEnd,
    /// Those of them that a browser is needed for.
    Browser,
    /// docker-compose.yml.
    Containers,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lint => "lint",
            Self::Tests => "tests",
            Self::EndToEnd => "end-to-end tests",
            Self::Browser => "browser tests",
            Self::Containers => "containers",
        })
    }
}

/// Options of `cargo xtask test`.
#[derive(Debug, clap::Args)]
pub struct TestArgs {
    /// Names of tests, or options of the test harness; lint and containers are left out then
    #[arg(last = true, value_name = "FILTER")]
    filters: Vec<String>,
}

/// Builds everything and tests it.
///
/// # Errors
/// A test fails, something does not build, or on CI a part that is not
/// optional cannot run.
pub fn run(args: &TestArgs) -> anyhow::Result<()> {
    let mut report = Report::new(is_ci());
    let only_some = (!args.filters.is_empty()).then_some("only some tests were asked for");

    match only_some {
        Some(why) => report.leave_out(Part::Lint, why),
        None => match lint::obtain_tools() {
            Ok(()) => {
                lint::run()?;
                report.passed(Part::Lint);
            }
            Err(why) => report.skip(Part::Lint, &why)?,
        },
    }
    tests(args, &mut report)?;
    match only_some {
        Some(why) => report.leave_out(Part::Containers, why),
        None => match compose::obtain() {
            Err(why) => report.skip(Part::Containers, &why)?,
            Ok(()) => {
                compose::run(ComposeArgs {
                    keep: false,
                    bases: BaseChoice::Auto,
                })?;
                report.passed(Part::Containers);
            }
        },
    }
    report.tell();
    Ok(())
}

fn tests(args: &TestArgs, report: &mut Report) -> anyhow::Result<()> {
    let mut cargo = workspace::cargo();
    // Other crates are tested even where one has failed.
    cargo.args(["test", "--workspace", "--no-fail-fast"]);
    let mut parts = vec![Part::Tests];
    match envoy::obtain() {
        Ok(_) => {
            parts.push(Part::EndToEnd);
            // Here too, so that it is told: a test without one skips itself.
            match chromium::obtain() {
                Ok(_) => parts.push(Part::Browser),
                Err(why) => report.skip(Part::Browser, &why)?,
            }
            build::run(&BuildArgs {
                crash_points: true,
                ..BuildArgs::default()
            })?;
            cargo.env(PREBUILT_VARIABLE, "1");
        }
        Err(why) => {
            report.skip(Part::EndToEnd, &why)?;
            report.leave_out(Part::Browser, "they are among the end-to-end tests");
            // Both hold tests that start a fleet.
            cargo.args(["--exclude", "rekey", "--exclude", "xtask"]);
        }
    }
    shell::run(cargo.arg("--").args(&args.filters))?;
    for part in parts {
        report.passed(part);
    }
    Ok(())
}

fn is_ci() -> bool {
    env::var("CI").is_ok_and(|ci| !matches!(ci.as_str(), "" | "0" | "false"))
}

/// What has been run, and what has not.
struct Report {
    is_ci: bool,
    started: Instant,
    lines: Vec<String>,
}

impl Report {
    fn new(is_ci: bool) -> Self {
        Self {
            is_ci,
            started: Instant::now(),
            lines: Vec::new(),
        }
    }

    fn passed(&mut self, part: Part) {
        let seconds = self.started.elapsed().as_secs();
        self.lines.push(format!("passed   {part} (at {seconds} s)"));
    }

    /// It cannot run here.
    fn skip(&mut self, part: Part, why: &anyhow::Error) -> anyhow::Result<()> {
        if self.is_ci && !OPTIONAL.contains(&part) {
            bail!("{part} cannot run, and CI must run it: {why:#}");
        }
        self.leave_out(part, &format!("{why:#}"));
        Ok(())
    }

    fn leave_out(&mut self, part: Part, why: &str) {
        self.lines.push(format!("SKIPPED  {part}: {why}"));
    }

    fn tell(&self) {
        for line in &self.lines {
            shell::say(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_optional_may_be_skipped_on_ci() {
        let why = anyhow::anyhow!("it is not there");
        for part in [Part::Lint, Part::EndToEnd, Part::Browser] {
            let error = Report::new(true).skip(part, &why).unwrap_err().to_string();
            assert!(error.contains(&part.to_string()), "{error}");
        }
        Report::new(true).skip(Part::Containers, &why).unwrap();
    }

    #[test]
    fn what_is_skipped_is_told_with_the_reason() {
        let mut report = Report::new(false);
        let why = anyhow::anyhow!("no Chromium").context("no browser here");
        report.skip(Part::Browser, &why).unwrap();
        assert_eq!(
            report.lines,
            ["SKIPPED  browser tests: no browser here: no Chromium"]
        );
    }
}
