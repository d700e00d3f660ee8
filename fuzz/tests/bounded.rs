//! Each target over the inputs that are kept, and over a bounded number of
//! mutations of them, the same each time: what CI runs. It needs no second build
//! of everything, as libFuzzer does, which is for finding inputs and not for
//! finding out whether those that were found still hold.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};

use rekey_fuzz::{TARGETS, Target};

mod mutation;

use mutation::Mutations;

/// Mutations for each target.
const RUNS: usize = 4_000;

macro_rules! bounded {
    ($($name:ident)+) => {
        $(#[test]
        fn $name() {
            let name = stringify!($name);
            let target = TARGETS.iter().find(|(known, _)| *known == name);
            bounded(*target.expect("it is among the targets"));
        })+

        #[test]
        fn every_target_is_run_has_a_program_and_keeps_inputs() {
            let run = [$(stringify!($name)),+];
            let known: Vec<_> = TARGETS.iter().map(|(name, _)| *name).collect();
            assert_eq!(run.as_slice(), known);
            let manifest = fs::read_to_string(here("Cargo.toml")).unwrap();
            for name in run {
                assert!(here(&format!("fuzz_targets/{name}.rs")).exists(), "{name}");
                assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
                assert!(inputs(name).len() >= 5, "{name}");
            }
        }
    };
}

bounded! {
    config control dashboard engine feed head import key messages records replay route slots
}

fn bounded((name, target): Target) {
    let inputs = inputs(name);
    for (path, input) in &inputs {
        if let Some(why) = fails(target, input) {
            panic!("{name} fails on {}: {why}", path.display());
        }
    }
    let inputs: Vec<_> = inputs.into_iter().map(|(_, input)| input).collect();
    let mut mutations = Mutations::new(&inputs, dictionary(name));
    for run in 0..RUNS {
        let input = mutations.next();
        if let Some(why) = fails(target, &input) {
            let path = here("corpus").join(name).join("failing");
            fs::write(&path, &input).unwrap();
            panic!(
                "{name} fails on mutation {run}, which is now {}: {why}\nrun it again with \
                 `cargo test -p rekey-fuzz {name}`",
                path.display()
            );
        }
    }
}

/// Why the target fails on this input, if it does.
fn fails(target: fn(&[u8]), input: &[u8]) -> Option<String> {
    let run = AssertUnwindSafe(|| target(input));
    let why = panic::catch_unwind(run).err()?;
    let text = why.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| why.downcast_ref::<&str>().copied());
    Some(text.unwrap_or("a panic").to_owned())
}

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The kept inputs, in an order that is the same everywhere.
fn inputs(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let files = fs::read_dir(here("corpus").join(name)).unwrap();
    let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    paths.sort();
    let read = |path: PathBuf| (path.clone(), fs::read(path).unwrap());
    paths.into_iter().map(read).collect()
}

/// Words that the target's inputs are made of, if it has any.
fn dictionary(name: &str) -> Vec<Vec<u8>> {
    let path = here(&format!("dictionaries/{name}.dict"));
    mutation::words(&fs::read_to_string(path).unwrap_or_default())
}
