//! The commands `model` and `rotations`: they explore worlds and mutants, and print what
//! they found.

pub(crate) mod replicas;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use rekey_sim::model::mutants::{Mutant, NEEDED, NEEDED_TOGETHER, REDUNDANT};
use rekey_sim::model::rules::Rules;
use rekey_sim::model::run::{Report, explore};
use rekey_sim::model::steps::Action;
use rekey_sim::model::world::World;
use rekey_sim::rotations;

/// What to explore.
#[derive(Args)]
pub(crate) struct Model {
    /// Only this world; "big" for the large ones.
    #[arg(long)]
    world: Option<String>,
    /// Without these rules.
    #[arg(long, value_delimiter = ',')]
    without: Vec<String>,
    /// The table of mutants instead.
    #[arg(long)]
    mutants: bool,
    /// Stop each exploration after so many seconds.
    #[arg(long)]
    limit: Option<u64>,
    /// Threads. With more than one a way to a broken invariant may not be the
    /// shortest.
    #[arg(long, default_value_t = 1)]
    threads: usize,
}

/// Explores what was asked for; whether all was as it should be.
pub(crate) fn explore_model(options: &Model) -> anyhow::Result<ExitCode> {
    let is_as_expected = if options.mutants {
        mutants(options)?
    } else {
        worlds(options)?
    };
    Ok(if is_as_expected {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

impl Model {
    fn limit(&self) -> Option<Duration> {
        self.limit.map(Duration::from_secs)
    }

    fn without(&self) -> Vec<&str> {
        self.without.iter().map(String::as_str).collect()
    }
}

fn run(options: &Model, world: &World) -> Report<Action> {
    explore(world, options.threads, options.limit())
}

/// Prints what was found in a world; whether it holds and all was reached.
fn show<A: std::fmt::Debug>(name: &str, report: &Report<A>) -> bool {
    println!(
        "{:<24} {:>10} states, depth {:>3}, {:>6.1} s: {}",
        name,
        report.states,
        report.depth,
        report.took.as_secs_f64(),
        report.verdict()
    );
    if let Some((_, path)) = &report.broken {
        for action in path {
            println!("    {action:?}");
        }
    }
    report.broken.is_none() && report.missing.is_empty()
}

fn worlds(options: &Model) -> anyhow::Result<bool> {
    let rules = Rules::without(&options.without()).context("there is no such rule")?;
    let worlds = match options.world.as_deref() {
        None => World::small(),
        Some("big") => World::big(),
        Some(name) => {
            let big = World::big().into_iter().find(|world| world.name == name);
            let world = World::named(name).or(big);
            vec![world.context("there is no such world")?]
        }
    };
    let mut all_hold = true;
    for world in worlds {
        let world = world.with(rules);
        let report = run(options, &world);
        all_hold &= show(world.name, &report);
    }
    Ok(all_hold)
}

fn mutants(options: &Model) -> anyhow::Result<bool> {
    let mut as_expected = true;
    let tables = [NEEDED, NEEDED_TOGETHER, REDUNDANT];
    for mutant in tables.into_iter().flatten() {
        let world = mutant.world().context("a mutant without rule or world")?;
        let report = run(options, &world);
        println!(
            "| {} | {} | {} | {} |",
            mutant.without.join(", "),
            mutant.world,
            report.verdict(),
            report.states
        );
        as_expected &= is_expected(mutant, &report);
    }
    Ok(as_expected)
}

fn is_expected(mutant: &Mutant, report: &Report<Action>) -> bool {
    report.broken.as_ref().map(|(what, _)| *what) == mutant.breaks
}

/// Explores all worlds of rotations, then each rule's mutant; whether all was as it
/// should be.
pub(crate) fn explore_rotations() -> anyhow::Result<ExitCode> {
    let mut as_expected = true;
    for world in rotations::world::World::all() {
        let report = explore(&world, 1, None);
        let (name, verdict) = (world.name, report.verdict());
        let (states, depth) = (report.states, report.depth);
        println!("| {name} | {states} | {depth} | {verdict} |");
        if let Some((_, path)) = &report.broken {
            for action in path {
                println!("    {action:?}");
            }
        }
        as_expected &= report.broken.is_none() && report.missing.is_empty();
    }
    for mutant in rotations::mutants::MUTANTS {
        let world = mutant.world().context("a mutant without rule or world")?;
        let report = explore(&world, 1, None);
        let verdict = report.verdict();
        println!("| {} | {} | {verdict} |", mutant.without, mutant.world);
        as_expected &= report.broken.is_some_and(|(what, _)| what == mutant.breaks);
    }
    Ok(match as_expected {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}
