//! The programs of a fleet: built or obtained once in the life of a process.

use std::{
    env,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use crate::{
    build::{self, BuildArgs, Built},
    envoy, workspace,
};

/// Set, this says that `cargo xtask build` has just run, and the tests need
/// not run it again. `cargo xtask test` sets it.
pub const PREBUILT_VARIABLE: &str = "REKEY_PREBUILT";

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
        let artifacts = Self {
            built: if is_prebuilt() {
                Built::expected()?
            } else {
                build::run(&BuildArgs::default())?
            },
            envoy: envoy::obtain()?,
        };
        Ok(obtained.insert(artifacts).clone())
    }

    /// The key store that can be told to die at a given point.
    ///
    /// # Errors
    /// It cannot be built.
    pub fn store_with_crash_points() -> anyhow::Result<PathBuf> {
        static OBTAINED: Mutex<Option<PathBuf>> = Mutex::new(None);
        let mut obtained = OBTAINED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(path) = &*obtained {
            return Ok(path.clone());
        }
        let path = if is_prebuilt() {
            workspace::target_dir()?.join("release/rekey-store-crash-points")
        } else {
            build::store_with_crash_points()?
        };
        Ok(obtained.insert(path).clone())
    }
}

fn is_prebuilt() -> bool {
    env::var_os(PREBUILT_VARIABLE).is_some_and(|value| !value.is_empty())
}
