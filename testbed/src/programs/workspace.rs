//! Where things are: the repository, and the folder of what is built from it.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use anyhow::Context as _;
use serde::Deserialize;

use crate::shell;

/// The repository.
pub fn root() -> &'static Path {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask)
}

/// Cargo's own target folder, whatever the environment or a configuration
/// file makes of it (`target/` unless told otherwise).
pub fn target_dir() -> anyhow::Result<PathBuf> {
    #[derive(Deserialize)]
    struct Metadata {
        target_directory: PathBuf,
    }

    static TARGET: OnceLock<PathBuf> = OnceLock::new();
    if let Some(target) = TARGET.get() {
        return Ok(target.clone());
    }
    let json = shell::output(cargo().args(["metadata", "--no-deps", "--format-version=1"]))?;
    let metadata: Metadata =
        serde_json::from_str(&json).context("cannot read what `cargo metadata` says")?;
    Ok(TARGET.get_or_init(|| metadata.target_directory).clone())
}

/// `<target>/rekey`: what this crate makes itself, the finished filter and a
/// private Envoy among it. Created if absent.
pub fn output_dir() -> anyhow::Result<PathBuf> {
    let output = target_dir()?.join("rekey");
    std::fs::create_dir_all(&output)
        .with_context(|| format!("cannot create {}", output.display()))?;
    Ok(output)
}

/// The cargo that runs this crate, in the repository.
pub fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root());
    cargo
}
