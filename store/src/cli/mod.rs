//! The command line. The commands about users and keys are clients of a running
//! store's admin listener, so there is one owner of the database (S10): `serve`, or
//! `restore` while none runs. `backup` reads beside it.

mod audit;
mod backup;
mod client;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod import;
mod keys;
mod restore;
mod users;

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use anyhow::Context;
use clap::builder::{BoolValueParser, TypedValueParser};
use clap::{Parser, Subcommand};
use serde::Serialize;

use crate::server;
use crate::server::config::ServeArgs;

const SERVE_HELP: &str = "\
Environment:
  REKEY_STORE_TOKEN      the gateways' bearer token (required, but for --no-gateway-token)
  REKEY_ADMIN_TOKEN      the operator's bearer token (required; another one)
  REKEY_CHECKSUM_SECRET  keys the checksum of API keys; several, newest first, comma-separated
                         (required; the same on all gateways). To change it: old,new everywhere,
                         then new,old everywhere, then new
  RUST_LOG               what is logged, such as info or rekey_store=debug [default: info]

On the gateway listener /livez, /readyz, /metrics and /openapi.json want no token; they hold no
secret. /livez: the process runs; /readyz: keys can be resolved and a rotation can commit.
At the start the whole file is checked, some two seconds for half a gigabyte (a million users).
SIGTERM and SIGINT stop the store after the requests in flight, at most 10 s later.
A backup, at any time: rekey-store backup FILE. Keep no other copies: a copied file without its
write-ahead log (rekey.db-wal) is not whole. Restore one with rekey-store restore FILE.";

const CLIENT_HELP: &str = "\
Environment:
  REKEY_ADMIN_URL    the store's admin listener [default: http://127.0.0.1:8081]
  REKEY_ADMIN_TOKEN  its bearer token (required)";

const IMPORT_ABOUT: &str = "\
Import users and their keys from a CSV file: all rows, or none if any is bad.

The file may be a pipe, and `-` is standard input:
  decrypt keys.csv.age | rekey-store import -
What comes from a pipe is kept in a temporary file until all of it is there, keys as digests.

Every bad row is named by its line. Bad is: no user id, digest, key or address; a user, key or
address that is there twice; a key that the store knows; a user with an active key.

The store checks the rows and puts them in beside its other work, by short changes: rotations and
revocations go in between. None of the rows counts before all of them do. Until then their ids and
addresses are taken. If the command, the store or its machine ends before that, no row is imported,
and the store removes them: another import has to wait for that. The command returns when all
gateways accept the keys and the audit log has a line for each. Temporary files are in
SQLITE_TMPDIR, if that is set, or /var/tmp or /tmp: some 250 MB for a million rows.

Keys not issued by Rekey have no checksum: gateways take them only with \"checksum\": \"off\".";

/// Rekey's key store.
#[derive(Debug, Parser)]
#[command(name = "rekey-store", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the store
    #[command(after_help = SERVE_HELP)]
    Serve(ServeArgs),
    /// Add, list and remove users, and set their addresses and passwords
    #[command(subcommand)]
    Users(users::UsersCommand),
    /// Show, revoke and issue keys
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Import users and their keys from a CSV file: all rows, or none if any is bad
    #[command(long_about = IMPORT_ABOUT)]
    Import(import::ImportArgs),
    /// Back up the database into one file, beside a running store or without one
    #[command(long_about = backup::ABOUT)]
    Backup(backup::BackupArgs),
    /// Put a backup in the place of the database, while no store runs
    #[command(long_about = restore::ABOUT)]
    Restore(restore::RestoreArgs),
    /// Show what happened to users and their keys
    Audit(audit::AuditArgs),
    /// List the crash points of a rotation, one per line
    #[cfg(feature = "crash-points")]
    CrashPoints,
}

/// Runs the program: 0 for success, 1 for a failure (one line on standard error
/// says which), 2 for a command line that does not parse.
pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Serve(args) => server::run(&args),
        Command::Users(command) => users::run(&command),
        Command::Keys(command) => keys::run(&command),
        Command::Import(args) => import::run(&args),
        Command::Backup(args) => backup::run(&args),
        Command::Restore(args) => restore::run(&args),
        Command::Audit(args) => audit::run(&args),
        #[cfg(feature = "crash-points")]
        Command::CrashPoints => print(|out| {
            crate::crash::POINTS
                .iter()
                .try_for_each(|point| writeln!(out, "{point}"))
        }),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // `{:#}` joins the causes in one line.
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What is printed is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    /// People.
    Text,
    /// Programs.
    Json,
}

impl Format {
    /// Reads a flag `--json`.
    fn of_flag() -> impl TypedValueParser<Value = Self> {
        BoolValueParser::new().map(|is_set| match is_set {
            true => Self::Json,
            false => Self::Text,
        })
    }
}

/// One value, as a line of JSON.
fn json_line(out: &mut impl Write, value: &impl Serialize) -> std::io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    writeln!(out)
}

/// Prints a new key: `text` as it came, or in words.
fn print_key(text: &[u8], user_id: &str, api_key: &str, format: Format) -> anyhow::Result<()> {
    print(|out| match format {
        Format::Json => {
            out.write_all(text)?;
            writeln!(out)
        }
        Format::Text => {
            writeln!(out, "user_id: {user_id}")?;
            writeln!(out, "api_key: {api_key}")
        }
    })
    .context("it was done, but the key could not be printed")?;
    if format == Format::Text {
        let _ = writeln!(
            std::io::stderr(),
            "The key is shown this once; it is kept nowhere. Store it now."
        );
    }
    Ok(())
}

/// Whether anybody reads what is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reader {
    /// It was taken.
    Here,
    /// Who read it has seen enough (`| head`): there is nothing more to do.
    Gone,
}

/// Writes to standard output; a reader that has gone is no error.
fn print(
    write: impl FnOnce(&mut std::io::StdoutLock<'static>) -> std::io::Result<()>,
) -> anyhow::Result<()> {
    print_page(write).map(drop)
}

/// Writes a part of what is to be printed, and says whether to go on.
fn print_page(
    write: impl FnOnce(&mut std::io::StdoutLock<'static>) -> std::io::Result<()>,
) -> anyhow::Result<Reader> {
    let mut out = std::io::stdout().lock();
    match write(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Reader::Gone),
        result => Ok(result.map(|()| Reader::Here)?),
    }
}
