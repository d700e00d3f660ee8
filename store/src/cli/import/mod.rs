//! `rekey-store import`: every row is checked here before the first one goes to the
//! store, keys as digests.

pub(super) mod csv;
pub(super) mod table;

use std::fs::File;
use std::io::{BufRead, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;

use self::table::CsvTable;
use super::client::{AdminClient, ImportRun, InDoubt, Sent};
use super::{CLIENT_HELP, print};
use crate::api::{BadRow, ImportDone, ImportRefused, ImportRow};

#[derive(Debug, Args)]
#[command(after_help = CLIENT_HELP)]
pub(super) struct ImportArgs {
    /// A CSV file with a header row, or `-` for standard input: `user`, then `digest`
    /// (SHA-256 of the key, hexadecimal) or `key` (in plain text; only its digest leaves
    /// this machine), then, if you like, `email` and `hint` (the key's last characters)
    #[arg(value_name = "FILE.csv")]
    file: PathBuf,
    /// Check every row, import none
    #[arg(long)]
    dry_run: bool,
}

const IN_DOUBT: InDoubt = "whether the rows were imported is not known: all of them were, or none. Repeat the command: if they were, it says of every row that the store knows the key, and imports none twice";

pub(super) fn run(args: &ImportArgs) -> anyhow::Result<()> {
    let client = AdminClient::from_env()?;
    let input = Input::open(&args.file)?;
    let name = input.name.clone();
    let Checked { count, body } = check(input)?;
    let RowCount { rows, bad } = count;
    if rows == 0 {
        bail!("{name}: no rows after the header");
    }
    // With bad rows here, the store is asked about the others all the same, so
    // that one run names every bad row.
    let run = match args.dry_run || bad > 0 {
        true => ImportRun::Dry,
        false => ImportRun::Real,
    };
    let bad_there = match client.import(run, body, IN_DOUBT)? {
        Sent::Accepted(text) => {
            let done: ImportDone = client.parsed(&text)?;
            if bad == 0 {
                return print(|out| match args.dry_run {
                    true => writeln!(out, "{rows} rows are good; nothing was imported"),
                    false => writeln!(out, "imported {} keys", done.imported),
                });
            }
            0
        }
        Sent::Refused(answer) => name_bad_rows(answer)?,
    };
    let bad = bad + bad_there;
    bail!("{bad} of {rows} rows are bad; nothing was imported")
}

/// Where the rows come from.
struct Input {
    name: String,
    readable: Readable,
}

/// How often the rows can be read.
enum Readable {
    Twice(File),
    /// It is a pipe.
    Once(Box<dyn Read>),
}

impl Input {
    fn open(path: &Path) -> anyhow::Result<Self> {
        if path == Path::new("-") {
            return Ok(Self {
                name: "standard input".to_owned(),
                readable: Readable::Once(Box::new(std::io::stdin().lock())),
            });
        }
        let name = path.display().to_string();
        let reading = || format!("cannot read {name}");
        let file = File::open(path).with_context(reading)?;
        let readable = match file.metadata().with_context(reading)?.is_file() {
            true => Readable::Twice(file),
            false => Readable::Once(Box::new(file)),
        };
        Ok(Self { name, readable })
    }
}

/// Rows that were all looked at.
struct Checked {
    count: RowCount,
    /// The good ones, as the body of a request.
    body: Box<dyn Read>,
}

/// How many rows there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct RowCount {
    /// All of them.
    rows: u64,
    /// Those of them that are bad in themselves, and have been named.
    bad: u64,
}

