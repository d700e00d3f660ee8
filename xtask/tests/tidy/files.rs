//! The texts of the repository, as git lists them.

use std::path::{Path, PathBuf};

/// A text and where it is.
pub(crate) struct File {
    /// From the repository's root, with `/`.
    pub path: String,
    /// All of it.
    pub text: String,
}

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The paths that match one of the patterns, also those that git does not have yet.
pub(crate) fn listed(patterns: &[&str]) -> Vec<String> {
    let listed = std::process::Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .args(["--deduplicate", "--"])
        .args(patterns)
        .current_dir(root())
        .output()
        .expect("git lists the files");
    let paths = String::from_utf8(listed.stdout).expect("paths are UTF-8");
    let exists = |path: &&str| root().join(path).exists();
    paths.lines().filter(exists).map(str::to_owned).collect()
}

/// The texts that match one of the patterns.
pub(crate) fn read(patterns: &[&str]) -> Vec<File> {
    let read = |path: String| {
        let text = std::fs::read_to_string(root().join(&path)).expect("a text is UTF-8");
        File { path, text }
    };
    listed(patterns).into_iter().map(read).collect()
}

/// All source files.
pub(crate) fn sources() -> Vec<File> {
    let files = read(&["*.rs"]);
    assert!(files.len() > 20, "only {} files found", files.len());
    files
}

impl File {
    /// The part that is built into a program, and the part that tests it.
    pub(crate) fn shipped_and_tested(&self) -> (&str, &str) {
        const FOLDERS: [&str; 5] = ["tests", "scenarios", "testing", "conformance", "fuzz"];
        let is_of_tests = |part| FOLDERS.contains(&part) || part == "tests.rs";
        if self.path.split('/').any(is_of_tests) {
            return ("", &self.text);
        }
        let unit_tests = self.text.find("#[cfg(test)]\nmod tests {");
        self.text.split_at(unit_tests.unwrap_or(self.text.len()))
    }
}
