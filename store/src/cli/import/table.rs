//! A CSV file as rows of an import: its columns, and each row as the store gets it.

use std::borrow::Cow;
use std::io::Read;

use anyhow::{Context, bail};
use rekey_protocol::{ApiKey, Digest};

use super::csv::{CsvReader, Row};
use crate::api::{BadRow, ImportRow};

/// The columns that we know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Column {
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
pub(super) struct CsvTable {
    csv: CsvReader<Box<dyn Read>>,
    columns: Vec<Column>,
    name: String,
}

impl CsvTable {
    pub(super) fn read(input: Box<dyn Read>, name: &str) -> anyhow::Result<Self> {
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
    pub(super) fn next_row(&mut self) -> anyhow::Result<Option<Result<ImportRow<'_>, BadRow>>> {
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

pub(crate) fn columns(header: &Row<'_>) -> anyhow::Result<Vec<Column>> {
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
pub(crate) fn import_row<'a>(columns: &[Column], row: &Row<'a>) -> Result<ImportRow<'a>, String> {
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
