//! `cargo xtask`: reads the command line and hands over.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use xtask::{
    bench::{self, BenchArgs},
    build::{self, BuildArgs},
    compose::{self, ComposeArgs},
    fuzz::{self, FuzzArgs},
    lint,
    test::{self, TestArgs},
    up::{self, UpArgs},
};

/// Rekey's automation.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build all and run it here: Envoy, key store, demo API, and a key to try
    Up(UpArgs),
    /// Build all, lint it and test it, on a real Envoy and in containers
    Test(TestArgs),
    /// Build the filter, the key store and the demo upstream
    Build(BuildArgs),
    /// Measure rotations, the barrier, and a gateway's memory
    #[command(disable_help_flag = true)]
    Bench(BenchArgs),
    /// Look for inputs that break a parser, a decision or a record, with libFuzzer
    Fuzz(FuzzArgs),
    /// Check formatting and lints
    Lint,
    /// Start docker-compose.yml, try it with curl, and take it down
    Compose(ComposeArgs),
}

fn main() -> ExitCode {
    let result = match Cli::parse().task {
        Task::Up(args) => up::run(&args),
        Task::Test(args) => test::run(&args),
        Task::Bench(args) => bench::run(&args),
        Task::Fuzz(args) => fuzz::run(&args),
        Task::Lint => lint::run(),
        Task::Compose(args) => compose::run(args),
        Task::Build(args) => build::run(&args).map(drop),
    };
    // Not as `main`'s result: that prints a backtrace where one is switched on.
    if let Err(error) = result {
        eprintln!("xtask: {error:#}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
