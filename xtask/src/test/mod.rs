//! `cargo xtask test`: everything that must hold, in lanes that run alone too.
//!
//! | lane | what |
//! | --- | --- |
//! | lint | formatting and lints, as `cargo xtask lint` |
//! | unit | the tests of all crates that need no other process of a fleet |
//! | e2e | the fleet of real processes, and the dashboard in a browser; needs an Envoy |
//! | sim | the simulator and the model |
//! | containers | docker-compose.yml, as `cargo xtask compose`; needs Docker |
//!
//! Lanes that only compute, `lint` and `sim`, run beside the others with what these
//! leave of the machine.
//!
//! A lane that fails hides no later one: all run, and in the end all are told of,
//! with their seconds. What cannot run here is skipped and named. Where the
//! variable `CI` is set, that is a failure, except for [`OPTIONAL`] lanes.

mod beside;
mod lane;
mod report;
mod targets;

use std::{env, sync::Mutex, thread};

use clap::ValueEnum as _;

pub use lane::Lane;
use lane::Place;
use report::Report;

/// Lanes that CI machines need not be able to run.
pub const OPTIONAL: [Lane; 1] = [Lane::Containers];

/// Options of `cargo xtask test`.
#[derive(Debug, clap::Args)]
pub struct TestArgs {
    /// Which lanes; all if none is named
    #[arg(value_enum, value_name = "LANE")]
    lanes: Vec<Lane>,
    /// Names of tests, or options of the test harness; only lanes with such tests run then
    #[arg(last = true, value_name = "FILTER")]
    filters: Vec<String>,
}

/// Builds what the lanes need, and runs them.
///
/// # Errors
/// A lane fails, or cannot run where it must.
pub fn run(args: &TestArgs) -> anyhow::Result<()> {
    let lanes = match args.lanes.as_slice() {
        [] => Lane::value_variants(),
        lanes => lanes,
    };
    let lanes = lanes.iter().copied();
    let (beside, first): (Vec<_>, Vec<_>) = lanes.partition(|lane| lane.only_computes());
    let report = Mutex::new(Report::new(is_ci()));
    let run = &|lanes: Vec<Lane>, place: Place| {
        for lane in lanes {
            if lane.has_named_tests() || args.filters.is_empty() {
                lane.run(place, &args.filters, &report);
            } else {
                Report::lock(&report).leave_out(lane, "only some tests were asked for");
            }
        }
    };
    thread::scope(|scope| {
        let place = match first.as_slice() {
            [] => Place::First,
            _ => Place::Beside,
        };
        scope.spawn(move || run(beside, place));
        run(first, Place::First);
    });
    let report = Report::lock(&report);
    report.tell();
    report.verdict()
}

fn is_ci() -> bool {
    env::var("CI").is_ok_and(|ci| !matches!(ci.as_str(), "" | "0" | "false"))
}
