//! The import of keys from a CSV file that somebody else's program wrote, keys
//! in plain text among it.

use std::io::Read;

use rekey_protocol::{Digest, KEY_PREFIX};
use rekey_store::api::ImportRow;
use rekey_store::cli::fuzzing;

use crate::holds;

/// The first byte says how the file is read, the rest is the file.
pub fn import(data: &[u8]) {
    let Some((step, file)) = data.split_first() else {
        return;
    };
    let whole = fuzzing::import(file);
    let steps = fuzzing::import(Steps(file, usize::from(*step).max(1)));
    match (whole, steps) {
        (Ok(whole), Ok(steps)) => {
            assert_eq!(format!("{whole:?}"), format!("{steps:?}"));
            check(file, &whole);
        }
        (Err(whole), Err(steps)) => {
            assert_eq!(whole, steps);
            assert!(!whole.contains(KEY_PREFIX), "{whole}");
        }
        (whole, steps) => panic!("read at once {whole:?}, in steps {steps:?}"),
    }
}

fn check(file: &[u8], rows: &[Result<String, rekey_store::api::BadRow>]) {
    let mut last = 0;
    for row in rows {
        let line = match row {
            Ok(json) => {
                // One row is one line, and bears a digest, never a key.
                assert!(!json.contains('\n'));
                let row: ImportRow<'_> = serde_json::from_str(json).unwrap();
                let digest = Digest::from_hex(&row.digest).unwrap();
                assert_eq!(digest.to_hex(), row.digest);
                row.line
            }
            Err(bad) => {
                assert!(
                    !holds(bad.reason.as_bytes(), KEY_PREFIX.as_bytes()) || {
                        // The shape of a key is told, which begins like one.
                        bad.reason.contains("not an API key")
                    }
                );
                bad.line
            }
        };
        assert!(line > last, "line {line} after {last}");
        last = line;
    }
    let ends = file.iter().filter(|byte| matches!(byte, b'\n' | b'\r'));
    let lines = ends.count() + 1;
    assert!(last <= lines as u64, "line {last} of {lines}");
}

/// A file that is read in steps: rows do not depend on how it comes.
struct Steps<'a>(&'a [u8], usize);

impl Read for Steps<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let take = self.0.len().min(self.1).min(buffer.len());
        self.0.read(&mut buffer[..take])
    }
}