/// Looks at every row before the first one leaves. A file is read again for that; of
/// a pipe the good rows are kept in a file without a name, keys as digests.
fn check(input: Input) -> anyhow::Result<Checked> {
    let name = input.name;
    match input.readable {
        Readable::Twice(mut file) => {
            let again = file.try_clone().with_context(|| name.clone())?;
            let mut table = CsvTable::read(Box::new(again), &name)?;
            let count = each_row(&mut table, |_| Ok(()))?;
            file.rewind().with_context(|| name.clone())?;
            let table = CsvTable::read(Box::new(file), &name)?;
            let bad_rows = match count.bad {
                0 => BadRows::Refuse,
                _ => BadRows::Skip,
            };
            let body = Box::new(ImportBody::new(table, bad_rows));
            Ok(Checked { count, body })
        }
        Readable::Once(stream) => {
            let mut table = CsvTable::read(stream, &name)?;
            let mut kept = BufWriter::new(tempfile::tempfile().with_context(no_room)?);
            let count = each_row(&mut table, |row| {
                serde_json::to_writer(&mut kept, row)?;
                kept.write_all(b"\n").with_context(no_room)
            })?;
            let mut kept = kept.into_inner().with_context(no_room)?;
            kept.rewind().with_context(no_room)?;
            let body = Box::new(kept);
            Ok(Checked { count, body })
        }
    }
}

fn no_room() -> String {
    let folder = std::env::temp_dir();
    format!(
        "the rows of a pipe are kept in {} until all are there, which failed (TMPDIR names \
         another folder)",
        folder.display()
    )
}

/// Names the rows that are bad in themselves, and hands on the others.
fn each_row(
    table: &mut CsvTable,
    mut good: impl FnMut(&ImportRow<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<RowCount> {
    let mut count = RowCount::default();
    while let Some(row) = table.next_row()? {
        count.rows += 1;
        match row {
            Ok(row) => good(&row)?,
            Err(row) => {
                count.bad += 1;
                name(&row)?;
            }
        }
    }
    Ok(count)
}

/// Prints what the store says about bad rows, as it comes.
fn name_bad_rows(mut answer: impl BufRead) -> anyhow::Result<u64> {
    let mut text = String::new();
    loop {
        text.clear();
        answer.read_line(&mut text).context("the store's answer")?;
        if let Ok(row) = serde_json::from_str::<BadRow>(&text) {
            name(&row)?;
            continue;
        }
        let last: ImportRefused = serde_json::from_str(&text)
            .context("the store's answer broke off; nothing was imported")?;
        return Ok(last.bad_rows);
    }
}

fn name(row: &BadRow) -> std::io::Result<()> {
    writeln!(std::io::stderr(), "line {}: {}", row.line, row.reason)
}

/// What becomes of a bad row when rows are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BadRows {
    /// It was named when the file was read first: the others go on.
    Skip,
    /// There was none then: the body breaks off.
    Refuse,
}

/// The rows as the body of a request: one JSON object per line.
struct ImportBody {
    table: CsvTable,
    bad_rows: BadRows,
    line: Vec<u8>,
    sent: usize,
}

impl ImportBody {
    fn new(table: CsvTable, bad_rows: BadRows) -> Self {
        Self {
            table,
            bad_rows,
            line: Vec::with_capacity(1024),
            sent: 0,
        }
    }

    /// Puts the next row into `line`; leaves it empty at the end.
    fn advance(&mut self) -> std::io::Result<()> {
        self.line.clear();
        self.sent = 0;
        while let Some(row) = self.table.next_row().map_err(std::io::Error::other)? {
            match row {
                Ok(row) => {
                    serde_json::to_writer(&mut self.line, &row)?;
                    self.line.push(b'\n');
                    break;
                }
                Err(_) if self.bad_rows == BadRows::Skip => {}
                // It was good when it was read first; the store drops what it
                // has got so far.
                Err(_) => return Err(std::io::Error::other("the file changes while it is read")),
            }
        }
        Ok(())
    }
}

impl Read for ImportBody {
    fn read(&mut self, mut buffer: &mut [u8]) -> std::io::Result<usize> {
        let room = buffer.len();
        while !buffer.is_empty() {
            if self.sent == self.line.len() {
                self.advance()?;
            }
            let mut rest = self.line.get(self.sent..).unwrap_or_default();
            let taken = rest.read(buffer)?;
            if taken == 0 {
                break;
            }
            self.sent += taken;
            buffer = buffer.get_mut(taken..).unwrap_or_default();
        }
        Ok(room - buffer.len())
    }
}

#[cfg(test)]
mod tests;
