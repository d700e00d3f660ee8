//! Running other programs: shown before they run, and named when they fail.
//!
//! Everything goes to standard error, also what a program prints on its
//! standard output: that of `xtask` itself belongs to the answer of a
//! subcommand (`up --json`).

use std::{
    env,
    fs::File,
    io,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use nix::{sys::prctl, sys::signal::Signal, unistd::geteuid};
use std::os::unix::process::CommandExt as _;

/// Tells the user what is being done.
pub fn say(what: impl std::fmt::Display) {
    eprintln!("xtask: {what}");
}

/// Runs a program to its end; an error if it does not succeed.
pub fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = start(command)?.wait()?;
    succeeded(command, status)
}

/// As [`run`], but what the program says goes into a file.
pub fn run_into(file: &File, command: &mut Command) -> anyhow::Result<()> {
    command.stderr(file.try_clone()?);
    let status = start_into(file.try_clone()?, command)?.wait()?;
    succeeded(command, status)
}

/// As [`run`], but ends the program after `limit`: for what waits for a
/// network that may not be there.
pub fn run_for(limit: Duration, command: &mut Command) -> anyhow::Result<()> {
    let mut child = start(command)?;
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return succeeded(command, status);
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            bail!("`{}` took longer than {limit:?}", line(command));
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Runs a program quietly and returns its standard output; its standard error
/// becomes part of the error if it fails.
pub fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start `{}`", line(command)))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("`{}`: {}\n{}", line(command), output.status, stderr.trim());
    }
    String::from_utf8(output.stdout)
        .with_context(|| format!("`{}` printed something that is not text", line(command)))
}

/// Whether a program is there and does what it is asked.
pub fn works(program: &str, args: &[&str]) -> bool {
    let mut command = Command::new(program);
    command
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// The files of that name in the folders of the `PATH`, in its order.
pub fn on_path(program: &str) -> impl Iterator<Item = PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders: Vec<_> = env::split_paths(&path).collect();
    let files = folders.into_iter().map(move |folder| folder.join(program));
    files.filter(|file| file.is_file())
}

/// Installs packages where that is the way (Debian, as root); elsewhere an
/// error that says what to do.
pub fn apt_install(packages: &[&str], why: &str) -> anyhow::Result<()> {
    let line = format!("apt-get install {}", packages.join(" "));
    if !works("apt-get", &["--version"]) {
        bail!("{why}; this is not a Debian machine, so install the likes of `{line}` yourself");
    }
    if !geteuid().is_root() {
        bail!("{why}; run `sudo {line}` and try again");
    }
    say(format_args!("{why}: installing {}", packages.join(", ")));
    let limit = Duration::from_secs(600);
    run_for(limit, apt_get().args(["update", "-qq"]))?;
    run_for(
        limit,
        apt_get()
            .args(["install", "-qq", "-y", "--no-install-recommends"])
            .args(packages),
    )
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}

fn start(command: &mut Command) -> anyhow::Result<Child> {
    start_into(io::stderr(), command)
}

fn start_into(stdout: impl Into<Stdio>, command: &mut Command) -> anyhow::Result<Child> {
    eprintln!("  $ {}", line(command));
    command.stdin(Stdio::null()).stdout(stdout);
    // SAFETY: prctl is a system call: async-signal-safe, and touches nothing of
    // this process. It has a build that runs for minutes end with us.
    unsafe { command.pre_exec(|| Ok(prctl::set_pdeathsig(Signal::SIGTERM)?)) };
    command
        .spawn()
        .with_context(|| format!("cannot start `{}`", line(command)))
}

fn succeeded(command: &Command, status: ExitStatus) -> anyhow::Result<()> {
    if status.success() {
        return Ok(());
    }
    bail!("`{}` failed: {status}", line(command))
}

/// The command as one might type it. No secret is ever an argument.
fn line(command: &Command) -> String {
    let mut words = vec![command.get_program()];
    words.extend(command.get_args());
    let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
    words.join(" ")
}
