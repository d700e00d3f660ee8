//! Rules that hold for every source file, as tests: what a file is for is said
//! in its first line, and it can be read in one sitting.

#![allow(clippy::expect_used)]

use std::path::{Path, PathBuf};

/// Lines that a file may have before it wants a seam.
const MOST_LINES: usize = 500;

fn rust_files() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let listed = std::process::Command::new("git")
        .args([
            "ls-files",
            "--cached",
            "--others",
            "--exclude-standard",
            "*.rs",
        ])
        .current_dir(&root)
        .output()
        .expect("git lists the files");
    let files: Vec<_> = String::from_utf8_lossy(&listed.stdout)
        .lines()
        .map(|line| root.join(line))
        .filter(|path| path.exists())
        .collect();
    assert!(files.len() > 20, "only {} files found", files.len());
    files
}

fn complain(rule: &str, broken: impl Fn(&str) -> bool) {
    let found: Vec<_> = rust_files()
        .into_iter()
        .filter(|path| broken(&std::fs::read_to_string(path).expect("UTF-8")))
        .collect();
    assert!(found.is_empty(), "{rule}: {found:#?}");
}

#[test]
fn every_file_says_what_it_is_for() {
    complain("begins with //!", |text| !text.starts_with("//!"));
}

#[test]
fn every_file_can_be_read_in_one_sitting() {
    complain("has 500 lines at most", |text| {
        text.lines().count() > MOST_LINES
    });
}

#[test]
fn no_line_ends_in_white_space() {
    complain("no white space at the end of a line", |text| {
        text.lines().any(|line| line.ends_with([' ', '\t'])) || !text.ends_with('\n')
    });
}
