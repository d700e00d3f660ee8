//! The folder in which a fleet keeps its logs, configurations and database.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
};

use anyhow::Context as _;
use tempfile::TempDir;

/// A folder: a temporary one, which is removed in the end unless a test is
/// failing just then, or a given one, which is kept.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    temporary: Option<TempDir>,
}

impl RunDir {
    /// A new folder among the machine's temporary files.
    ///
    /// # Errors
    /// It cannot be created.
    pub fn temporary() -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("rekey-").tempdir()?;
        Ok(Self {
            path: folder.path().to_owned(),
            temporary: Some(folder),
        })
    }

    /// This folder; created if absent, never removed.
    ///
    /// # Errors
    /// It cannot be created.
    pub fn kept(path: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self {
            path: fs::canonicalize(path)?,
            temporary: None,
        })
    }

    /// Its absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        let Some(folder) = self.temporary.take() else {
            return;
        };
        if thread::panicking() {
            let path = folder.keep();
            eprintln!("the logs of the failed test are kept in {}", path.display());
        }
    }
}
