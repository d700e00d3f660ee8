//! `cargo xtask fuzz`: looks for inputs that break a property, with libFuzzer,
//! one target after the other. It needs the Rust that is here and a C++
//! compiler, neither nightly nor cargo-fuzz.
//!
//! | what | where |
//! | --- | --- |
//! | inputs that are kept | `fuzz/corpus/<target>/`; `--keep` adds to them |
//! | inputs found | `fuzz/corpus/<target>/` below `rekey/` in cargo's target folder |
//! | inputs that fail | `fuzz/failing/<target>/` there |
//! | what libFuzzer said | `fuzz/<target>.log` there |
//!
//! Our own crates are compiled with the flags of `fuzz/rustc`, by which libFuzzer
//! sees what an input does; all others are those of the ordinary build.

mod summary;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, ensure};

use rekey_testbed::{shell, workspace};
use summary::Summary;

const PACKAGE: &str = "rekey-fuzz";
/// The longest input, in bytes.
const MAX_LEN: usize = 4096;
/// An input that takes longer fails, in seconds. Generous: the machine may be
/// busy.
const TIMEOUT: u32 = 20;

/// Options of `cargo xtask fuzz`.
#[derive(Debug, clap::Args)]
pub struct FuzzArgs {
    /// Only this target [default: all of them, one after the other]
    target: Option<String>,
    /// Run only these inputs, once each
    #[arg(requires = "target", value_name = "FILE")]
    inputs: Vec<PathBuf>,
    /// How long to run each target
    #[arg(long, default_value_t = 60, conflicts_with = "inputs")]
    seconds: u32,
    /// How many inputs to try instead
    #[arg(long, conflicts_with_all = ["seconds", "inputs"])]
    runs: Option<u64>,
    /// Where randomness begins [default: elsewhere each time]
    #[arg(long)]
    seed: Option<u32>,
    /// Afterwards keep the fewest inputs found that reach what no kept one does
    #[arg(long, conflicts_with = "inputs")]
    keep: bool,
}

/// Builds the targets and runs them.
///
/// # Errors
/// Something does not build, there is no C++ compiler, or an input fails.
pub fn run(args: &FuzzArgs) -> anyhow::Result<()> {
    let targets = chosen(args.target.as_deref())?;
    build(&targets)?;
    if !args.inputs.is_empty() {
        return targets
            .iter()
            .try_for_each(|name| again(name, &args.inputs));
    }
    let mut lines = Vec::new();
    let mut failed = 0;
    for name in &targets {
        let (summary, succeeded) = look(name, args)?;
        lines.push(format!("{name:<10} {summary}"));
        if succeeded && args.keep {
            keep(name)?;
        }
        failed += usize::from(!succeeded);
    }
    lines.iter().for_each(shell::say);
    ensure!(failed == 0, "{failed} of the targets failed");
    Ok(())
}

