//! What a client presents: the key in `Authorization` (RFC 6750 2.1) and the
//! `Idempotency-Key`.

use rekey_protocol::contract::{IDEMPOTENCY_KEY_LEN, KEY_SCHEME};
use rekey_protocol::{ApiKey, ChecksumSecrets};

use crate::config::ChecksumPolicy;
use crate::request::presented::Presented;
use crate::request::refusal::ApiRefusal;

/// Reads the key out of the whole value of `Authorization`.
///
/// A comma can only come from a second header of that name, which the gateway
/// merged: so it is malformed, like any other byte that no key has.
pub(crate) fn read_key(
    authorization: Option<&[u8]>,
    policy: ChecksumPolicy,
    secrets: &ChecksumSecrets,
) -> Result<ApiKey, ApiRefusal> {
    let value = authorization.unwrap_or_default();
    let scheme_ends = value
        .iter()
        .position(|byte| *byte == b' ')
        .unwrap_or(value.len());
    let (scheme, rest) = value.split_at(scheme_ends);
    // RFC 6750 3.1: an unsupported scheme is as good as no credentials.
    let token = rest.trim_ascii_start();
    if !scheme.eq_ignore_ascii_case(KEY_SCHEME.as_bytes()) || token.is_empty() {
        let presented = Presented::in_authorization(value);
        return Err(ApiRefusal::MissingApiKey(presented));
    }
    let key = ApiKey::parse(token).map_err(|_| ApiRefusal::InvalidApiKey)?;
    let acceptable = policy == ChecksumPolicy::Off || secrets.verify(&key);
    if acceptable {
        Ok(key)
    } else {
        Err(ApiRefusal::InvalidApiKey)
    }
}

/// Why an `Idempotency-Key` cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BadIdempotencyKey {
    /// It has so many characters.
    Length(usize),
    /// It has a character that is not visible ASCII.
    Invisible,
}

impl BadIdempotencyKey {
    /// What is wanted, and what came.
    pub fn message(self) -> String {
        let came = match self {
            Self::Length(1) => "This one has 1 character.".to_owned(),
            Self::Length(length) => format!("This one has {length} characters."),
            Self::Invisible => "This one has a character that is not visible ASCII.".to_owned(),
        };
        format!(
            "The Idempotency-Key must be {} to {} visible ASCII characters that nobody can guess. \
             A new random UUID serves. {came}",
            IDEMPOTENCY_KEY_LEN.start(),
            IDEMPOTENCY_KEY_LEN.end(),
        )
    }
}

