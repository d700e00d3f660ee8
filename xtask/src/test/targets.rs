//! Which test programs belong to which lane, as cargo's arguments. What no other lane takes is a unit
//! test, so that no test program is forgotten.

use anyhow::Context as _;
use rekey_testbed::{shell, workspace};
use serde::Deserialize;

/// The test programs that start real parts of a fleet.
const END_TO_END: [&str; 3] = ["e2e", "up", "wasm"];
/// The package whose test programs are the lane `sim`.
const SIMULATOR: &str = "rekey-sim";

/// All test programs of the workspace.
#[derive(Debug, Deserialize)]
pub(super) struct Targets {
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    targets: Vec<Target>,
}

#[derive(Debug, Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

impl Targets {
    /// Asks cargo.
    ///
    /// # Errors
    /// It does not tell.
    pub(super) fn read() -> anyhow::Result<Self> {
        let metadata = ["metadata", "--no-deps", "--format-version=1"];
        let json = shell::output(workspace::cargo().args(metadata))?;
        serde_json::from_str(&json).context("cannot read what `cargo metadata` says")
    }

    /// Everything that is in no other lane.
    pub(super) fn of_unit_lane(&self) -> Vec<&str> {
        self.those(|package, name| package != SIMULATOR && !END_TO_END.contains(&name))
    }

    /// The root package's, and those that start what is built.
    pub(super) fn of_e2e_lane(&self) -> Vec<&str> {
        self.those(|_, name| END_TO_END.contains(&name))
    }

    /// The simulator's and the model's.
    pub(super) fn of_sim_lane(&self) -> Vec<&str> {
        self.those(|package, _| package == SIMULATOR)
    }

    fn those(&self, wanted: impl Fn(&str, &str) -> bool) -> Vec<&str> {
        let tests = self.packages.iter().flat_map(|package| {
            let of_test = |target: &&Target| target.kind.iter().any(|kind| kind == "test");
            let names = package.targets.iter().filter(of_test);
            names.map(|target| (package.name.as_str(), target.name.as_str()))
        });
        let tests = tests.filter(|(package, name)| wanted(package, name));
        tests.flat_map(|(_, name)| ["--test", name]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_test_program_is_in_one_lane() {
        let targets = Targets::read().unwrap();
        let names = |arguments: Vec<&str>| {
            let mut names: Vec<_> = arguments.iter().skip(1).step_by(2).collect();
            names.sort_unstable();
            names
                .into_iter()
                .map(|name| name.to_string())
                .collect::<Vec<_>>()
        };
        let (unit, e2e, sim) = (
            targets.of_unit_lane(),
            targets.of_e2e_lane(),
            targets.of_sim_lane(),
        );
        assert_eq!(e2e.len(), 2 * END_TO_END.len(), "{e2e:?}");
        assert!(!sim.is_empty());
        let mut all = names(targets.those(|_, _| true));
        assert_eq!(names([unit, e2e, sim].concat()), all);
        // Cargo takes them by name alone.
        let count = all.len();
        all.dedup();
        assert_eq!(all.len(), count, "two test programs have the same name");
    }
}
