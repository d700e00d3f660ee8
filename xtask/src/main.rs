//! `cargo xtask`: reads the command line and hands over.

use clap::{Parser, Subcommand};
use xtask::build::{self, BuildArgs};

/// Rekey's automation.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build the filter, the key store and the demo upstream
    Build(BuildArgs),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Task::Build(args) => build::run(&args).map(drop),
    }
}
