//! The command `replicas`: several stores before one etcd.

use std::process::ExitCode;

use anyhow::Context;
use rekey_sim::model::run::explore;
use rekey_sim::replicas::shortest::{Schedule, shortest};
use rekey_sim::replicas::{attempts, mutants, rules, world};

use super::{Model, show};

/// Explores what was asked for of several stores before one etcd; whether all was as
/// it should be.
pub(crate) fn explore_replicas(options: &Model) -> anyhow::Result<ExitCode> {
    let is_as_expected = if options.mutants {
        mutants_of_replicas()?
    } else {
        worlds_of_replicas(options)?
    };
    Ok(if is_as_expected {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn worlds_of_replicas(options: &Model) -> anyhow::Result<bool> {
    let rules = rules::Rules::without(&options.without());
    let rules = rules.context("there is no such rule")?;
    let is_asked = |world: &str, size: &str| match options.world.as_deref() {
        None => size == "small",
        Some(name) => name == size || name == world,
    };
    let mut all_hold = true;
    let small = world::World::small().into_iter();
    let big = world::World::big().into_iter();
    let limits = world::World::limits().into_iter();
    let sized = small.map(|world| ("small", world));
    let sized = sized.chain(big.map(|world| ("big", world)));
    let sized = sized.chain(limits.map(|world| ("limits", world)));
    for (size, world) in sized {
        if is_asked(world.name, size) {
            let world = world.with(rules);
            let report = explore(&world, options.threads, options.limit());
            all_hold &= show(world.name, &report);
        }
    }
    let small = attempts::world::World::all().into_iter();
    let big = attempts::world::World::big().into_iter();
    let sized = small.map(|world| ("small", world));
    for (size, world) in sized.chain(big.map(|world| ("big", world))) {
        if is_asked(world.name, size) {
            let world = attempts::world::World { rules, ..world };
            let report = explore(&world, options.threads, options.limit());
            all_hold &= show(world.name, &report);
        }
    }
    Ok(all_hold)
}

/// Takes each rule out, and prints the shortest schedule that breaks.
fn mutants_of_replicas() -> anyhow::Result<bool> {
    let mut as_expected = true;
    for mutant in mutants::NEEDED {
        let world = mutant.world().context("a mutant without rule or world")?;
        as_expected &= show_mutant(mutant, shortest(&world));
    }
    for mutant in mutants::OF_ATTEMPTS {
        let world = attempts::world::World::of(mutant);
        let world = world.context("a mutant without rule or world")?;
        as_expected &= show_mutant(mutant, shortest(&world));
    }
    Ok(as_expected)
}

fn show_mutant<A: std::fmt::Debug>(
    mutant: &mutants::Mutant,
    schedule: Option<Schedule<A>>,
) -> bool {
    let without = mutant.without.join(" + ");
    let Some(Schedule { breaks, steps }) = schedule else {
        println!("| {without} | {} | holds | |", mutant.world);
        return false;
    };
    println!(
        "| {without} | {} | {breaks} | {} |",
        mutant.world,
        steps.len()
    );
    for step in &steps {
        println!("    {step:?}");
    }
    (breaks, steps.len()) == (mutant.breaks, mutant.steps)
}
