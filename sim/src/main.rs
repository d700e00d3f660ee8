//! The command line of the model: explores a world and prints what it found.

use rekey_sim::model::{rules::Rules, run, world::World};

fn main() {
    let mut args = std::env::args().skip(1);
    let name = args.next().unwrap_or_default();
    let names: Vec<_> = args.collect();
    let without: Vec<_> = names.iter().map(String::as_str).collect();
    let rules = Rules::without(&without).unwrap_or(Rules::ALL);
    for world in World::small() {
        if name != "all" && name != world.name {
            continue;
        }
        let world = world.with(rules);
        let report = run::explore(&world, 2);
        println!("{} states {} depth {} {:.1?} missing {:?}", world.name, report.states, report.depth, report.took, report.missing);
        if let Some((what, path)) = report.broken {
            if what == "recovers" {
                use stateright::Model as _;
                let mut state = world.first();
                for action in &path { state = world.next_state(&state, *action).unwrap_or(state); }
                println!("{:?}", world.recovery(&state));
            }
            println!("  {what} broken in {}: {path:?}", path.len());
        }
    }
}
