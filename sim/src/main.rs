//! The command line of the simulator and the model.

mod explore;

use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, Subcommand};
use rekey_sim::fleet::{self, plan::Sabotage};

/// Trials of the revocation protocol without a network.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Runs a fleet through bad times, in virtual time.
    Fleet {
        /// Runs this one schedule and prints what happened.
        #[arg(long, conflicts_with_all = ["seeds", "from"])]
        seed: Option<u64>,
        /// How many schedules to run.
        #[arg(long, default_value_t = 1_000)]
        seeds: u64,
        /// The first seed.
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// Puts a bug in, to see that it is found.
        #[arg(long, value_enum)]
        sabotage: Option<Sabotage>,
        /// Prints all that happened in the one schedule.
        #[arg(long, requires = "seed")]
        trace: bool,
    },
    /// Explores the checked model: all small worlds, unless told otherwise.
    Model(explore::Model),
    /// Explores the models of several stores before one etcd.
    Replicas(explore::Model),
    /// Explores the model of rotation ids, attempts and replays.
    Rotations,
}

fn main() -> anyhow::Result<ExitCode> {
    match Arguments::parse().what {
        What::Fleet {
            seed: Some(seed),
            sabotage,
            trace,
            ..
        } => one(seed, sabotage, trace),
        What::Fleet {
            seeds,
            from,
            sabotage,
            ..
        } => many(from..from + seeds, sabotage),
        What::Model(model) => explore::explore_model(&model),
        What::Replicas(model) => explore::replicas::explore_replicas(&model),
        What::Rotations => explore::explore_rotations(),
    }
}

fn one(seed: u64, sabotage: Option<Sabotage>, trace: bool) -> anyhow::Result<ExitCode> {
    let outcome = fleet::run(seed, sabotage, trace)?;
    for line in &outcome.trace {
        println!("{line}");
    }
    println!("seed {seed}: {:?}", outcome.stats);
    Ok(match outcome.violation {
        Some(violation) => {
            println!("broken: {violation}");
            ExitCode::FAILURE
        }
        None => ExitCode::SUCCESS,
    })
}

fn many(seeds: std::ops::Range<u64>, sabotage: Option<Sabotage>) -> anyhow::Result<ExitCode> {
    let began = Instant::now();
    let (mut events, mut requests, mut rotations, mut broken) = (0, 0, 0, 0);
    let count = seeds.end - seeds.start;
    for seed in seeds {
        let outcome = fleet::run(seed, sabotage, false)?;
        events += outcome.stats.events;
        requests += outcome.stats.requests;
        rotations += outcome.stats.rotations;
        if let Some(violation) = outcome.violation {
            broken += 1;
            println!("seed {seed}: {violation}");
            println!("  again: cargo run -p rekey-sim -- fleet --seed {seed} --trace");
        }
    }
    let took = began.elapsed().as_secs_f64();
    println!(
        "{count} schedules, {events} events, {requests} requests, {rotations} rotations in \
         {took:.1} s ({:.0} schedules/s, {:.0} events/s); {broken} broken",
        count as f64 / took,
        events as f64 / took
    );
    Ok(if broken == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
