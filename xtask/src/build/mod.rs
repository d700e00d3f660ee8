//! `cargo xtask build`: everything that runs, from a fresh checkout.
//!
//! | what | where (below cargo's target folder) |
//! | --- | --- |
//! | the filter, with only the exports of `src/interface.txt` | `rekey/rekey.wasm` |
//! | the key store and its command line | `release/rekey-store` |
//! | the demo upstream | `release/rekey-demo` |
//! | with `--crash-points`: the store that tests can kill anywhere | `release/rekey-store-crash-points` |
//!
//! What is missing (the wasm target) is obtained, and said. Cargo decides what
//! is out of date: with nothing changed this takes a second.

mod filter;
pub mod interface;
mod toolchain;

use std::path::PathBuf;

use rekey_testbed::{Built, shell, workspace};

pub use filter::INTERFACE_FILE;
pub use toolchain::ToolchainChoice;

/// The store's program with crash points, by cargo's name.
const CRASH_POINTS: &str = "rekey-store-crash-points";

/// Options of `cargo xtask build`.
#[derive(Debug, Default, clap::Args)]
pub struct BuildArgs {
    /// Which Rust compiles the filter
    #[arg(long, value_enum, default_value_t)]
    pub wasm_toolchain: ToolchainChoice,
    /// Build the key store, too, that tests can tell to die at a given point
    #[arg(long)]
    pub crash_points: bool,
}

/// Builds the filter, the key store and the demo upstream.
///
/// # Errors
/// Something does not compile, or the wasm target is missing and cannot be
/// obtained here.
pub fn run(args: &BuildArgs) -> anyhow::Result<Built> {
    filter::build(args.wasm_toolchain)?;
    build_release(&[])?;
    if args.crash_points {
        build_release(&["--features=crash-points", "--bin", CRASH_POINTS])?;
    }
    Built::expected()
}

/// Builds what the end-to-end tests start, and these tests: the filter as it is
/// shipped, and the programs as the other tests have compiled them already. Only
/// together with tests do they ask for the same features of the crates they share.
///
/// # Errors
/// As [`run`].
pub(crate) fn run_for_tests(tests: &[&str]) -> anyhow::Result<PathBuf> {
    filter::build(ToolchainChoice::Auto)?;
    let mut cargo = workspace::cargo();
    cargo.args(["build", "--workspace"]).args(tests);
    let programs = ["rekey-store", CRASH_POINTS, "rekey-demo"];
    cargo.args(programs.iter().flat_map(|program| ["--bin", program]));
    shell::run(&mut cargo)?;
    Ok(workspace::target_dir()?.join("debug"))
}

/// Whether the Rust that runs this crate compiles for the filter's target,
/// after trying to add it.
///
/// # Errors
/// There is no Rust that does.
pub(crate) fn obtain_wasm_target() -> anyhow::Result<bool> {
    let toolchain = toolchain::Toolchain::obtain(ToolchainChoice::Auto)?;
    Ok(matches!(toolchain, toolchain::Toolchain::Here))
}

/// Always both packages: together they ask for the same features of the crates
/// they share, which are then compiled once for all calls.
fn build_release(args: &[&str]) -> anyhow::Result<()> {
    let mut cargo = workspace::cargo();
    cargo.args(["build", "--release"]);
    cargo.args(["--package", "rekey-store", "--package", "rekey-demo"]);
    shell::run(cargo.args(args))
}
