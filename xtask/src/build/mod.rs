//! `cargo xtask build`: everything that runs, from a fresh checkout.
//!
//! | what | where (below cargo's target folder) |
//! | --- | --- |
//! | the filter, with only the exports of `src/interface.txt` | `rekey/rekey.wasm` |
//! | the key store and its command line | `release/rekey-store` |
//! | the demo upstream | `release/rekey-demo` |
//!
//! What is missing (the wasm target) is obtained, and said. Cargo decides what
//! is out of date: with nothing changed this takes a second.

mod filter;
pub mod interface;
mod toolchain;

use std::path::PathBuf;

use crate::{shell, workspace};

pub use filter::INTERFACE_FILE;
pub use toolchain::ToolchainChoice;

/// Options of `cargo xtask build`.
#[derive(Debug, Default, clap::Args)]
pub struct BuildArgs {
    /// Which Rust compiles the filter
    #[arg(long, value_enum, default_value_t)]
    pub wasm_toolchain: ToolchainChoice,
}

/// What has been built.
#[derive(Debug, Clone)]
pub struct Built {
    /// The filter, as an Envoy loads it.
    pub filter: PathBuf,
    /// The key store and its command line.
    pub store: PathBuf,
    /// The demo upstream.
    pub demo: PathBuf,
}

impl Built {
    /// Where things are once they are built; looks at nothing.
    pub(crate) fn expected() -> anyhow::Result<Self> {
        let release = workspace::target_dir()?.join("release");
        Ok(Self {
            filter: workspace::output_dir()?.join(filter::FILE_NAME),
            store: release.join("rekey-store"),
            demo: release.join("rekey-demo"),
        })
    }
}

/// Builds the filter, the key store and the demo upstream.
///
/// # Errors
/// Something does not compile, or the wasm target is missing and cannot be
/// obtained here.
pub fn run(args: &BuildArgs) -> anyhow::Result<Built> {
    filter::build(args.wasm_toolchain)?;
    build_release(&[])?;
    Built::expected()
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

/// Builds the key store that can be told to die at a given point of a
/// transaction; tests only.
///
/// # Errors
/// It does not compile.
pub fn store_with_crash_points() -> anyhow::Result<PathBuf> {
    let name = "rekey-store-crash-points";
    build_release(&["--features=crash-points", "--bin", name])?;
    Ok(workspace::target_dir()?.join("release").join(name))
}

/// Always both packages: together they ask for the same features of the crates
/// they share, which are then compiled once for all calls.
fn build_release(args: &[&str]) -> anyhow::Result<()> {
    let mut cargo = workspace::cargo();
    cargo.args(["build", "--release"]);
    cargo.args(["--package", "rekey-store", "--package", "rekey-demo"]);
    shell::run(cargo.args(args))
}
