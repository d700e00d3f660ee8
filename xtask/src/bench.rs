//! `cargo xtask bench`: calls the bench of the crate `load`.

use std::ffi::OsString;

use anyhow::ensure;
use rekey_testbed::workspace;

/// Options of `cargo xtask bench`, which are the bench's own.
#[derive(Debug, clap::Args)]
pub struct BenchArgs {
    /// What the bench takes; `--help` tells
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<OsString>,
}

/// Builds the bench and runs it.
///
/// # Errors
/// It does not build, or fails.
pub fn run(args: &BenchArgs) -> anyhow::Result<()> {
    let mut cargo = workspace::cargo();
    // Optimized: a thousand simulated gateways are to cost the machine little
    // while something else is measured.
    cargo.args([
        "run",
        "--quiet",
        "--release",
        "--package",
        "rekey-load",
        "--",
    ]);
    // Its standard output is the answer, so it goes where ours goes.
    let status = cargo.args(&args.args).status()?;
    ensure!(status.success(), "the bench failed: {status}");
    Ok(())
}
