//! Names of files beside a database, and their folder.

pub(super) mod backup;
pub(super) mod loss;
pub(super) mod restore;

use std::fs::File;
use std::path::{Path, PathBuf};

/// The path with something behind its last letter, as SQLite names its own files.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push(suffix);
    PathBuf::from(beside)
}

/// The folder of a file.
pub(super) fn folder_of(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

/// A new name is there after a power cut if its folder says so.
pub(super) fn sync_folder(folder: &Path) -> std::io::Result<()> {
    File::open(folder)?.sync_all()
}
