//! A door for the fuzz targets (`fuzz/`) to the reading of files of somebody
//! else's making. Behind a feature, so that nothing else can name it.

use std::io::Read;

use super::import::csv::CsvReader;
use super::import::table::{columns, import_row};
use crate::api::BadRow;

/// What an import of a CSV file sends to the store, each row as JSON or with
/// what is wrong with it.
///
/// # Errors
/// The file cannot be read, or its header row is refused; the text says why.
pub fn import(file: impl Read) -> Result<Vec<Result<String, BadRow>>, String> {
    let mut csv = CsvReader::new(file);
    let read = |error: std::io::Error| error.to_string();
    let header = csv.next_row().map_err(read)?.ok_or("it is empty")?;
    let columns = columns(&header).map_err(|error| format!("{error:#}"))?;
    let mut rows = Vec::new();
    while let Some(row) = csv.next_row().map_err(read)? {
        let line = row.line;
        let row = import_row(&columns, &row).map_err(|reason| BadRow { line, reason });
        rows.push(match row {
            Ok(row) => Ok(serde_json::to_string(&row).map_err(|error| error.to_string())?),
            Err(bad) => Err(bad),
        });
    }
    Ok(rows)
}
