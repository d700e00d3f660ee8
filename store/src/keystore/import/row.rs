//! What is good or bad about a row of an import by itself.

use rekey_protocol::{Digest, UserId};

use crate::accounts::email::{Email, InvalidEmail};
use crate::api::ImportRow;
use crate::engine::rows::ImportedRow;

/// The longest hint, in characters: enough to tell keys apart, too little to
/// help guessing one.
const HINT_MAX: usize = 8;

/// What is wrong with a row by itself. Names no value: it might be a key in
/// the wrong column.
pub(super) fn checked(row: &ImportRow<'_>) -> Result<ImportedRow, String> {
    let user = row
        .user
        .parse::<UserId>()
        .map_err(|error| error.to_string())?;
    let digest = Digest::from_hex(&row.digest);
    let digest = digest.ok_or("a digest is 64 hexadecimal digits")?;
    let email: Option<Email> = row
        .email
        .as_deref()
        .map(str::parse)
        .transpose()
        .map_err(|error: InvalidEmail| error.to_string())?;
    if let Some(hint) = &row.hint {
        let visible = hint.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !visible || !(1..=HINT_MAX).contains(&hint.len()) {
            return Err("a hint is 1 to 8 letters or digits".to_owned());
        }
    }
    Ok(ImportedRow {
        user,
        digest,
        email: row.email.as_deref().map(str::to_owned),
        email_normal: email.map(|email| email.normal()),
        hint: row.hint.as_deref().map(str::to_owned),
    })
}
