//! `cargo xtask lint`: formatting, and the compiler's and clippy's opinion of
//! every target, with warnings as errors.

use std::{process::Command, time::Duration};

use anyhow::Context as _;

use rekey_testbed::{shell, workspace};

use crate::build;

/// Long enough for 20 MB over a slow line.
const RUSTUP_LIMIT: Duration = Duration::from_secs(180);

/// Checks all, after obtaining what is missing.
///
/// # Errors
/// A file is not formatted, a lint complains, or a tool cannot be obtained.
pub fn run() -> anyhow::Result<()> {
    obtain_tools()?;
    shell::run(workspace::cargo().args(["fmt", "--all", "--check"]))?;
    clippy(&["--workspace", "--all-targets"])?;
    // The store as it is shipped: its tests switch the crash points on, the fuzz
    // targets what is private, and both for all of the above. Not the store alone,
    // which asks for other features of the crates that it shares.
    clippy(&[
        "--workspace",
        "--all-targets",
        "--exclude=rekey-store",
        "--exclude=rekey-fuzz",
    ])?;
    // The hostcalls exist on this target only.
    if build::obtain_wasm_target()? {
        clippy(&["--package=rekey", "--lib", "--target=wasm32-wasip1"])?;
    } else {
        shell::say("the filter is not linted for WASI: this Rust has no such target");
    }
    Ok(())
}

/// Adds rustfmt and clippy where they are missing.
///
/// # Errors
/// They cannot be had.
pub fn obtain_tools() -> anyhow::Result<()> {
    obtain("fmt", "rustfmt")?;
    obtain("clippy", "clippy")
}

fn clippy(what: &[&str]) -> anyhow::Result<()> {
    let mut cargo = workspace::cargo();
    cargo.arg("clippy").args(what);
    shell::run(cargo.args(["--", "--deny", "warnings"]))
}

fn obtain(subcommand: &str, component: &str) -> anyhow::Result<()> {
    if shell::output(workspace::cargo().args([subcommand, "--version"])).is_ok() {
        return Ok(());
    }
    shell::say(format_args!("{component} is missing: adding it"));
    let mut rustup = Command::new("rustup");
    rustup.current_dir(workspace::root());
    rustup.args(["component", "add", component]);
    shell::run_for(RUSTUP_LIMIT, &mut rustup)
        .with_context(|| format!("{component} is missing; add it to the Rust that is used here"))
}
