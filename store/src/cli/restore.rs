//! `rekey-store restore`: says what is lost, asks, and puts a backup in the place of
//! the database.

use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use tempfile::NamedTempFile;

use super::backup::{STANDARD, ago, told};
use crate::clock::UnixMillis;
use crate::engine::sqlite::{Later, Loss, Restore};

pub(super) const ABOUT: &str = "\
Put a backup in the place of the database, while no store runs.

A restore takes back what was done since the backup. API keys that were replaced or revoked since
are valid again, and their successors are unknown; passwords that were changed are the old ones
again. It says how much that is, and asks. The database that was there is kept beside it, under
a name that ends in .before-restore- and the time.

Everybody is logged out of the dashboard. The next start of the store needs no --accept-restore;
it holds the answers of rotations for its first 30 seconds, because a gateway may trust a key of
the lost history for so long.";

/// Flags of `restore`.
#[derive(Debug, Args)]
pub(super) struct RestoreArgs {
    /// The backup; - for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The SQLite file of the store, which need not exist
    #[arg(long, value_name = "PATH", default_value = "rekey.db")]
    database: PathBuf,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

pub(super) fn run(args: &RestoreArgs) -> anyhow::Result<()> {
    let is_sent = args.file == Path::new(STANDARD);
    let received = is_sent.then(|| receive(&args.database)).transpose()?;
    let file = received
        .as_ref()
        .map_or(args.file.as_path(), |file| file.path());
    let restore = Restore::prepare(file, &args.database)?;
    tell(&restore)?;
    if !args.yes {
        if is_sent || !std::io::stdin().is_terminal() {
            bail!("nothing was restored: there is nobody to ask; say --yes if this is meant");
        }
        ask()?;
    }
    let restored = restore.carry_out()?;
    let mut err = std::io::stderr().lock();
    let database = args.database.display();
    let _ = writeln!(
        err,
        "restored {database}, at revision {}",
        restored.revision
    );
    if let Some(aside) = restored.aside {
        let _ = writeln!(err, "the database before it is {}", aside.display());
    }
    let _ = writeln!(
        err,
        "start the store; for its first 30 seconds it holds the answers of rotations"
    );
    Ok(())
}

/// The backup from standard input, as a file beside the database.
fn receive(database: &Path) -> anyhow::Result<NamedTempFile> {
    let folder = match database.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let received = tempfile::Builder::new()
        .prefix(".rekey-received-")
        .tempfile_in(folder);
    let mut received =
        received.with_context(|| format!("cannot write into {}", folder.display()))?;
    let mut input = std::io::stdin().lock();
    std::io::copy(&mut input, received.as_file_mut())
        .context("the backup could not be received whole")?;
    Ok(received)
}

fn tell(restore: &Restore) -> std::io::Result<()> {
    let now = UnixMillis::wall();
    let backup = restore.backup();
    let mut err = std::io::stderr().lock();
    writeln!(err, "the backup: {}", told(backup))?;
    let age = backup.changed.map(|changed| ago(changed, now));
    let age = age.unwrap_or_else(|| "moment".to_owned());
    match restore.loss() {
        Loss::Nothing => writeln!(
            err,
            "there is no database yet; if one was served elsewhere since: keys replaced or revoked and passwords changed in the last {age} are valid again"
        ),
        Loss::All(contents) => {
            writeln!(err, "the database there: {}", told(contents))?;
            writeln!(
                err,
                "the database there is of another history than the backup: all that is in it is lost; keys replaced or revoked and passwords changed since the backup, in the last {age}, are valid again"
            )
        }
        Loss::Unreadable(why) => writeln!(
            err,
            "the database there cannot be read ({why}), so nobody can say how much is lost; keys replaced or revoked and passwords changed since the backup, in the last {age}, are valid again"
        ),
        Loss::Later(later) => {
            writeln!(err, "the database there: {}", told(&later.contents))?;
            let Later {
                contents,
                revived,
                forgotten,
                passwords,
            } = &**later;
            let lost = match (backup.changed, contents.changed) {
                (Some(from), Some(to)) => ago(from, to),
                _ => age,
            };
            let users = contents.users.saturating_sub(backup.users);
            writeln!(
                err,
                "lost is the last {lost}: {revived} keys that were replaced or revoked are valid again, {forgotten} keys that were made are unknown, {passwords} passwords that were set are the old ones again, {users} users are gone"
            )
        }
    }
}

fn ask() -> anyhow::Result<()> {
    let mut err = std::io::stderr().lock();
    write!(err, "Restore it? Type yes: ")?;
    err.flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    if answer.trim() != "yes" {
        bail!("nothing was restored");
    }
    Ok(())
}
