//! Reads a CSV file (RFC 4180) row by row, in bounded memory, wiped after use:
//! a column may hold keys in plain text.

use std::io::Read;

use csv_core::{ReadRecordResult, Reader};
use zeroize::Zeroizing;

/// Bytes that are read at a time.
const INPUT: usize = 64 * 1024;
/// The longest row, in bytes without quotes and commas.
const ROW_MAX: usize = 4 * 1024;
/// The most columns of a row.
const COLUMNS_MAX: usize = 16;

/// A file under way.
pub(crate) struct CsvReader<R> {
    input: R,
    buffer: Zeroizing<Vec<u8>>,
    start: usize,
    end: usize,
    csv: Reader,
    row: Zeroizing<Vec<u8>>,
    ends: [usize; COLUMNS_MAX],
    line: u64,
    /// Whether what was read last is a CR: an LF after it ends no other line.
    after_cr: bool,
}

/// One row.
#[derive(Clone, Copy)]
pub(crate) struct Row<'a> {
    /// The line it begins on, from 1.
    pub line: u64,
    bytes: &'a [u8],
    ends: &'a [usize],
    /// It had more bytes or columns than fit.
    pub too_long: bool,
}

impl<'a> Row<'a> {
    /// The fields, in order.
    pub(crate) fn fields(&self) -> impl Iterator<Item = &'a [u8]> {
        let (bytes, ends) = (self.bytes, self.ends);
        let starts = std::iter::once(0).chain(ends.iter().copied());
        starts
            .zip(ends)
            .map(move |(start, end)| bytes.get(start..*end).unwrap_or_default())
    }

    /// How many fields it has.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }
}

impl<R: Read> CsvReader<R> {
    /// Reads from the file's beginning.
    pub(crate) fn new(input: R) -> Self {
        Self {
            input,
            buffer: Zeroizing::new(vec![0; INPUT]),
            start: 0,
            end: 0,
            csv: Reader::new(),
            row: Zeroizing::new(vec![0; ROW_MAX]),
            ends: [0; COLUMNS_MAX],
            line: 1,
            after_cr: false,
        }
    }

    /// The next row that is not empty; `None` at the end.
    pub(crate) fn next_row(&mut self) -> std::io::Result<Option<Row<'_>>> {
        self.skip_line_ends()?;
        let line = self.line;
        let (mut len, mut columns, mut too_long) = (0, 0, false);
        loop {
            if self.start == self.end {
                self.fill()?;
            }
            let input = self.buffer.get(self.start..self.end).unwrap_or_default();
            let row = self.row.get_mut(len..).unwrap_or_default();
            let ends = self.ends.get_mut(columns..).unwrap_or_default();
            let (result, read, written, ended) = self.csv.read_record(input, row, ends);
            let taken = input.get(..read).unwrap_or_default();
            self.line += line_ends(taken, &mut self.after_cr);
            self.start += read;
            len += written;
            columns += ended;
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {
                    // Read on to the row's end, so that the next one is found.
                    (len, columns, too_long) = (0, 0, true);
                }
                ReadRecordResult::Record => break,
                ReadRecordResult::End => return Ok(None),
            }
        }
        Ok(Some(Row {
            line,
            bytes: self.row.get(..len).unwrap_or_default(),
            ends: self.ends.get(..columns).unwrap_or_default(),
            too_long,
        }))
    }

    /// Between two rows; the reader would skip them, too, but uncounted.
    fn skip_line_ends(&mut self) -> std::io::Result<()> {
        loop {
            if self.start == self.end {
                self.fill()?;
            }
            let rest = self.buffer.get(self.start..self.end);
            match rest.and_then(<[u8]>::first) {
                Some(end @ (b'\n' | b'\r')) => {
                    self.line += line_ends(&[*end], &mut self.after_cr);
                }
                _ => return Ok(()),
            }
            self.start += 1;
        }
    }

    /// Fills the whole buffer, as far as the file goes: the parser looks for a
    /// byte order mark in what it gets first.
    fn fill(&mut self) -> std::io::Result<()> {
        self.start = 0;
        self.end = 0;
        while let Some(room) = self.buffer.get_mut(self.end..).filter(|b| !b.is_empty()) {
            match self.input.read(room) {
                Ok(0) => break,
                Ok(read) => self.end += read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// How many lines end in these bytes: with LF, with CR LF, or with CR alone,
/// which ends a row, too.
fn line_ends(bytes: &[u8], after_cr: &mut bool) -> u64 {
    let ends = bytes.iter().filter(|byte| {
        let is_end = **byte == b'\r' || (**byte == b'\n' && !*after_cr);
        *after_cr = **byte == b'\r';
        is_end
    });
    ends.count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Vec<(u64, Vec<String>, bool)> {
        // One byte at a time: rows do not depend on how the file is read.
        struct Slow<'a>(&'a [u8]);
        impl Read for Slow<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
                let take = self.0.len().min(1);
                self.0.read(&mut buffer[..take])
            }
        }
        let mut reader = CsvReader::new(Slow(text.as_bytes()));
        let mut rows = Vec::new();
        while let Some(row) = reader.next_row().unwrap() {
            let fields = row
                .fields()
                .map(|field| String::from_utf8_lossy(field).into_owned());
            rows.push((row.line, fields.collect(), row.too_long));
        }
        rows
    }

    fn row(line: u64, fields: &[&str]) -> (u64, Vec<String>, bool) {
        (
            line,
            fields.iter().map(ToString::to_string).collect(),
            false,
        )
    }

    #[test]
    fn rows_know_the_line_they_begin_on() {
        assert_eq!(
            rows("a,b\r\n\r\n1,\"x\ny\"\r\n\n3,\"say \"\"hi\"\"\""),
            [
                row(1, &["a", "b"]),
                row(3, &["1", "x\ny"]),
                row(6, &["3", "say \"hi\""]),
            ]
        );
        assert_eq!(rows("\u{feff}a\n1\n"), [row(1, &["a"]), row(2, &["1"])]);
        assert_eq!(
            rows("a\r1\r\r2"),
            [row(1, &["a"]), row(2, &["1"]), row(4, &["2"])]
        );
        assert_eq!(rows(""), []);
    }

    #[test]
    fn a_row_that_is_too_long_is_named_and_passed_over() {
        let long = "x".repeat(ROW_MAX + 1);
        let wide = ",".repeat(COLUMNS_MAX);
        let found = rows(&format!("a\n{long}\n{wide}\nb\n"));
        let lines: Vec<_> = found.iter().map(|(line, _, long)| (*line, *long)).collect();
        assert_eq!(lines, [(1, false), (2, true), (3, true), (4, false)]);
        assert_eq!(found[3], row(4, &["b"]));
    }
}