/// The targets are the programs of the package.
fn chosen(target: Option<&str>) -> anyhow::Result<Vec<String>> {
    let programs = workspace::root().join("fuzz/fuzz_targets");
    let files = fs::read_dir(&programs).with_context(|| format!("{}", programs.display()))?;
    let mut names: Vec<_> = files
        .flatten()
        .filter_map(|file| Some(file.path().file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    let Some(target) = target else {
        return Ok(names);
    };
    let known = names.join(", ");
    names.retain(|name| name == target);
    ensure!(!names.is_empty(), "no target {target}; known are {known}");
    Ok(names)
}

fn build(targets: &[String]) -> anyhow::Result<()> {
    if !shell::works("c++", &["--version"]) {
        shell::apt_install(&["g++"], "libFuzzer is C++")?;
    }
    let mut cargo = workspace::cargo();
    // For our own crates alone: cargo keeps the two builds of them apart, and
    // uses what there is of all others.
    cargo.env(
        "RUSTC_WORKSPACE_WRAPPER",
        workspace::root().join("fuzz/rustc"),
    );
    cargo.args(["build", "--package", PACKAGE, "--features", "libfuzzer"]);
    // More than tests get: millions of inputs pay for it.
    for package in ["rekey-engine", "rekey-fuzz", "rekey-store"] {
        let level = format!("profile.dev.package.{package}.opt-level=2");
        cargo.args(["--config", &level]);
    }
    cargo.args(targets.iter().flat_map(|name| ["--bin", name.as_str()]));
    shell::run(&mut cargo)
}

/// Runs inputs once each, and says what libFuzzer says.
fn again(name: &str, inputs: &[PathBuf]) -> anyhow::Result<()> {
    shell::run(program(name)?.args(inputs))
}

/// Looks for inputs that fail.
fn look(name: &str, args: &FuzzArgs) -> anyhow::Result<(Summary, bool)> {
    let (kept, found) = (kept(name), made("corpus", name)?);
    let failing = made("failing", name)?;
    let log = workspace::output_dir()?.join(format!("fuzz/{name}.log"));
    let mut program = program(name)?;
    // What is new goes into the first of the folders.
    program.args([&found, &kept]);
    program.arg(format!("-artifact_prefix={}/", failing.display()));
    program.arg("-print_final_stats=1");
    program.arg(match args.runs {
        Some(runs) => format!("-runs={runs}"),
        None => format!("-max_total_time={}", args.seconds),
    });
    program.args(args.seed.map(|seed| format!("-seed={seed}")));
    let dictionary = workspace::root().join(format!("fuzz/dictionaries/{name}.dict"));
    if dictionary.exists() {
        program.arg(format!("-dict={}", dictionary.display()));
    }
    program.stderr(File::create(&log)?);
    let succeeded = shell::run(&mut program).is_ok();
    let text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    if !succeeded {
        shell::say(format_args!("{name} failed: {}", summary::why(&text)));
        shell::say(format_args!("the whole of it is in {}", log.display()));
        if let Some(input) = summary::failing(&text) {
            shell::say(format_args!("again with: cargo xtask fuzz {name} {input}"));
            shell::say("fixed, the input belongs into fuzz/corpus, where CI runs it");
        }
    }
    Ok((Summary::of(&text), succeeded))
}

/// Adds to what is kept the fewest of the inputs found that reach what none of
/// those kept does. None is taken away: some are kept because they failed once.
fn keep(name: &str) -> anyhow::Result<()> {
    let (kept, found) = (kept(name), made("corpus", name)?);
    let before = inputs_in(&kept)?;
    let mut merge = program(name)?;
    // Which branches were taken counts here, not how often: else there would be
    // thousands.
    merge.args(["-merge=1", "-set_cover_merge=1", "-use_counters=0"]);
    merge.args([&kept, &found]);
    let log = workspace::output_dir()?.join(format!("fuzz/{name}.keep.log"));
    shell::run(merge.stderr(File::create(log)?))?;
    let now = inputs_in(&kept)?;
    let new = now.saturating_sub(before);
    shell::say(format_args!(
        "{name}: {now} inputs are kept, {new} of them new"
    ));
    Ok(())
}

fn inputs_in(folder: &Path) -> anyhow::Result<usize> {
    Ok(fs::read_dir(folder)?.count())
}

fn program(name: &str) -> anyhow::Result<Command> {
    let mut program = Command::new(workspace::target_dir()?.join("debug").join(name));
    program.current_dir(workspace::root());
    program.arg(format!("-max_len={MAX_LEN}"));
    program.arg(format!("-timeout={TIMEOUT}"));
    Ok(program)
}

fn kept(name: &str) -> PathBuf {
    workspace::root().join("fuzz/corpus").join(name)
}

/// A folder of our own, made if absent.
fn made(what: &str, name: &str) -> anyhow::Result<PathBuf> {
    let folder = workspace::output_dir()?.join(Path::new("fuzz").join(what).join(name));
    fs::create_dir_all(&folder)?;
    Ok(folder)
}