/// Checks an `Idempotency-Key`: [`IDEMPOTENCY_KEY_LEN`] visible ASCII characters.
/// Whether they are random cannot be seen.
pub(crate) fn check_idempotency_key(value: Option<&[u8]>) -> Result<(), BadIdempotencyKey> {
    match value {
        // First, because bytes are characters only in ASCII.
        Some(key) if !key.iter().all(u8::is_ascii_graphic) => Err(BadIdempotencyKey::Invisible),
        Some(key) if !IDEMPOTENCY_KEY_LEN.contains(&key.len()) => {
            Err(BadIdempotencyKey::Length(key.len()))
        }
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets() -> ChecksumSecrets {
        ChecksumSecrets::parse("0123456789abcdef").unwrap()
    }

    fn read(value: &[u8]) -> Result<ApiKey, ApiRefusal> {
        read_key(Some(value), ChecksumPolicy::Required, &secrets())
    }

    fn good() -> String {
        secrets().issue(&[7; 64]).unwrap().expose().to_owned()
    }

    #[test]
    fn a_good_key_is_read_whatever_the_case_of_the_scheme() {
        for scheme in ["Bearer", "bearer", "BEARER", "bEaReR"] {
            let value = format!("{scheme} {}", good());
            assert!(read(value.as_bytes()).is_ok(), "{value}");
        }
        assert!(read(format!("Bearer   {}", good()).as_bytes()).is_ok());
    }

    #[test]
    fn without_bearer_credentials_the_key_is_missing() {
        let nothing = read_key(None, ChecksumPolicy::Required, &secrets()).err();
        assert_eq!(nothing, Some(ApiRefusal::MissingApiKey(Presented::Nothing)));
        let bare = good();
        for (value, presented) in [
            ("", Presented::Nothing),
            ("Bearer", Presented::BearerAlone),
            ("Bearer ", Presented::BearerAlone),
            ("Basic dTpw", Presented::Scheme("Basic")),
            ("Token x", Presented::Scheme("Token")),
            (&bare, Presented::BareKey),
            ("\u{e9}", Presented::OtherScheme),
        ] {
            let refusal = read(value.as_bytes()).err();
            assert_eq!(
                refusal,
                Some(ApiRefusal::MissingApiKey(presented)),
                "{value}"
            );
        }
    }

    #[test]
    fn a_malformed_key_is_invalid() {
        let good = good();
        for value in [
            format!("Bearer {good},Bearer {good}"),
            format!("Bearer {good},"),
            format!("Bearer {good} x"),
            format!("Bearer\t{good}"),
            format!("Bearer \"{good}\""),
            "Bearer x".to_owned(),
            format!("Bearer {}", "a".repeat(60_000)),
        ] {
            let refusal = read(value.as_bytes()).err();
            assert!(refusal.is_some(), "{value}");
            if value.starts_with("Bearer ") {
                assert_eq!(refusal, Some(ApiRefusal::InvalidApiKey));
            }
        }
        assert_eq!(
            read(b"Bearer \xff\xfe").err(),
            Some(ApiRefusal::InvalidApiKey)
        );
    }

    #[test]
    fn a_key_without_checksum_passes_only_where_configured() {
        let legacy = format!("Bearer sb_live_{}", "A".repeat(32));
        assert_eq!(
            read(legacy.as_bytes()).err(),
            Some(ApiRefusal::InvalidApiKey)
        );
        assert!(read_key(Some(legacy.as_bytes()), ChecksumPolicy::Off, &secrets()).is_ok());
    }

    #[test]
    fn idempotency_keys() {
        let uuid = b"3f2c9a52-6c1e-4a43-9c39-0f3f0f6b8b11";
        assert!(check_idempotency_key(None).is_ok());
        assert!(check_idempotency_key(Some(uuid)).is_ok());
        assert!(check_idempotency_key(Some(&[b'~'; 22])).is_ok());
        assert!(check_idempotency_key(Some(&[b'!'; 255])).is_ok());
        for (bad, why) in [
            (&b""[..], BadIdempotencyKey::Length(0)),
            (&[b'a'; 21], BadIdempotencyKey::Length(21)),
            (&[b'a'; 256], BadIdempotencyKey::Length(256)),
            (&[b' '; 30], BadIdempotencyKey::Invisible),
            (&[0xe9; 30], BadIdempotencyKey::Invisible),
            (&[b'\t'; 3], BadIdempotencyKey::Invisible),
        ] {
            assert_eq!(check_idempotency_key(Some(bad)), Err(why));
        }
    }

    #[test]
    fn a_bad_idempotency_key_is_told_the_rule_and_what_came() {
        let rule = "The Idempotency-Key must be 22 to 255 visible ASCII characters that nobody can \
                    guess. A new random UUID serves.";
        for (bad, came) in [
            (BadIdempotencyKey::Length(0), "This one has 0 characters."),
            (BadIdempotencyKey::Length(1), "This one has 1 character."),
            (BadIdempotencyKey::Length(21), "This one has 21 characters."),
            (
                BadIdempotencyKey::Invisible,
                "This one has a character that is not visible ASCII.",
            ),
        ] {
            assert_eq!(bad.message(), format!("{rule} {came}"));
        }
    }
}
