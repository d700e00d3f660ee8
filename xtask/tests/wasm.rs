//! The built filter against what is promised of it: the list of what it asks
//! and offers, and nobody's folders in it.

#![allow(clippy::expect_used)]

use std::path::PathBuf;

use rekey_testbed::{Artifacts, workspace};
use xtask::build::{INTERFACE_FILE, interface::Interface};

fn filter() -> Vec<u8> {
    let artifacts = Artifacts::obtain().expect("the filter is built");
    std::fs::read(artifacts.built.filter).expect("the filter can be read")
}

/// A new import is a new demand on every host, a new export a new callback on
/// every request: neither comes by accident.
#[test]
fn it_asks_and_offers_what_is_listed() {
    let list = std::fs::read_to_string(workspace::root().join(INTERFACE_FILE)).unwrap();
    let listed = Interface::parse(&list).unwrap();
    let built = Interface::of(&filter()).unwrap();
    let difference = listed.difference(&built);
    assert!(
        difference.is_empty(),
        "the built filter (+) and {INTERFACE_FILE} (-) differ:\n{difference}\
         Argue the change there, or undo it in the code."
    );
}

/// Panic texts hold the paths of source files.
#[test]
fn it_names_no_folder_of_its_builder() {
    let filter = filter();
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let target = workspace::target_dir().unwrap();
    let folders = [Some(workspace::root().to_owned()), Some(target), home];
    for folder in folders.into_iter().flatten() {
        // With the slash: `src/root.rs` does not name `/root`.
        let needle = format!("{}/", folder.display());
        let found = filter
            .windows(needle.len())
            .any(|bytes| bytes == needle.as_bytes());
        assert!(!found, "{needle}");
    }
}
