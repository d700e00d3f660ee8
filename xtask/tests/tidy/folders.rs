//! A folder holds few files, and a module is in one place: `x/mod.rs` where it has
//! parts, never `x.rs` beside `x/`.

use std::collections::{BTreeMap, BTreeSet};

use crate::files;

/// Source files that may lie in one folder, beside the one that names them.
const MOST_FILES: usize = 10;

/// The files that a folder's module or crate begins with.
const FIRST: [&str; 3] = ["mod.rs", "lib.rs", "main.rs"];

/// Folders that may hold more, and why.
const EXEMPT: [(&str, &str); 2] = [
    (
        "fuzz/fuzz_targets",
        "cargo-fuzz wants one program for each target there",
    ),
    (
        "store",
        "its folders are being regrouped; they follow with that change",
    ),
];

fn is_exempt(path: &str) -> bool {
    let mut exempt = EXEMPT.iter();
    exempt.any(|(folder, _)| {
        path.strip_prefix(folder)
            .is_some_and(|rest| rest.starts_with('/'))
    })
}

/// The source files of each folder, by their names.
fn folders(paths: &[String]) -> BTreeMap<&str, Vec<&str>> {
    let mut folders = BTreeMap::<_, Vec<_>>::new();
    for path in paths {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        folders.entry(folder).or_default().push(name);
    }
    folders
}

/// Folders with too many files.
fn crowded(paths: &[String]) -> Vec<String> {
    let folders = folders(paths).into_iter();
    let counted = folders.map(|(folder, names)| {
        let files = names.iter().filter(|name| !FIRST.contains(name));
        (folder, files.count())
    });
    let crowded = counted.filter(|(_, files)| *files > MOST_FILES);
    crowded
        .map(|(folder, files)| format!("{folder}: {files}"))
        .collect()
}

/// Files beside a folder of their name.
fn doubled(paths: &[String]) -> Vec<&String> {
    let folders: BTreeSet<_> = folders(paths).into_keys().collect();
    let is_doubled = |path: &&String| {
        let module = path.strip_suffix(".rs");
        module.is_some_and(|module| folders.contains(module))
    };
    paths.iter().filter(is_doubled).collect()
}

fn paths() -> Vec<String> {
    let mut paths = files::listed(&["*.rs"]);
    assert!(paths.len() > 20, "only {} files found", paths.len());
    paths.retain(|path| !is_exempt(path));
    paths
}

#[test]
fn every_folder_can_be_seen_at_once() {
    let crowded = crowded(&paths());
    assert!(
        crowded.is_empty(),
        "{MOST_FILES} files at most: {crowded:#?}"
    );
}

#[test]
fn every_module_is_in_one_place() {
    let paths = paths();
    let doubled = doubled(&paths);
    assert!(doubled.is_empty(), "these are to be x/mod.rs: {doubled:#?}");
}

#[test]
fn folders_are_counted() {
    let many = (0..=MOST_FILES).map(|number| format!("a/b/{number}.rs"));
    let mut paths: Vec<_> = many.collect();
    paths.extend(["a/mod.rs", "a/b.rs", "c.rs"].map(str::to_owned));
    assert_eq!(crowded(&paths), ["a/b: 11"]);
    assert_eq!(doubled(&paths), ["a/b.rs"]);
    paths.remove(0);
    paths.push("a/b/mod.rs".to_owned());
    assert!(crowded(&paths).is_empty());
    assert!(is_exempt("store/src/main.rs") && !is_exempt("stores/a.rs"));
}
