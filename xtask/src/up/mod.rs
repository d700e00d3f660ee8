//! `cargo xtask up`: a fleet in the foreground, with a key to try it and a log-in
//! to its dashboard.
//!
//! It starts and stops; what it prints is for people, or with `--json` for
//! programs. What it started ends with it, whichever way it ends.

mod shown;

use std::{
    path::PathBuf,
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread,
    time::Duration,
};

use anyhow::{Context as _, bail};
use rekey_testbed::{
    Account, Artifacts, Fleet, FleetOptions, Gateway, Secrets, Shutdown, Signal, random, shell,
};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};

/// As in the image, without the notice, because no load balancer stands before it.
const SHUTDOWN: Shutdown = Shutdown::Drain {
    notice: Duration::ZERO,
    grace: Duration::from_secs(40),
};
/// How often it is looked whether the gateways have ended.
const LOOK: Duration = Duration::from_millis(50);

/// Of the demo user's password: 20 letters and digits, to be typed if need be.
const PASSWORD_BYTES: usize = 10;

/// Options of `cargo xtask up`.
#[derive(Debug, clap::Args)]
pub struct UpArgs {
    /// Print one line of JSON on standard output once all is ready
    #[arg(long)]
    json: bool,
    /// The first gateway's port on loopback; 0 takes any free one
    #[arg(long, value_name = "N", default_value_t = 0)]
    port: u16,
    /// The dashboard's port on loopback; 0 takes any free one
    #[arg(long, value_name = "N", default_value_t = 0)]
    dashboard_port: u16,
    /// How many gateways
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = at_least_one)]
    gateways: u32,
    /// Envoy's worker threads in each
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = at_least_one)]
    concurrency: u32,
    /// Keep database, secrets and logs in this folder
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The store's time between two rotations of one user, such as 10s
    #[arg(long, value_name = "TIME", default_value = "1h")]
    rotation_interval: String,
    /// Start from this Envoy configuration instead of envoy.yaml
    #[arg(long, value_name = "FILE")]
    envoy_config: Option<PathBuf>,
}

fn at_least_one(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("must be a whole number, 1 or more".to_owned()),
        Ok(number) => Ok(number),
    }
}

/// A user to try things with, and how it logs in to the dashboard.
struct Demo {
    account: Account,
    email: String,
    password: String,
}

/// What ends the waiting.
enum Event {
    /// SIGINT or SIGTERM.
    ToldToStop,
    /// A part of the fleet has ended; the text says how.
    Died(String),
}

/// Builds all, starts it, prints what to do with it, and stops it on SIGINT or
/// SIGTERM, the gateways first and when they have drained.
///
/// # Errors
/// Something cannot be built or started, or a part ends by itself.
pub fn run(args: &UpArgs) -> anyhow::Result<()> {
    // Before signals are ours: until here, they end us and the build.
    Artifacts::obtain()?;
    let (events, queue) = mpsc::channel();
    watch_signals(events.clone())?;

    shell::say("starting the key store, the upstream and Envoy");
    let fleet = Fleet::start(fleet_options(args)?)?;
    for process in fleet.processes() {
        let (watch, events) = (process.exit_watch(), events.clone());
        thread::spawn(move || events.send(Event::Died(watch.wait())));
    }
    let demo = demo_user(&fleet)?;
    if args.json {
        shown::print_json(&fleet, &demo)?;
    } else {
        shown::print_text(&fleet, &demo)?;
    }
    drop(demo);
    let ended = wait(&queue);
    if ended.is_ok() {
        drain(&fleet, &queue)?;
    }
    shell::say("stopping");
    fleet.stop()?;
    ended
}

/// Ends the gateways, and returns when all have ended: what is open in them may
/// end first, unless a second signal says otherwise. Store and upstream go on,
/// because open requests need them.
fn drain(fleet: &Fleet, queue: &Receiver<Event>) -> anyhow::Result<()> {
    shell::say("stopping when open requests have ended; Ctrl-C stops at once");
    tell_gateways(fleet)?;
    let runs = |gateway: &Gateway| gateway.process.exit_status().is_none();
    while fleet.gateways.iter().any(runs) {
        match queue.recv_timeout(LOOK) {
            Ok(Event::ToldToStop) => tell_gateways(fleet)?,
            // A gateway is what is waited for; without another part open
            // requests end as they can.
            Ok(Event::Died(_)) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    Ok(())
}

fn tell_gateways(fleet: &Fleet) -> anyhow::Result<()> {
    for gateway in &fleet.gateways {
        gateway.process.signal(Signal::SIGTERM)?;
    }
    Ok(())
}

fn wait(queue: &Receiver<Event>) -> anyhow::Result<()> {
    match queue.recv().context("nothing is left to wait for")? {
        Event::ToldToStop => Ok(()),
        Event::Died(how) => bail!(how),
    }
}

fn fleet_options(args: &UpArgs) -> anyhow::Result<FleetOptions> {
    let secrets = match &args.data {
        Some(folder) => {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("cannot create {}", folder.display()))?;
            Secrets::from_env_or_file(&folder.join("secrets.env"))?
        }
        None => Secrets::from_env()?,
    };
    Ok(FleetOptions {
        gateways: args.gateways as usize,
        concurrency: args.concurrency,
        shutdown: SHUTDOWN,
        port: args.port,
        dashboard_port: args.dashboard_port,
        rotation_interval: args.rotation_interval.clone(),
        envoy_config: args.envoy_config.clone(),
        secrets: Some(secrets),
        folder: args.data.clone(),
        ..FleetOptions::default()
    })
}

/// A user to try things with: demo@example.com, or, in a kept database where
/// that one has a key that nobody can show again, the next demo+N. The password
/// is as new as the key.
fn demo_user(fleet: &Fleet) -> anyhow::Result<Demo> {
    let password = random::hex(PASSWORD_BYTES)?;
    for number in 1_u64.. {
        let email = match number {
            1 => "demo@example.com".to_owned(),
            _ => format!("demo+{number}@example.com"),
        };
        if let Some(account) = fleet.store.try_add_login(&email, &password)? {
            return Ok(Demo {
                account,
                email,
                password,
            });
        }
    }
    bail!("every demo address is taken")
}

fn watch_signals(events: Sender<Event>) -> anyhow::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    thread::spawn(move || {
        for _ in signals.forever() {
            let _ = events.send(Event::ToldToStop);
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_no_fleet_of_nothing() {
        assert_eq!(at_least_one("3"), Ok(3));
        for bad in ["0", "-1", "many", ""] {
            assert!(at_least_one(bad).is_err(), "{bad}");
        }
    }
}
