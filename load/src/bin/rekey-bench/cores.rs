//! Which of the machine's cores a process may use (util-linux's `taskset`).

use std::{process::Command, thread};

use anyhow::Context as _;
use rekey_testbed::shell;

/// Gives the first core to one process and the rest to others; on a machine with
/// one core all of them share it.
///
/// # Errors
/// There is no `taskset`, or a process has ended.
pub(crate) fn pin_alone(alone: u32, others: impl IntoIterator<Item = u32>) -> anyhow::Result<()> {
    let cores = thread::available_parallelism()?.get();
    pin(alone, "0")?;
    if cores > 1 {
        let rest = format!("1-{}", cores - 1);
        for process in others {
            pin(process, &rest)?;
        }
    }
    Ok(())
}

/// When this is dropped, the process may use all cores again.
#[derive(Debug)]
pub(crate) struct Released(pub u32);

impl Drop for Released {
    fn drop(&mut self) {
        // The mask, not what is available: that is what was pinned.
        let all = Command::new("taskset")
            .args(["--all-tasks", "--pid", "ffffffff"])
            .arg(self.0.to_string())
            .output();
        drop(all);
    }
}

/// All threads of a process; those to come get it from those there are.
fn pin(process: u32, cores: &str) -> anyhow::Result<()> {
    let mut taskset = Command::new("taskset");
    taskset.args(["--all-tasks", "--pid", "--cpu-list", cores]);
    let pinned = shell::output(taskset.arg(process.to_string()));
    pinned.map(drop).context("taskset, of util-linux")
}
