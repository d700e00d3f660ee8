//! `rekey-store backup`: one file with all of the database, made from its file and
//! not by the admin listener, so that it works while the store is down, too.

use std::fs::File;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;

use crate::clock::UnixMillis;
use crate::engine::sqlite::{BackupTarget, Contents, backup};

pub(super) const ABOUT: &str = "\
Back up the database into one file, beside a running store or without one.

The file holds all of one moment, and nothing else is needed to restore it. It is checked before
it gets its name. A backup holds no API key, but the digests of all keys, the users' addresses and
the hashes of their passwords: keep it as safe as the database.

It has to be able to read the database and write into its folder, as the store's own user does.";

/// Flags of `backup`.
#[derive(Debug, Args)]
pub(super) struct BackupArgs {
    /// The file to write; - for standard output
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The SQLite file of the store
    #[arg(long, value_name = "PATH", default_value = "rekey.db")]
    database: PathBuf,
    /// Replace the file if it exists
    #[arg(long)]
    force: bool,
}

/// The name of standard input and output.
pub(super) const STANDARD: &str = "-";

pub(super) fn run(args: &BackupArgs) -> anyhow::Result<()> {
    let target = match (args.file == Path::new(STANDARD), args.force) {
        (true, _) if std::io::stdout().is_terminal() => {
            bail!("a backup is no text for a terminal; send it into a file")
        }
        (true, _) => BackupTarget::Sent,
        (false, true) => BackupTarget::Replace(args.file.clone()),
        (false, false) => BackupTarget::New(args.file.clone()),
    };
    let made = backup(&args.database, target)?;
    let place = match &made.to_send {
        Some(file) => {
            let mut copy = File::open(file.path())?;
            let mut out = std::io::stdout().lock();
            let sent = std::io::copy(&mut copy, &mut out).and_then(|_| out.flush());
            sent.context("the backup could not be sent whole")?;
            "standard output".to_owned()
        }
        None => args.file.display().to_string(),
    };
    // Standard output may be the backup.
    let told = format!("backed up to {place}: {}", told(&made.contents));
    let _ = writeln!(std::io::stderr(), "{told}");
    Ok(())
}

/// What is in a database, in one line.
pub(super) fn told(contents: &Contents) -> String {
    let Contents {
        revision,
        users,
        changed,
        bytes,
        ..
    } = contents;
    let changed = match changed {
        Some(at) => format!("last changed at {}", at.rfc3339()),
        None => "never changed".to_owned(),
    };
    format!(
        "revision {revision}, {users} users, {changed}, {}",
        size(*bytes)
    )
}

fn size(bytes: u64) -> String {
    match bytes {
        0..=9_999 => format!("{bytes} bytes"),
        10_000..=9_999_999 => format!("{} kB", bytes / 1_000),
        _ => format!("{} MB", bytes / 1_000_000),
    }
}

/// How long ago, to be read by people: the largest unit of which there are two.
pub(super) fn ago(from: UnixMillis, to: UnixMillis) -> String {
    const UNITS: [(&str, u64); 4] = [
        ("days", 24 * 3600),
        ("hours", 3600),
        ("minutes", 60),
        ("seconds", 1),
    ];
    let passed: Duration = to.since(from);
    let seconds = passed.as_secs();
    let unit = UNITS.iter().find(|(_, length)| seconds >= 2 * length);
    match unit {
        Some((name, length)) => format!("{} {name}", seconds / length),
        None => "moment".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_are_told_in_units_of_which_there_are_two_or_more() {
        let start = UnixMillis(1_800_000_000_000);
        let told = |seconds| ago(start, start.plus(Duration::from_secs(seconds)));
        for (seconds, text) in [
            (0, "moment"),
            (2, "2 seconds"),
            (119, "119 seconds"),
            (120, "2 minutes"),
            (7_200, "2 hours"),
            (47 * 3600, "47 hours"),
            (3 * 24 * 3600 + 5, "3 days"),
        ] {
            assert_eq!(told(seconds), text);
        }
        assert_eq!(ago(start.plus(Duration::from_secs(9)), start), "moment");
        assert_eq!(size(9_000), "9000 bytes");
        assert_eq!(size(110_592), "110 kB");
        assert_eq!(size(407_000_000), "407 MB");
    }
}
