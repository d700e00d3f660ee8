//! Lanes that only compute. They run beside the others and take what these leave
//! of the machine, which is much: most tests wait for a process or for a time to pass.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _},
    process::{self, Command},
};

use rekey_testbed::shell;

use super::lane::Lane;

/// Below everything else: no test may wait for these.
const NICENESS: &str = "19";

/// Runs the lane in a process of its own, and shows in one piece what it said.
///
/// # Errors
/// It fails.
pub(super) fn run(lane: Lane, filters: &[String]) -> anyhow::Result<()> {
    let mut said = tempfile::tempfile()?;
    let mut command = Command::new("nice");
    command.args(["-n", NICENESS]);
    // Not by its path: other lanes build this very program meanwhile.
    command.arg(format!("/proc/{}/exe", process::id()));
    command.args(["test", lane.name(), "--"]).args(filters);
    let result = shell::run_into(&said, &mut command);
    show(&mut said)?;
    result
}

fn show(said: &mut File) -> io::Result<()> {
    let mut text = String::new();
    said.rewind()?;
    said.read_to_string(&mut text)?;
    eprint!("{text}");
    Ok(())
}
