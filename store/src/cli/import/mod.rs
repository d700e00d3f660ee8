//! `rekey-store import`: every row is checked here before the first one goes to the
//! store, keys as digests.

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufRead, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use rekey_protocol::{ApiKey, Digest};

use super::client::{AdminClient, ImportRun, InDoubt, Sent};
use super::csv::{CsvReader, Row};
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

/// The columns that we know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    User,
    Digest,
    Key,
    Email,
    Hint,
}

impl Column {
    const ALL: [(Self, &'static str); 5] = [
        (Self::User, "user"),
        (Self::Digest, "digest"),
        (Self::Key, "key"),
        (Self::Email, "email"),
        (Self::Hint, "hint"),
    ];
}

/// The file as rows of an import.
struct CsvTable {
    csv: CsvReader<Box<dyn Read>>,
    columns: Vec<Column>,
    name: String,
}

impl CsvTable {
    fn read(input: Box<dyn Read>, name: &str) -> anyhow::Result<Self> {
        let mut csv = CsvReader::new(input);
        let header = csv
            .next_row()
            .with_context(|| format!("cannot read {name}"))?;
        let header = header.with_context(|| format!("{name} is empty"))?;
        let columns = columns(&header).with_context(|| format!("{name}: the header row"))?;
        Ok(Self {
            csv,
            columns,
            name: name.to_owned(),
        })
    }

    /// The next row, good or bad.
    fn next_row(&mut self) -> anyhow::Result<Option<Result<ImportRow<'_>, BadRow>>> {
        let (columns, name) = (&self.columns, &self.name);
        let row = self
            .csv
            .next_row()
            .with_context(|| format!("cannot read {name}"))?;
        Ok(row.map(|row| {
            import_row(columns, &row).map_err(|reason| BadRow {
                line: row.line,
                reason,
            })
        }))
    }
}

pub(super) fn columns(header: &Row<'_>) -> anyhow::Result<Vec<Column>> {
    let mut columns = Vec::new();
    for (index, field) in header.fields().enumerate() {
        let known = Column::ALL
            .iter()
            .find(|(_, name)| name.as_bytes() == field);
        match known {
            Some((column, name)) if columns.contains(column) => bail!("`{name}` is there twice"),
            Some((column, _)) => columns.push(*column),
            // Without a header row the field may be a key: it is not repeated.
            None if field.len() > 20 || !field.iter().all(u8::is_ascii_alphabetic) => {
                bail!(
                    "column {} has no name that we know; is there a header row?",
                    index + 1
                )
            }
            None => bail!(
                "unknown column `{}`; known are user, digest or key, email, hint",
                String::from_utf8_lossy(field)
            ),
        }
    }
    let has = |column| columns.contains(&column);
    if header.too_long || !has(Column::User) || has(Column::Digest) == has(Column::Key) {
        bail!("it needs `user` and one of `digest` and `key`");
    }
    Ok(columns)
}

/// The row as it goes to the store, which checks the rest of it.
pub(super) fn import_row<'a>(columns: &[Column], row: &Row<'a>) -> Result<ImportRow<'a>, String> {
    if row.too_long {
        return Err("the row is too long; is a quote left open?".to_owned());
    }
    if row.len() != columns.len() {
        let (found, wanted) = (row.len(), columns.len());
        return Err(format!("{found} fields where the header has {wanted}"));
    }
    let mut import = ImportRow {
        line: row.line,
        user: Cow::Borrowed(""),
        digest: Cow::Borrowed(""),
        email: None,
        hint: None,
    };
    for (column, field) in columns.iter().zip(row.fields()) {
        let text = || std::str::from_utf8(field).map_err(|_| "a field is not UTF-8".to_owned());
        match column {
            Column::User => import.user = text()?.into(),
            Column::Digest => {
                let digest = Digest::from_hex(text()?);
                import.digest = digest
                    .ok_or("a digest is 64 hexadecimal digits")?
                    .to_hex()
                    .into();
            }
            Column::Key => {
                let key = ApiKey::parse(field).map_err(|error| error.to_string())?;
                import.digest = key.digest().to_hex().into();
                import
                    .hint
                    .get_or_insert_with(|| key.hint().to_owned().into());
            }
            Column::Email if field.is_empty() => {}
            Column::Email => import.email = Some(text()?.into()),
            Column::Hint if field.is_empty() => {}
            Column::Hint => import.hint = Some(text()?.into()),
        }
    }
    Ok(import)
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
