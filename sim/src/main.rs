//! The command line of the model: explores worlds and mutants.

use std::time::Duration;

use rekey_sim::model::{mutants::MUTANTS, rules::Rules, run, world::World};

fn show(world: &World, limit: u64) {
    let report = run::explore(world, 2, Some(Duration::from_secs(limit)));
    println!(
        "{} states {} depth {} {:.1?} missing {:?}",
        world.name, report.states, report.depth, report.took, report.missing
    );
    if let Some((what, path)) = report.broken {
        println!("  {what} BROKEN in {}: {path:?}", path.len());
    }
}

fn main() {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let (name, limit) = (&args[0], args[1].parse().unwrap_or(60));
    if name == "mutants" {
        for mutant in MUTANTS {
            if args.len() > 2 && !args[2..].iter().any(|arg| mutant.without.contains(&arg.as_str())) {
                continue;
            }
            let world = World::named(mutant.world).unwrap_or_else(|| World::small().remove(0));
            let rules = Rules::without(mutant.without).unwrap_or(Rules::ALL);
            print!("{:?} ", mutant.without);
            let mut world = world.with(rules);
            world.recovers &= mutant.breaks == Some("recovers");
            show(&world, limit);
        }
        return;
    }
    let without: Vec<_> = args[2..].iter().map(String::as_str).collect();
    let rules = Rules::without(&without).unwrap_or(Rules::ALL);
    for world in World::small() {
        if name == "all" || name == world.name {
            show(&world.with(rules), limit);
        }
    }
}
