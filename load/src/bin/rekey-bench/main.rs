//! The bench, as `cargo xtask bench` calls it: what the revocation protocol costs and bears, on real
//! processes.
//!
//! | part | what |
//! | --- | --- |
//! | rotation | p50 and p99 of a rotation, through one and three gateways |
//! | barrier | the same at a store that 1,000 gateways poll, and its CPU |
//! | minute | as many rotations as the machine bears, all checked |
//! | memory | a gateway's, through a million keys |
//! | floods | what good keys lose while bad ones are guessed |
//!
//! Rounds of the compared cases alternate, and medians of rounds are told, for
//! a machine is never the same for long. Nothing else should run beside it.

mod barrier;
mod cores;
mod cpu;
mod floods;
mod memory;
mod minute;
mod rotation;
mod swarm;
mod times;

use std::process::ExitCode;

use anyhow::ensure;
use clap::{Parser, ValueEnum};
use rekey_load::{Faults, Tally};
use rekey_testbed::{Artifacts, FleetOptions};
use serde_json::json;

/// Measures rotations, the barrier, and a gateway's memory.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench")]
struct BenchArgs {
    /// Which parts; all if none is named
    #[arg(value_enum)]
    parts: Vec<Part>,
    /// Short runs, to see that it works; the numbers mean little
    #[arg(long)]
    quick: bool,
}

/// How long a measurement goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    /// Only to see that it works.
    Short,
    /// Long enough for numbers that mean something.
    Full,
}

/// A part of the bench.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// How long a rotation takes, through one and three gateways
    Rotation,
    /// The same at a store that 1,000 gateways poll, and its CPU
    Barrier,
    /// As many rotations as the machine bears for a minute, all checked
    Minute,
    /// A gateway's memory through a million keys
    Memory,
    /// What good keys lose while bad ones are guessed
    Floods,
}

fn main() -> ExitCode {
    // Not as `main`'s result: that prints a backtrace where one is switched on.
    if let Err(error) = run(&BenchArgs::parse()) {
        eprintln!("bench: {error:#}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Measures, and prints on standard output.
fn run(args: &BenchArgs) -> anyhow::Result<()> {
    Artifacts::obtain()?;
    let parts = match args.parts.as_slice() {
        [] => Part::value_variants(),
        parts => parts,
    };
    let length = match args.quick {
        true => Length::Short,
        false => Length::Full,
    };
    for part in parts {
        match part {
            Part::Rotation => rotation::run(length)?,
            Part::Barrier => barrier::run(length)?,
            Part::Minute => minute::run(length)?,
            Part::Memory => memory::run(length)?,
            Part::Floods => floods::run(length)?,
        }
    }
    Ok(())
}

/// Gateways of two workers that take any well-formed key to the store, so that
/// users can be imported in bulk.
fn fleet_options(gateways: usize) -> FleetOptions {
    FleetOptions {
        gateways,
        plugin: json!({
            "checksum": "off", "unknown_keys_per_second": 100_000,
            "store": { "resolve_timeout_ms": 10_000 },
        }),
        ..FleetOptions::default()
    }
}

/// Says what was measured.
fn tell(what: impl std::fmt::Display) {
    println!("{what}");
}

/// Fails if an answer was wrong; the numbers would be worth nothing.
fn all_right(tally: &Tally) -> anyhow::Result<()> {
    let faults = &tally.faults;
    ensure!(*faults == Faults::default(), "{faults:?}");
    Ok(())
}
