//! The programs of a fleet: built or obtained once in the life of a process.

use std::{
    env,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use crate::{envoy, shell, workspace};

/// Set, this names the folder of programs that are built already, and the tests
/// need not run `cargo xtask build`. `cargo xtask test` sets it.
pub const PREBUILT_VARIABLE: &str = "REKEY_PREBUILT";

/// What is built: by `cargo xtask build`, or by `cargo xtask test` for its tests.
#[derive(Debug, Clone)]
pub struct Built {
    /// The filter, as an Envoy loads it.
    pub filter: PathBuf,
    /// The key store and its command line.
    pub store: PathBuf,
    /// The demo upstream.
    pub demo: PathBuf,
    /// The key store that can be told to die at a given point; there only where
    /// it was asked for.
    pub store_with_crash_points: PathBuf,
}

impl Built {
    /// Where things are once they are built; looks at nothing.
    ///
    /// # Errors
    /// Cargo does not tell where its target folder is.
    pub fn expected() -> anyhow::Result<Self> {
        let programs = match prebuilt() {
            Some(folder) => folder,
            None => workspace::target_dir()?.join("release"),
        };
        Ok(Self {
            filter: workspace::output_dir()?.join("rekey.wasm"),
            store: programs.join("rekey-store"),
            demo: programs.join("rekey-demo"),
            store_with_crash_points: programs.join("rekey-store-crash-points"),
        })
    }
}

/// Paths of the programs, and of the filter.
#[derive(Debug, Clone)]
pub struct Artifacts {
    /// An Envoy.
    pub envoy: PathBuf,
    /// The filter, the key store and the demo upstream.
    pub built: Built,
}

impl Artifacts {
    /// Builds what is out of date and fetches what is missing; from the second
    /// call on it just answers.
    ///
    /// # Errors
    /// Something cannot be built or fetched.
    pub fn obtain() -> anyhow::Result<Self> {
        static OBTAINED: Mutex<Option<Artifacts>> = Mutex::new(None);
        let mut obtained = OBTAINED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(artifacts) = &*obtained {
            return Ok(artifacts.clone());
        }
        build(&[])?;
        let artifacts = Self {
            built: Built::expected()?,
            envoy: envoy::obtain()?,
        };
        Ok(obtained.insert(artifacts).clone())
    }

    /// The key store that can be told to die at a given point.
    ///
    /// # Errors
    /// It cannot be built.
    pub fn store_with_crash_points() -> anyhow::Result<PathBuf> {
        static BUILT: Mutex<bool> = Mutex::new(false);
        let mut is_built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
        if !*is_built {
            build(&["--crash-points"])?;
            *is_built = true;
        }
        Ok(Built::expected()?.store_with_crash_points)
    }
}

/// By a command of its own: how things are built is the automation's business.
fn build(options: &[&str]) -> anyhow::Result<()> {
    if prebuilt().is_some() {
        return Ok(());
    }
    shell::run(workspace::cargo().args(["xtask", "build"]).args(options))
}

fn prebuilt() -> Option<PathBuf> {
    let folder = env::var_os(PREBUILT_VARIABLE)?;
    (!folder.is_empty()).then(|| folder.into())
}
